"""A few examples of an evaluation, chosen on the devices while it runs.

Which they are depends on the examples alone: batches, devices and processes change
nothing.  Their number is fixed, so that a set of any size needs the same memory.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.types import Array, Galleries, Gallery, PyTree

WORST, SAMPLE = 48, 16
"""How many of each are kept."""


def start(entries: PyTree, num_examples: int, *, ranked: bool) -> PyTree:
    """The state before the first batch.

    `entries` are abstract arrays [B,…] by name, as they are given to `add`.  Without
    `ranked` there is no worst.
    """
    sample = min(SAMPLE, num_examples)
    worst = min(WORST, num_examples) if ranked else 0
    places = np.arange(sample, dtype=np.int32) * num_examples // max(sample, 1)

    def empty(count):
        return jax.tree.map(
            lambda leaf: np.zeros((count, *leaf.shape[1:]), leaf.dtype), entries
        )

    return {
        "worst": {
            "difficulty": np.full(worst, -np.inf, np.float32),
            "index": np.full(worst, -1, np.int32),
            "entries": empty(worst),
        },
        "sample": {
            "difficulty": np.zeros(sample, np.float32),
            "index": places,
            "entries": empty(sample),
        },
    }


def add(
    state: PyTree, entries: PyTree, difficulty: Array, index: Array, mask: Array
) -> PyTree:
    """The state after a batch: `entries`, `difficulty`, `index` and `mask` have B rows.

    Of equally difficult examples the earlier one is kept.
    """
    # What is no number is as wrong as can be.
    difficulty = jnp.where(jnp.isnan(difficulty), jnp.inf, difficulty)
    difficulty = difficulty.astype(jnp.float32)
    return {
        "worst": _add_worst(state["worst"], entries, difficulty, index, mask),
        "sample": _add_sample(state["sample"], entries, difficulty, index, mask),
    }


def finish(state: PyTree) -> Galleries:
    """What was chosen; `state` is on the host."""

    def gallery(part: dict[str, Any]) -> Gallery:
        filled = np.asarray(part["difficulty"]) > -np.inf
        kept = jax.tree.map(lambda array: np.asarray(array)[filled], part)
        return Gallery(kept["index"], kept["difficulty"], **kept["entries"])

    return Galleries(gallery(state["worst"]), gallery(state["sample"]))


def _add_worst(worst, entries, difficulty, index, mask):
    count = len(worst["index"])
    if count == 0:
        return worst
    # Padding is never chosen: before there are enough examples, empty places are.
    difficulty = jnp.where(mask, difficulty, -jnp.inf)
    both = jnp.concatenate([worst["difficulty"], difficulty])
    highest, chosen = jax.lax.top_k(both, count)  # of equals the first
    return {
        "difficulty": highest,
        "index": _take(chosen, worst["index"], index),
        "entries": jax.tree.map(
            lambda old, new: _take(chosen, old, new), worst["entries"], entries
        ),
    }


def _add_sample(sample, entries, difficulty, index, mask):
    count = len(sample["index"])
    here = (sample["index"][:, None] == index[None, :]) & mask[None, :]
    chosen = jnp.where(here.any(axis=1), count + here.argmax(axis=1), jnp.arange(count))
    return {
        "difficulty": _take(chosen, sample["difficulty"], difficulty),
        "index": sample["index"],
        "entries": jax.tree.map(
            lambda old, new: _take(chosen, old, new), sample["entries"], entries
        ),
    }


def _take(chosen: Array, old: Array, new: Array) -> Array:
    """Rows `chosen` of `old` followed by `new`, without joining the two."""
    count = len(old)
    from_old = old[jnp.minimum(chosen, count - 1)]
    from_new = new[jnp.maximum(chosen - count, 0)]
    is_old = (chosen < count).reshape(-1, *[1] * (old.ndim - 1))
    return jnp.where(is_old, from_old, from_new)
