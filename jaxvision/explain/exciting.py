"""Which examples of a data set excite each unit of a layer most, and where."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxvision.errors import check


class Exciting(NamedTuple):
    """For each of D units the most exciting examples, the first the most."""

    examples: np.ndarray
    """int64 [D,count]: their places in the set."""
    values: np.ndarray
    """float32 [D,count]: the unit's largest value in each."""
    places: np.ndarray
    """int64 [D,count,2]: row and column of the map where it is; zeros of a vector."""


def exciting(batches: Iterable[np.ndarray], count: int = 8) -> Exciting:
    """The examples in which each unit has the largest values.

    Args:
      batches: activations of all examples in their order, [B,h,w,D] or [B,D] each, of
        which one at a time is held.
      count: examples for each unit; of fewer there are as many as the set has.

    Raises `UsageError` where there are no examples.
    """
    check((count >= 1, f"count must be positive, got {count}"))
    kept: Exciting | None = None
    first = 0
    for batch in batches:
        best = _largest(np.asarray(batch, np.float32), first)
        first += len(batch)
        together = best if kept is None else _joined(kept, best)
        order = np.argsort(-together.values, axis=1, kind="stable")[:, :count]
        kept = Exciting(
            np.take_along_axis(together.examples, order, 1),
            np.take_along_axis(together.values, order, 1),
            np.take_along_axis(together.places, order[..., None], 1),
        )
    check((kept is not None, "there are no examples to choose from"))
    assert kept is not None
    return kept


def _largest(batch: np.ndarray, first: int) -> Exciting:
    """Of each example of a batch and each unit."""
    maps = batch if batch.ndim == 4 else batch.reshape(len(batch), 1, 1, -1)
    count, height, width, units = maps.shape
    flat = maps.reshape(count, height * width, units)
    at = flat.argmax(1)
    values = np.take_along_axis(flat, at[:, None], 1)[:, 0]
    examples = np.broadcast_to(np.arange(first, first + count), (units, count))
    places = np.stack(np.unravel_index(at.T, (height, width)), -1)
    return Exciting(examples, values.T, places)


def _joined(one: Exciting, other: Exciting) -> Exciting:
    return Exciting(*(np.concatenate(pair, 1) for pair in zip(one, other, strict=True)))
