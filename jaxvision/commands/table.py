"""`python -m jaxvision table`."""

import sys
from pathlib import Path

from jaxvision.runs import tables


def table(
    check: bool = False,
    readme: Path = Path("README.md"),
    records: Path = Path(tables.RECORDS),
) -> None:
    """Write the results table of the README from the published records.

    Args:
        check: Change nothing; exit with code 1 if the README is out of step.
        readme: The file whose part between the results markers is written.
        records: The folder of the published records.
    """
    if check:
        if not tables.check(readme, records):
            print(f"{readme} is out of step: run python -m jaxvision table")
            sys.exit(1)
        print(f"{readme} is in step with {records}")
    elif tables.update(readme, records):
        print(f"{readme}: results written from {records}")
    else:
        print(f"{readme} was in step with {records} already")
