"""Dividing a set in two, stratified by class, and in the same way for every run."""

import functools
from collections.abc import Callable

import numpy as np

from jaxvision.data.rows import take
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError

TEST_SHARE = 0.2
"""Share of a set without a test split that becomes its test split."""

SEED = 0
"""Of the choice of these examples."""


def carve(
    source: Source, validation: int | float, *, seed: int = 0
) -> tuple[Source, Source]:
    """Split `source` into `(train, validation)`, each class in proportion.

    Args:
      source: what is split; its own order is kept within both parts.
      validation: how many examples to hold out, exactly, from 1 to `source.size - 1`;
        a float is a fraction of the source, between 0 and 1.
      seed: of the choice, and of nothing else: runs that differ in their own seed are
        compared on the same validation examples.

    Nothing is read here: see `divide`.

    Raises `UsageError` for a part that would be empty.
    """
    size = _held_out(source, validation)
    names = f"{source.name}/train", f"{source.name}/validation"
    return divide(source, lambda labels: stratified(labels, size, seed), size, names)


def train_and_validation(
    splits: Splits, share: int | float, *, seed: int = 0
) -> tuple[Source, Source]:
    """What to train on, and what to choose the best checkpoint by.

    The validation split that the set declares beside its test split is taken whole, and
    so is the training split: published numbers are made so.  Where there is none,
    `share` of the training split is held out; `Source.choice` tells which it was.

    Args:
      share: as `validation` of `carve`, and without effect where a split is declared.
      seed: as that of `carve`.

    Raises `UsageError` as `carve` does.
    """
    if splits.validation is not None:
        return splits.train, splits.validation
    train, validation = carve(splits.train, share, seed=seed)
    words = choice_of(
        validation.size,
        splits.train.size,
        "no validation split is declared beside a test split",
        seed,
    )
    return train, validation._replace(choice=words)


def subset(source: Source, size: int, *, seed: int = 0) -> Source:
    """`size` examples of a source, each class in proportion, chosen by the seed alone.

    Nothing is read here.  Raises `UsageError` unless they are some, and not all.
    """
    return carve(source, size, seed=seed)[1]._replace(name=f"{source.name}/{size}")


def with_test(
    source: Source, name: str, reason: str, test: int | float = TEST_SHARE
) -> Splits:
    """The set `name`, whose test split is a part of `source` that `carve` holds out.

    reason: why it has none of its own, such as `"nothing declares a test split"`.
    """
    train, held_out = carve(source, test, seed=SEED)
    return Splits(
        train=train._replace(name=f"{name}:train"),
        test=held_out._replace(
            name=f"{name}:test", choice=choice_of(held_out.size, source.size, reason)
        ),
    )


def choice_of(size: int, whole: int, reason: str, seed: int = SEED) -> str:
    """`Source.choice` of examples that are held out."""
    return f"{size:,} of {whole:,} examples at random (seed {seed}), since {reason}"


def divide(
    source: Source,
    choose: Callable[[np.ndarray], np.ndarray],
    size: int,
    names: tuple[str, str],
) -> tuple[Source, Source]:
    """Two sources called `names`; the second has the `size` examples chosen.

    `choose(labels)` returns a mask, bool [N], for labels int [N].  Examples without a
    `label` count as one class.

    Nothing is read here.  The first `read` of either part reads the source once for
    both and keeps the two results, read-only, for as long as the parts live.  Where the
    source knows its targets without decoding, so do the parts, and their files can be
    streamed if its can.
    """

    def chosen_of(targets: dict[str, np.ndarray]) -> np.ndarray:
        return choose(targets.get("label", np.zeros(source.size, np.int32)))

    @functools.cache
    def chosen() -> np.ndarray:
        return chosen_of(source.targets() if source.targets else source.read())

    @functools.cache
    def parts() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        data = source.read()
        # Without targets: the mask from here rather than from a second read.
        mask = chosen() if source.targets else chosen_of(data)
        return _rows(data, ~mask), _rows(data, mask)

    def part(second: bool) -> Source:
        def rows() -> np.ndarray:
            return np.flatnonzero(chosen() == second)

        count = size if second else source.size - size
        taken = take(source, rows, name=names[second], size=count)
        return taken._replace(read=lambda: dict(parts()[second]))

    return part(False), part(True)


def stratified(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """A mask, bool [N], of exactly `size` examples, each class in proportion.

    Classes get their exact share rounded down; what is left goes to those with the
    largest remainders.  The choice is the same on every platform and NumPy version:
    it ranks raw 64-bit draws, whose stream NumPy guarantees (NEP 19), where that of
    `Generator.permutation` may change.
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(counts * size, len(labels))
    largest = np.argsort(-remainders, kind="stable")[: size - shares.sum()]
    shares[largest] += 1

    rank = np.random.PCG64(seed).random_raw(len(labels))
    chosen = np.zeros(len(labels), bool)
    for label, share in zip(classes, shares, strict=True):
        members = np.flatnonzero(labels == label)
        chosen[members[np.argsort(rank[members])[:share]]] = True
    return chosen


def _held_out(source: Source, validation: int | float) -> int:
    if isinstance(validation, float):
        size = round(validation * source.size) if 0 < validation < 1 else 0
    else:
        size = validation
    if not 0 < size < source.size:
        raise UsageError(
            f"cannot hold out {validation!r} of the {source.size} examples of "
            f"{source.name} for validation: give a number from 1 to {source.size - 1}, "
            "or a fraction between 0 and 1.  The best checkpoint is chosen on these "
            "examples, so there must be some, and some left to train on"
        )
    return size


def _rows(data: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    rows = {name: array[mask] for name, array in data.items()}
    for array in rows.values():
        array.flags.writeable = False  # every read hands out the same arrays
    return rows
