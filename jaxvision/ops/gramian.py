"""A series as an image: Gramian angular fields.

Wang & Oates 2015, Imaging time-series to improve classification and imputation,
https://arxiv.org/abs/1506.00327, section 2.1.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check

Array = jax.Array


def piecewise_average(series: Array, size: int) -> Array:
    """[..., T] shortened to [..., size]: means over `size` stretches of equal length.

    Where T / size is no whole number, a value that a boundary cuts counts on both sides
    by its parts (piecewise aggregate approximation, Keogh et al. 2001,
    https://doi.org/10.1007/PL00011669).

    Raises `UsageError` unless 1 ≤ size ≤ T.
    """
    length = series.shape[-1]
    check(
        (
            1 <= size <= length,
            f"size must be from 1 to the {length} values of the series, got {size}",
        )
    )
    # How much of the value at t lies between the boundaries of stretch s.
    t, s = np.arange(length)[:, None], np.arange(size)
    ends = np.minimum(t + 1, (s + 1) * length / size)
    share = np.maximum(ends - np.maximum(t, s * length / size), 0)
    return series @ jnp.asarray(share * size / length, jnp.float32)


def rescale(series: Array) -> Array:
    """Each series [..., T] to [-1, 1], equation 1; one that is constant becomes 0."""
    low = series.min(-1, keepdims=True)
    high = series.max(-1, keepdims=True)
    span = jnp.where(high > low, high - low, 1)
    return jnp.clip(((series - high) + (series - low)) / span, -1, 1)


def angular_summation(series: Array) -> Array:
    """GASF, equation 5: cos(φᵢ + φⱼ) with φ = arccos of the rescaled series.

    [..., T] to [..., T, T], from -1 to 1.  Its diagonal, 2 x² - 1, holds the rescaled
    series but for signs.
    """
    x, root = _cartesian(series)
    return x[..., :, None] * x[..., None, :] - root[..., :, None] * root[..., None, :]


def angular_difference(series: Array) -> Array:
    """GADF, equation 7: sin(φᵢ - φⱼ) with φ = arccos of the rescaled series.

    [..., T] to [..., T, T], from -1 to 1, antisymmetric.
    """
    x, root = _cartesian(series)
    return root[..., :, None] * x[..., None, :] - x[..., :, None] * root[..., None, :]


def _cartesian(series: Array) -> tuple[Array, Array]:
    """cos φ and sin φ."""
    x = rescale(series)
    return x, jnp.sqrt(jnp.maximum(1 - x * x, 0))
