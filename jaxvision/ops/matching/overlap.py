"""Matching by IoU with thresholds."""

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.matching.matches import BACKGROUND, IGNORED, best, settled

Array = jax.Array


def max_iou(
    quality: Array,
    valid: Array,
    *,
    high: float,
    low: float,
    low_quality: bool = False,
) -> Array:
    """Each reference finds the object that it overlaps most, if it does so enough.

    Ren et al. 2015, Faster R-CNN, https://arxiv.org/abs/1506.01497, section 3.1.2, as
    torchvision's Matcher.  The first of equal objects counts.

    Args:
      quality: IoU [M,N] of objects and references, `pairwise(iou)(boxes, references)`.
      valid: bool [M]: which objects there are.
      high: from this IoU on a reference finds its object.
      low: below it is background, and ignored between the two.
      low_quality: whether an object that no reference overlaps so much is also found,
        by those that overlap it most: these find whichever object they overlap most.
        Objects that overlap no reference at all stay without (in torchvision's they
        match all references that overlap nothing).

    Returns int32 [N], see `ops.matching`.

    Raises `UsageError` unless 0 < low ≤ high ≤ 1.
    """
    check(thresholds_rule(low, high))
    if not len(valid):
        return jnp.full(quality.shape[1], BACKGROUND, jnp.int32)
    quality = settled(jnp.where(valid[:, None], quality, -1))
    most, nearest = best(quality, axis=0)
    matches = jnp.where(most < high, IGNORED, nearest)
    matches = jnp.where(most < low, BACKGROUND, matches)
    if low_quality:
        highest = jnp.max(quality, axis=1, keepdims=True)
        rescued = jnp.any((quality == highest) & (highest > 0), axis=0)
        matches = jnp.where(rescued, nearest, matches)
    return matches


def best_and_above(quality: Array, valid: Array, *, threshold: float) -> Array:
    """Each object is found by the reference that overlaps it most, and by all that
    overlap it enough.

    Liu et al. 2016, SSD, https://arxiv.org/abs/1512.02325, section 2.2, as
    torchvision's SSDMatcher: where several objects have the same best reference, it
    finds the last of them.

    Args:
      quality: IoU [M,N] of objects and references.
      valid: bool [M]: which objects there are.
      threshold: from this IoU on, in (0, 1], a reference finds the object it overlaps
        most.

    Returns int32 [N], see `ops.matching`.
    """
    count, references = quality.shape
    quality = settled(quality)
    matches = max_iou(quality, valid, high=threshold, low=threshold)
    if not count:
        return matches
    _, nearest = best(quality, axis=1)
    nearest = jnp.where(valid, nearest, references)
    forced = jnp.full(references, BACKGROUND, jnp.int32)
    forced = forced.at[nearest].max(jnp.arange(count, dtype=jnp.int32), mode="drop")
    return jnp.where(forced >= 0, forced, matches)


def thresholds_rule(low: float, high: float) -> tuple[bool, str]:
    """The rule for thresholds of the IoU, for `errors.check`."""
    return (
        0 < low <= high <= 1,
        f"thresholds must be 0 < low <= high <= 1, got low {low} and high {high}",
    )
