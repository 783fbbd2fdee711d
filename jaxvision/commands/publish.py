"""`python -m jaxvision publish`."""

import sys
import warnings
from pathlib import Path

import tyro

from jaxvision.runs import tables


def publish(
    run_dir: tyro.conf.Positional[Path],
    tag: str | None = None,
    records: Path = Path(tables.RECORDS),
) -> None:
    """Copy the record of a finished run to where the results table finds it.

    Args:
        run_dir: The run directory, which holds result.json.
        tag: Tells this config from others of the same experiment and data set.
            Default: nothing for the first of them, a short hash for the others.
        records: The folder of the published records.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = tables.publish(run_dir, records, tag=tag)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(f"{path}: published; python -m jaxvision table writes the page of results")
