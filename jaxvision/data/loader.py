"""Pipelines over sets that fit in memory: the images stay on the device.

The host only draws indices; gathering, augmentation and normalisation happen inside the
jitted step (see `types.Pipeline`).
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from jaxvision.data.source import Source, fingerprint
from jaxvision.errors import UsageError, check
from jaxvision.ops.augment import Transform
from jaxvision.types import Pipeline


def train(
    source: Source, batch_size: int, *, transform: Transform, seed: int
) -> Pipeline:
    """Batches without end: each epoch is a new permutation, its remainder dropped.

    `transform` maps uint8 images [B,H,W,C] to what the model takes, with a key of the
    step.  The order depends on `seed` and the epoch alone.
    """
    _check(source, batch_size)
    check(*training_rules(source, batch_size, seed))
    return Pipeline(
        name=source.name,
        batch_size=batch_size,
        num_examples=source.size,
        num_batches=source.size // batch_size,
        resident=source.read,
        items=lambda: ShuffledIndices(
            source.size, batch_size, seed, cache(lambda: fingerprint(source))
        ),
        fetch=_fetch(transform),
    )


def evaluation(source: Source, batch_size: int, *, transform: Transform) -> Pipeline:
    """One pass in order; the last batch is padded and masked, so that all count."""
    _check(source, batch_size)
    num_batches = -(-source.size // batch_size)

    def items() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, source.size, batch_size):
            index = np.arange(start, start + batch_size, dtype=np.int32)
            mask = index < source.size
            yield {"index": np.where(mask, index, 0), "mask": mask}

    return Pipeline(
        name=source.name,
        batch_size=batch_size,
        num_examples=source.size,
        num_batches=num_batches,
        resident=source.read,
        items=items,
        fetch=_fetch(transform),
    )


def training_rules(
    source: Source, batch_size: int, seed: int
) -> list[tuple[bool, str]]:
    """What `errors.check` has to find true before any training on a source."""
    return [
        (seed >= 0, f"seed must not be negative, got {seed}"),
        (
            batch_size <= source.size,
            f"batch size {batch_size} exceeds the {source.size} examples of "
            f"{source.name}: use at most that many",
        ),
    ]


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation int32 [size] in which an epoch goes through the examples.

    Ranks of raw draws: NumPy guarantees their stream for all its versions, which it
    does not for `Generator.permutation`.
    """
    draws = np.random.PCG64([seed, epoch]).random_raw(size)
    return np.argsort(draws, kind="stable").astype(np.int32)


def check_same_data(identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Raises `UsageError` if a saved state is of other data than `identity` tells."""
    differing = [
        f"{name}: was {state.get(name)!r}, is {value!r}"
        for name, value in identity.items()
        if state.get(name) != value
    ]
    if differing:
        raise UsageError(
            "the training data is not what this run began with ("
            + "; ".join(differing)
            + "): restore the data, or start anew with another --workdir"
        )


class ShuffledIndices:
    """Items `{"index": int32 [B]}`: every epoch without replacement, a new order."""

    def __init__(self, size: int, batch_size: int, seed: int, data_fingerprint):
        self._size, self._batch_size, self._seed = size, batch_size, seed
        self._fingerprint = data_fingerprint
        self._batches = size // batch_size
        self._epoch, self._batch = 0, 0
        self._order: np.ndarray | None = None

    def __next__(self) -> dict[str, np.ndarray]:
        if self._batch == self._batches:
            self._epoch, self._batch, self._order = self._epoch + 1, 0, None
        if self._order is None:
            self._order = epoch_order(self._size, self._seed, self._epoch)
        start = self._batch * self._batch_size
        self._batch += 1
        return {"index": self._order[start : start + self._batch_size]}

    def get_state(self) -> dict[str, Any]:
        """Where the next batch comes from, and what the order depends on."""
        return self._identity() | {"epoch": self._epoch, "batch": self._batch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`.  Raises `UsageError` if it is of other data."""
        check_same_data(self._identity(), state)
        self._epoch, self._batch = state["epoch"], state["batch"]
        self._order = None

    def _identity(self) -> dict[str, Any]:
        return {
            "size": self._size,
            "batch_size": self._batch_size,
            "seed": self._seed,
            "fingerprint": self._fingerprint(),
        }


def _fetch(transform: Transform):
    def fetch(resident, item, key):
        batch = {name: array[item["index"]] for name, array in resident.items()}
        batch["image"] = transform(key, batch["image"])
        if "mask" in item:
            batch["mask"] = item["mask"]
        return batch

    return fetch


def _check(source: Source, batch_size: int) -> None:
    check((batch_size >= 1, f"batch size must be positive, got {batch_size}"))
    if source.size == 0:
        raise UsageError(f"{source.name} is empty")
