"""Transforms that change in the course of a training, or from batch to batch.

    transform = data.phases((0, mixed), (steps - last, plain))
    transform = data.in_turn([compose(mixed, resize(s)) for s in (320, 416, 512)])

Which one a batch gets depends on its number alone.  It is told to the program by the
shape of an array of the item, and so each is a program of its own, compiled when it is
first needed: what a batch does not need costs it nothing, and images may have other
sizes.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvision.errors import check
from jaxvision.ops.augment import Transform
from jaxvision.types import Array, Batch, ItemIterator, Pipeline

PHASE = "phase"
"""The array of an item: bool [B,n], where n is the place of its transform."""


class Phases(NamedTuple):
    """A handful of transforms, each of which compiles the training step once."""

    transforms: Sequence[Transform]
    """A batch has what all of them make, by its names."""
    which: Callable[[int], int]
    """`number of the batch -> place of its transform`."""


def phases(*parts: tuple[int, Transform | Phases]) -> Phases:
    """Each from the batch of that number on, until the next one begins.

    Raises `UsageError` unless the first begins with 0 and the others rise.
    """
    starts = [start for start, _ in parts]
    check(
        (
            starts[:1] == [0] and starts == sorted(set(starts)),
            f"phases must begin with the batch 0 and then rise, got {starts}",
        )
    )
    nested = [
        part if isinstance(part, Phases) else Phases([part], lambda number: 0)
        for _, part in parts
    ]
    sizes = (len(part.transforms) for part in nested)
    offsets = list(itertools.accumulate(sizes, initial=0))

    def which(number: int) -> int:
        phase = int(np.searchsorted(starts, number, side="right")) - 1
        return offsets[phase] + nested[phase].which(number)

    return Phases([each for part in nested for each in part.transforms], which)


def in_turn(transforms: Sequence[Transform], *, every: int = 10) -> Phases:
    """One of them, drawn anew after so many batches: training at several sizes.

    The draws are the same whatever the seed of the run, so that seeds that are trained
    together share their programs.
    """
    check(
        (len(transforms) > 0, "in_turn needs one transform at least"),
        (every >= 1, f"every must be at least 1 batch, got {every}"),
    )

    def which(number: int) -> int:
        raw = int(np.random.PCG64(number // every).random_raw())
        return (raw >> 11) * len(transforms) >> 53

    return Phases(transforms, which)


def phased(pipeline: Pipeline, phases: Phases) -> Pipeline:
    """The pipeline of a training, whose transform is that of the batch's number."""
    first = phases.which(0)

    def items(rows: slice = slice(None)) -> "_Marked":
        return _Marked(pipeline.items(rows), phases.which)

    def transform(key: Array, batch: Batch) -> Batch:
        phase = batch[PHASE].shape[1]
        rest = {name: array for name, array in batch.items() if name != PHASE}
        # So that what a task lacks in a later phase is missing from the beginning.
        made = (jax.eval_shape(each, key, rest) for each in phases.transforms)
        common = set.intersection(*map(set, made))
        result = phases.transforms[phase](key, rest)
        return {name: array for name, array in result.items() if name in common}

    def stored() -> dict[str, Any]:
        assert pipeline.stored is not None
        mark = jax.ShapeDtypeStruct((pipeline.batch_size, first), np.dtype(bool))
        return {**pipeline.stored(), PHASE: mark}

    return pipeline._replace(
        items=items,
        transform=transform,
        stored=None if pipeline.stored is None else stored,
    )


class _Marked:
    """Items that say which transform is theirs."""

    def __init__(self, items: ItemIterator, which: Callable[[int], int]):
        self._items, self._which = items, which
        self._number = 0

    def __next__(self) -> dict[str, np.ndarray]:
        item = next(self._items)
        rows = len(next(iter(item.values())))
        mark = np.zeros((rows, self._which(self._number)), bool)
        self._number += 1
        return {**item, PHASE: mark}

    def get_state(self) -> dict[str, Any]:
        return {**self._items.get_state(), "number": self._number}

    def set_state(self, state: dict[str, Any]) -> None:
        self._items.set_state(state)
        self._number = state["number"]
