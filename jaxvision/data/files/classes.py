"""Classes that a file declares, whether or not they have examples."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvision.data.files import fields, reading
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError

FILE = "classes.txt"


def read(path: Path) -> tuple[str, ...]:
    """The names in a file with one per line; the first is that of class 0.

    Raises `UsageError` for a file that is empty or names a class twice or not at all.
    """
    names: list[str] = []
    problems: list[str] = []
    lines = reading.text(path).rstrip().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            names.append(fields.name(line.strip()))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    refuse(path, problems)
    check_names(path, tuple(names))
    return tuple(names)


def check_names(path: Path, names: tuple[str, ...]) -> None:
    """Raises `UsageError` unless there are names, all of them different."""
    if not any(names):
        raise UsageError(f"{path} names no class: write one name per line")
    if not all(names):
        raise UsageError(
            f"{path} has no name for class {names.index('')}: every line names a class"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path} names more than one class {some(twice)}")


def check_used(names: tuple[str, ...], counts: Sequence[np.ndarray]) -> list[str]:
    """Problems with the numbers of examples of each class, int [K] for each split.

    The splits are in the order of `Splits`.  A class that the training split has not,
    and another has, is a problem.  A class without any example keeps its number, since
    the file declares it, and a warning names it.
    """
    train, *others = counts
    nowhere = [names[k] for k in np.flatnonzero(sum(counts) == 0)]
    if nowhere:
        warnings.warn(
            f"no example of {len(nowhere)} of the {len(names)} classes: "
            f"{some(nowhere)}.  They keep their numbers; averages over classes that "
            "count them as wrong are too low",
            stacklevel=2,
        )
    return [
        f"class {names[k]} is in the {split} split and not in the training split"
        for split, count in zip(Splits._fields[1:], others, strict=False)
        for k in np.flatnonzero((train == 0) & (count > 0))
    ]
