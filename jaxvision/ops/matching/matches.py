"""What matchers return, and what is made of it."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops.boxes.overlap import coverage, pairwise

Array = jax.Array

BACKGROUND = -1
"""Nothing is there."""
IGNORED = -2
"""Neither an object nor background."""


def findable(classes: Array, crowd: Array | None = None) -> Array:
    """Bool [M]: which entries of `classes` are single objects, as matchers need it."""
    there = classes >= 0
    return there if crowd is None else there & (crowd == 0)


def gather(values: Array, matches: Array, otherwise: float | int = 0) -> Array:
    """The entry of `values` [M,…] of each matched object, [N,…]; else `otherwise`."""
    taken = values[jnp.maximum(matches, 0)]
    found = (matches >= 0).reshape(matches.shape + (1,) * (values.ndim - 1))
    return jnp.where(found, taken, jnp.asarray(otherwise, values.dtype))


def best(quality: Array, axis: int) -> tuple[Array, Array]:
    """The highest value along an axis of [M,N], and int32 the first place that has it.

    XLA's `argmax` on CPU is not made of vector instructions, as this is: with `settled`
    before it, matching a batch takes a seventh of the time.
    """
    most = jnp.max(quality, axis, keepdims=True)
    places = lax.broadcasted_iota(jnp.int32, quality.shape, axis)
    first = jnp.where(quality == most, places, quality.shape[axis])
    return jnp.squeeze(most, axis), jnp.min(first, axis)


def settled(quality: Array) -> Array:
    """The same, computed once: XLA would compute the overlaps again wherever they are
    looked at."""
    return lax.optimization_barrier(quality)


def in_crowd(
    references: Array, boxes: Array, crowd: Array, *, threshold: float = 0.5
) -> Array:
    """Bool [N]: which references lie in a crowd, by at least that share of their area.

        matches = jnp.where((matches == BACKGROUND) & in_crowd(…), IGNORED, matches)

    Args:
      references: [N,4].
      boxes: [M,4], of all objects.
      crowd: [M], 1 for crowds.
      threshold: the share, in (0, 1].
    """
    inside = pairwise(coverage)(references, boxes)
    return jnp.any((inside >= threshold) & (crowd == 1)[None, :], axis=1)
