"""How good an explanation is: what the score does as its pixels come or go.

Petsiuk, Das and Saenko 2018, https://arxiv.org/abs/1806.07421.  The mean of an
insertion curve is the better the larger it is, that of a deletion curve the smaller.
"""

import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.explain.scores import Score, in_batches
from jaxvision.types import Array


def insertion_curve(
    score: Score,
    image: Array,
    relevance: Array,
    baseline: Array | float,
    *,
    steps: int = 20,
    batch_size: int = 32,
) -> Array:
    """[steps+1]: scores of the baseline with more and more of the image's pixels in it,
    the most relevant first, in equal numbers.

    Args:
      image: [H,W,C].
      relevance: [H,W]; equal ones come in the order of the rows.
      baseline: what is shown of the others, broadcast to the image.
      steps: all pixels are there after so many.
      batch_size: images that are computed together.
    """
    height, width, _ = image.shape
    check(
        (
            relevance.shape == (height, width),
            f"the relevance must have the {height}×{width} pixels of the image, got "
            f"{'×'.join(map(str, relevance.shape))}",
        ),
        (
            1 <= steps <= height * width,
            f"steps must be between 1 and the {height * width} pixels, got {steps}",
        ),
    )
    order = jnp.argsort(-relevance.ravel(), stable=True)
    rank = jnp.argsort(order, stable=True).reshape(height, width)
    other = jnp.broadcast_to(jnp.asarray(baseline, image.dtype), image.shape)
    counts = jnp.round(jnp.linspace(0, height * width, steps + 1)).astype(rank.dtype)

    def seen(counts: Array) -> Array:
        there = rank[None] < counts[:, None, None]
        return score(jnp.where(there[..., None], image[None], other[None]))

    return in_batches(seen, counts, batch_size)


def deletion_curve(
    score: Score,
    image: Array,
    relevance: Array,
    baseline: Array | float,
    *,
    steps: int = 20,
    batch_size: int = 32,
) -> Array:
    """[steps+1]: scores of the image as more and more of its pixels give way to the
    baseline, the most relevant first.  Arguments are those of `insertion_curve`.
    """
    other = jnp.broadcast_to(jnp.asarray(baseline, image.dtype), image.shape)
    return insertion_curve(
        score, other, relevance, image, steps=steps, batch_size=batch_size
    )
