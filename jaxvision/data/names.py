"""What a data set is called, in its parts: `[fold:I/K:]KIND[:REST]`."""

from pathlib import Path
from typing import NamedTuple

from jaxvision.files import expanded


class Name(NamedTuple):
    """A data set's name, taken apart by `registry.parse`; as text it is `text`."""

    text: str
    """As it was given."""
    kind: str
    """The prefix of a row of `registry.KINDS`; of a fold that of the whole set."""
    rest: str
    """What follows the kind and its colon, such as a path; empty if nothing does.  For
    a set of TensorFlow Datasets, whose names have no prefix, all of the name."""
    fold: "Fold | None" = None
    """Which part of a set it is, for `fold:I/K:NAME`."""

    @property
    def path(self) -> Path:
        """The user's file or folder that `rest` is.  Raises `UsageError` for the home
        of a user that there is not."""
        return expanded(self.rest)

    def __str__(self) -> str:
        return self.text


class Fold(NamedTuple):
    """One of the folds of a set (see `folds`)."""

    number: int
    """From 1 to `folds`."""
    folds: int
    """How many there are."""
    whole: Name
    """The set whose training split is folded."""
    all: bool = False
    """Whether its other splits are folded with it."""
