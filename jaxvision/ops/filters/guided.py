"""The guided filter: smooth, with the edges of another image."""

import functools

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.ops.filters.borders import as_float
from jaxvision.ops.filters.linear import separable
from jaxvision.ops.resample import as_type
from jaxvision.types import Array


def guided(
    images_BxHxWxC: Array,
    guides_BxHxWxG: Array | None = None,
    *,
    radius: int,
    epsilon: float | Array,
) -> Array:
    """The images as they are where the guide has edges, and smooth elsewhere.

    In each window of 2·radius+1 pixels the result is a linear function of the guide's
    channels, the one nearest to the images; of what windows say of a pixel it is the
    mean.
    Windows are cut off at the border.  He, Sun and Tang 2013,
    https://doi.org/10.1109/TPAMI.2012.213, equations 11 to 13 and, of several channels,
    19 and 20.

    Args:
      guides_BxHxWxG: of the same size; None: the images themselves, whose edges are
        kept.
      epsilon: variance, in the squared units of the guide, below which a window counts
        as smooth: 0.01 · 255² of bytes is much, 0.0001 · 255² is little.
    """
    images = as_float(images_BxHxWxC, "guided")
    guides = images if guides_BxHxWxG is None else as_float(guides_BxHxWxG, "guided")
    guides = guides.astype(images.dtype)
    check(
        (
            guides.shape[:3] == images.shape[:3],
            f"guide and images must have one size, got {guides.shape} and "
            f"{images.shape}",
        ),
        (radius >= 0, f"radius must be at least 0, got {radius}"),
    )
    ones = np.ones(2 * radius + 1)
    sums = functools.partial(separable, column=ones, row=ones, border="zeros")
    count = sums(jnp.ones((1, *images.shape[1:3], 1), images.dtype))

    def mean(x):
        return sums(x) / count

    channels = range(guides.shape[-1])
    guide = [guides[..., i : i + 1] for i in channels]
    means, mean_images = [mean(g) for g in guide], mean(images)
    # Differences from one level of the image, so that squares stay small.
    level = guides.mean(axis=(1, 2), keepdims=True)
    guide = [g - level[..., i : i + 1] for i, g in zip(channels, guide, strict=True)]
    means = [m - level[..., i : i + 1] for i, m in zip(channels, means, strict=True)]
    variances = [
        [
            mean(guide[i] * guide[j])
            - means[i] * means[j]
            + jnp.asarray(epsilon if i == j else 0, images.dtype)
            for j in channels
        ]
        for i in channels
    ]
    covariances = [mean(guide[i] * images) - means[i] * mean_images for i in channels]
    slopes = _solve(variances, covariances)
    offset = mean_images - sum(s * m for s, m in zip(slopes, means, strict=True))
    result = mean(offset) + sum(mean(s) * g for s, g in zip(slopes, guide, strict=True))
    return as_type(result, jnp.asarray(images_BxHxWxC).dtype)


def _solve(matrix: list[list[Array]], right: list[Array]) -> list[Array]:
    """Gaussian elimination for a positive definite matrix at every pixel, written out
    over its few rows: arrays [B,H,W,1] and right sides [B,H,W,C]."""
    matrix, right = [list(row) for row in matrix], list(right)
    size = range(len(right))
    for i in size:
        for j in range(i + 1, len(right)):
            factor = matrix[j][i] / matrix[i][i]
            matrix[j] = [
                b - factor * a for a, b in zip(matrix[i], matrix[j], strict=True)
            ]
            right[j] = right[j] - factor * right[i]
    solution = list(right)
    for i in reversed(size):
        known = sum(
            (matrix[i][j] * solution[j] for j in range(i + 1, len(right))),
            start=jnp.zeros((), right[i].dtype),
        )
        solution[i] = (right[i] - known) / matrix[i][i]
    return solution
