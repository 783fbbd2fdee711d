"""Means of the pixels around a pixel, in the type of the images."""

import math

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.ops.convolution import Pair
from jaxvision.ops.filters.borders import Border, odd
from jaxvision.ops.filters.linear import separable
from jaxvision.ops.resample import as_type
from jaxvision.types import Array


def mean(images_BxHxWxC: Array, window: Pair, *, border: Border = "reflect") -> Array:
    """The mean of a window of odd (height, width) around each pixel (a box filter)."""
    height, width = odd("window", window)
    column, row = np.full(height, 1 / height), np.full(width, 1 / width)
    smooth = separable(images_BxHxWxC, column, row, border=border)
    return as_type(smooth, jnp.asarray(images_BxHxWxC).dtype)


def gaussian(
    images_BxHxWxC: Array,
    sigma: float | Array,
    *,
    radius: int | None = None,
    border: Border = "reflect",
) -> Array:
    """The mean under a Gaussian of standard deviation `sigma`, in pixels.

    radius: at which it is cut off; None: at four deviations, rounded, as in SciPy.
    With a radius `sigma` may be traced.
    """
    if radius is None:
        check((bool(sigma > 0), f"sigma must be positive, got {sigma}"))
        radius = math.floor(4 * float(sigma) + 0.5)
    check((radius >= 0, f"radius must be at least 0, got {radius}"))
    weights = bell(jnp.float32(sigma), radius)
    smooth = separable(images_BxHxWxC, weights, weights, border=border)
    return as_type(smooth, jnp.asarray(images_BxHxWxC).dtype)


def bell(sigmas: Array, radius: int) -> Array:
    """[…,2·radius+1]: a Gaussian of each deviation […], of sum 1."""
    offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    shares = offsets.reshape((1,) * sigmas.ndim + (-1,)) / sigmas[..., None]
    weights = jnp.exp(-0.5 * jnp.square(shares))
    return weights / jnp.sum(weights, axis=-1, keepdims=True)
