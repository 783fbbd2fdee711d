"""Edges: derivatives of images by small kernels.

Kernels are NumPy arrays [3,3], for `correlate`.  Derivatives grow with the brightness
to the right (x) and downwards (y), where a kernel does not say otherwise.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxvision.ops.filters.borders import Border
from jaxvision.ops.filters.linear import correlate, separable
from jaxvision.types import Array

_DIFFERENCE = np.array([-1, 0, 1])
SOBEL = np.outer([1, 2, 1], _DIFFERENCE)
"""Along x; its transpose along y.  Sobel and Feldman 1968."""
SCHARR = np.outer([3, 10, 3], _DIFFERENCE)
"""Of directions that are less wrong.  Scharr 2000, https://doi.org/10.11588/heidok.00000962."""
PREWITT = np.outer([1, 1, 1], _DIFFERENCE)
"""Prewitt 1970."""
VERTICAL = -PREWITT
"""Vertical edges, positive from bright to dark."""
HORIZONTAL = VERTICAL.T
"""Horizontal edges, positive from bright to dark."""
LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
LAPLACIAN_8 = np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]])
"""With the diagonals."""


class Gradient(NamedTuple):
    """Derivatives along columns (to the right) and along rows (downwards), each float32
    [B,H,W,C]."""

    x: Array
    y: Array


def sobel(images_BxHxWxC: Array, *, border: Border = "reflect") -> Gradient:
    """By the kernel 1 2 1 across and -1 0 1 along: eight times the slope."""
    return _gradient(images_BxHxWxC, [1, 2, 1], border)


def scharr(images_BxHxWxC: Array, *, border: Border = "reflect") -> Gradient:
    """By the kernel 3 10 3 across and -1 0 1 along: 32 times the slope."""
    return _gradient(images_BxHxWxC, [3, 10, 3], border)


def prewitt(images_BxHxWxC: Array, *, border: Border = "reflect") -> Gradient:
    """By the kernel 1 1 1 across and -1 0 1 along: six times the slope."""
    return _gradient(images_BxHxWxC, [1, 1, 1], border)


def laplacian(
    images_BxHxWxC: Array, *, diagonals: bool = False, border: Border = "reflect"
) -> Array:
    """The sum of the four neighbours, or eight with `diagonals`, less as many times the
    pixel: float32 [B,H,W,C]."""
    kernel = LAPLACIAN_8 if diagonals else LAPLACIAN
    return correlate(images_BxHxWxC, kernel, border=border)


def magnitude(gradient: Gradient) -> Array:
    """√(x² + y²), whose own derivative is 0 where both are."""
    square = gradient.x * gradient.x + gradient.y * gradient.y
    flat = square == 0
    return jnp.where(flat, 0, jnp.sqrt(jnp.where(flat, 1, square)))


def direction(gradient: Gradient) -> Array:
    """Where it rises, in (-π, π]: 0 to the right, π/2 downwards; 0 where it is flat."""
    flat = (gradient.x == 0) & (gradient.y == 0)
    return jnp.arctan2(gradient.y, jnp.where(flat, 1, gradient.x))


def _gradient(images: Array, across: list[int], border: Border) -> Gradient:
    smooth = np.array(across)
    return Gradient(
        separable(images, smooth, _DIFFERENCE, border=border),
        separable(images, _DIFFERENCE, smooth, border=border),
    )
