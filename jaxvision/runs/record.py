"""What a run record says of its origin, so that a reviewer can repeat the run."""

import math
import os
import platform
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jaxvision
from jaxvision.measures import Measure, measure_of
from jaxvision.runs import programs

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorflow-datasets",
)


FORMAT = 2
"""Of records and configs; those of before had no number."""

INITIAL = "initial_"
"""How the keys begin that say what became of the weights that a run was given."""


def describe_measures(measures: Iterable[Measure]) -> dict[str, dict[str, Any]]:
    """What a record says of its metrics, by their names."""
    return {m.name: {**m._asdict(), "name": m.name} for m in measures}


def measures_of(result: Mapping[str, Any]) -> list[Measure]:
    """What a record says of its metrics."""
    return [Measure(**fields) for fields in result.get("measures", {}).values()]


def measured(result: Mapping[str, Any]) -> dict[str, Measure]:
    """The keys of a record that hold metrics of an evaluation, with what they are."""
    measures = measures_of(result)
    prefixes = tuple(f"{split}_" for split in result.get("evaluations", ()))
    return {
        key: measure_of(key, measures)
        for key, value in result.items()
        if key.startswith(prefixes) and isinstance(value, int | float | None)
    }


def metric_key(split: str, name: str) -> str:
    """The key of a metric of an evaluation: `test_average_accuracy` of `test` and
    `average/accuracy`."""
    return f"{split}_{name.replace('/', '_')}"


def number(result: Mapping[str, Any], key: str) -> float:
    """A metric of a record; NaN where it was not finite, for which JSON has null."""
    return math.nan if result[key] is None else float(result[key])


def provenance(
    program: str, arguments: Sequence[str], folder: Path | None = None
) -> dict[str, Any]:
    """Flat keys: exact command line, git commit, versions, platform of this machine.

    Args:
      program: as in `programs`.
      arguments: its command line.
      folder: where its code lies; None: this folder.  `git_commit` is that of its
        checkout, None where it is in none.  Where jaxvision lies in another checkout,
        the record has that one's too.
    """
    code = _checkout(folder or Path.cwd())
    library = _checkout(Path(jaxvision.__file__).parent)
    return {
        "command": shlex.join(["python", *programs.words(program), *arguments]),
        "git_commit": code.commit,
        "git_dirty": code.dirty,
        **(
            {}
            if library.root in (None, code.root)
            else {
                "jaxvision_git_commit": library.commit,
                "jaxvision_git_dirty": library.dirty,
            }
        ),
        **versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        # The number of simulated devices and the libraries XLA may call change bits.
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def versions() -> dict[str, str | None]:
    """Of this package, Python, and the packages that numbers depend on."""
    return {
        "version_jaxvision": jaxvision.__version__,
        "version_python": platform.python_version(),
        **{f"version_{name.replace('-', '_')}": _version(name) for name in PACKAGES},
    }


def hardware(device: str, device_count: int) -> str:
    """In words: the processor with its usable cores, or the accelerators."""
    if device != "cpu":
        return f"{device_count} × {device}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    cores = cores or os.cpu_count() or 1
    return f"{cores} core{'s' * (cores > 1)} of {_processor()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


class _Checkout(NamedTuple):
    """What git knows of a folder; None: nothing."""

    root: str | None = None
    commit: str | None = None
    dirty: bool | None = None


def _checkout(folder: Path) -> _Checkout:
    """The checkout that a folder is a part of, and whether files in it differ from its
    commit.  What git ignores is not: an environment that lies inside of a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            # Status would else lock the index against the user's own commands.
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        root, commit = git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        tracked, others = "--cached", ("--others", "--directory", "--exclude-standard")
        if not git("ls-files", tracked, *others, "."):
            return _Checkout()
        return _Checkout(root, commit, bool(git("status", "--porcelain")))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return _Checkout()
