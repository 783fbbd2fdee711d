"""Problems of a data set: collected, listed up to a limit, and raised once."""

from collections.abc import Sequence
from pathlib import Path

from jaxvision.errors import UsageError

LISTED = 20
"""How many problems a message lists before it only counts them."""


def refuse(what: Path, problems: Sequence[str]) -> None:
    """Raise one `UsageError` that lists the problems, unless there are none."""
    if problems:
        raise UsageError(f"{what} cannot be used; correct this:{listed(problems)}")


def listed(problems: Sequence[str]) -> str:
    """The first of the problems, a line each, and how many more there are."""
    lines = "".join(f"\n  {problem}" for problem in problems[:LISTED])
    more = len(problems) - LISTED
    return lines + (f"\n  … and {more} more" if more > 0 else "")


def some(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    return ", ".join(names[:10]) + f" and {len(names) - 10} more" * (len(names) > 10)
