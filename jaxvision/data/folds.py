"""`fold:I/K:NAME`: the I-th of K folds of a training split, for cross-validation.

A fold is a data set, so that an experiment needs nothing but its `--dataset`: the test
split is the fold and the training split are all others.  K runs then test every
training example with a model that was not trained on it.

`fold:I/K:all:NAME` folds the examples of all splits together: of a set whose test split
is not declared, or whose labels are secret, none is then set aside.
"""

import numpy as np

from jaxvision.data.carving import divide
from jaxvision.data.source import Source, Splits
from jaxvision.errors import check

PREFIX = "fold:"
"""What the names of folds begin with."""

ALL = "all:"
"""What follows in those of folds of all splits together."""


def name_of(fold: int, folds: int, dataset: str) -> str:
    """The name that `load` takes, such as `fold:2/5:mnist`."""
    return f"{PREFIX}{fold}/{folds}:{dataset}"


def split(
    source: Source,
    fold: int,
    folds: int,
    *,
    name: str,
    validation: Source | None = None,
) -> Splits:
    """Splits whose test split is the I-th of K folds of `source`, from 1 to K.

    Folds have each class in proportion, and their sizes differ by one at most; they are
    the same for every run.  Both parts keep the order of the source.  Nothing is read
    here: see `carving.divide`.

    validation: what is declared to choose the best checkpoint by, the same for all K.

    Raises `UsageError` for more folds than examples.
    """
    check(
        (
            folds <= source.size,
            f"{source.name} has {source.size} examples, too few for {folds} folds",
        )
    )

    def held_out(labels: np.ndarray) -> np.ndarray:
        return assign(labels, folds) == fold - 1

    size = len(range(fold - 1, source.size, folds))
    train, test = divide(source, held_out, size, (f"{name}:train", f"{name}:test"))
    return Splits(
        train,
        test._replace(choice=f"fold {fold} of {folds} of {source.name}"),
        validation and validation._replace(name=f"{name}:validation"),
    )


def assign(labels: np.ndarray, folds: int, *, seed: int = 0) -> np.ndarray:
    """The fold, int [N] in 0..folds-1, of each example: class by class, in turn.

    Fold i gets every `folds`-th example from the i-th on, in an order that is sorted by
    class and random within each.  It ranks raw draws, as `carving.stratified` does.
    """
    rank = np.random.PCG64(seed).random_raw(len(labels))
    order = np.lexsort((rank, labels))
    result = np.empty(len(labels), np.int64)
    result[order] = np.arange(len(labels)) % folds
    return result
