"""The record of a benchmark: a flat JSON file of its numbers and of their origin.

The committed records are in `results/`; `--compare` holds new ratios against them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax

from jaxvision.errors import UsageError
from jaxvision.runs import record

COMMITTED = Path(__file__).parent / "results"


def begin(
    benchmark: str, device: str | None = None, device_count: int = 1
) -> dict[str, Any]:
    """The command line, commit, versions and hardware that the numbers belong to.

    Args:
      benchmark: the name of its module in this package.
      device: the kind of accelerator, or "cpu"; None: JAX's first device.
      device_count: how many of them compute.
    """
    device = device or jax.devices()[0].device_kind
    origin = record.provenance(f"benchmarks.{benchmark}", sys.argv[1:])
    return origin | {"hardware": record.hardware(device, device_count)}


def write(numbers: dict[str, Any], output: Path | None) -> None:
    """Write the record to a file, if one was asked for."""
    if output is not None:
        text = json.dumps(numbers, indent=2, ensure_ascii=False)
        output.write_text(text + "\n", encoding="utf-8")


def regressions(numbers: dict[str, Any], committed: Path) -> int:
    """Print each ratio that is less than a third of the recorded one.

    Ratios are the entries whose names end in `_ratio`; those without a recorded value
    are not compared.  Returns the exit code: 1 if there are any, 0 otherwise.

    Raises `UsageError` when there is no record.
    """
    if not committed.exists():
        raise UsageError(
            f"no record to compare with: make it with --output {committed}"
        )
    recorded = json.loads(committed.read_text(encoding="utf-8"))
    lost = [
        f"{name} is {now:.2f} and was {before:.2f}"
        for name, now in numbers.items()
        if name.endswith("_ratio") and (before := recorded.get(name, 0)) > 3 * now
    ]
    print("\n".join(lost) or "No ratio has fallen to a third of the recorded one.")
    return 1 if lost else 0
