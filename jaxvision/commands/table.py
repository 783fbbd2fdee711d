"""`python -m jaxvision table`."""

import sys
from pathlib import Path

from jaxvision.runs import tables


def table(
    check: bool = False,
    page: Path = Path("docs/results.md"),
    records: Path = Path(tables.RECORDS),
) -> None:
    """Write the page of results from the published records.

    Args:
        check: Change nothing; exit with code 1 if the page is out of step.
        page: The file whose part between the results markers is written.
        records: The folder of the published records.
    """
    if check:
        if not tables.check(page, records):
            print(f"{page} is out of step: run python -m jaxvision table")
            sys.exit(1)
        print(f"{page} is in step with {records}")
    elif tables.update(page, records):
        print(f"{page}: results written from {records}")
    else:
        print(f"{page} was in step with {records} already")
