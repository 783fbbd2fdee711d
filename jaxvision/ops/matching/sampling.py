"""As many objects and as much background as a loss wants to see."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.matching.matches import BACKGROUND

Array = jax.Array


class Sample(NamedTuple):
    """Which of N references were drawn: first those with objects, then background."""

    indices: Array
    """int32 [K]; 0 where nothing was left to be drawn."""
    positive: Array
    """bool [K]: has an object."""
    valid: Array
    """bool [K]: was drawn."""


def balanced_sample(key: Array, matches: Array, *, size: int, share: float) -> Sample:
    """Draws from those with an object and from background, without putting back.

    Ren et al. 2015, Faster R-CNN, https://arxiv.org/abs/1506.01497, section 3.1.3:
    ⌊size · share⌋ with an object, or as many as there are, and background up to `size`;
    torchvision's BalancedPositiveNegativeSampler.  Each subset of a kind is equally
    likely.

    Args:
      key: of the draw.
      matches: int32 [N], see `ops.matching`.
      size: K, how many are drawn; fewer where there are not enough.
      share: of those with objects, from 0 to 1.

    Raises `UsageError` for a size below 1 or a share outside of [0, 1].
    """
    check(
        (size >= 1, f"size must be at least 1, got {size}"),
        (0 <= share <= 1, f"share must be from 0 to 1, got {share}"),
    )
    draws = jax.random.uniform(key, matches.shape)

    def some(kind: Array, wanted: int) -> tuple[Array, Array]:
        """The first `wanted` of a kind in a random order, and how many there are."""
        wanted = min(wanted, len(matches))
        _, places = lax.top_k(jnp.where(kind, draws, -1), wanted)
        return places, jnp.minimum(jnp.sum(kind, dtype=jnp.int32), wanted)

    objects, found = some(matches >= 0, int(size * share))
    background, empty = some(matches == BACKGROUND, size)
    empty = jnp.minimum(empty, size - found)

    slot = jnp.arange(size)
    positive = slot < found
    valid = slot < found + empty
    first = objects[jnp.minimum(slot, max(len(objects) - 1, 0))] if len(objects) else 0
    second = background[jnp.clip(slot - found, 0, len(background) - 1)]
    indices = jnp.where(positive, first, jnp.where(valid, second, 0))
    return Sample(indices, positive, valid)


def hard_negatives(losses: Array, matches: Array, *, ratio: float = 3.0) -> Array:
    """Bool [N]: the background with the highest losses, so much of it for each object.

    Liu et al. 2016, SSD, https://arxiv.org/abs/1512.02325, section 2.2, "Hard negative
    mining".  The first of equal losses counts.

    Args:
      losses: [N], of the class.
      matches: int32 [N], see `ops.matching`.
      ratio: background for each reference that has an object.
    """
    wanted = ratio * jnp.sum(matches >= 0, dtype=jnp.float32)
    background = matches == BACKGROUND
    order = jnp.argsort(jnp.where(background, -losses, jnp.inf), stable=True)
    rank = jnp.zeros(len(order), jnp.float32)
    rank = rank.at[order].set(jnp.arange(len(order), dtype=jnp.float32))
    return background & (rank < wanted)
