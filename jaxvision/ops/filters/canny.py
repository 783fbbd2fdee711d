"""Canny's edges: thin lines where the gradient is steepest.

Canny 1986, https://doi.org/10.1109/TPAMI.1986.4767851.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.filters.borders import Border, as_float
from jaxvision.ops.filters.edges import sobel
from jaxvision.ops.filters.neighbourhoods import adjacent, box
from jaxvision.ops.filters.regions import connected
from jaxvision.ops.filters.smoothing import gaussian
from jaxvision.types import Array


def canny(
    images_BxHxWxC: Array,
    low: float | Array,
    high: float | Array,
    *,
    sigma: float | None = 1.0,
    border: Border = "edge",
) -> Array:
    """bool [B,H,W,C]: the pixels on edges of each channel.

    The images are smoothed by a Gaussian and differentiated by Sobel's kernels.  A
    pixel may be on an edge if its gradient is larger than those of its two neighbours
    across the edge, in the nearest of four directions; and it is on one if the gradient
    is also above `high`, or above `low` and a path of such pixels leads to one that is.

    Args:
      low, high: thresholds of √(x² + y²) of Sobel's derivatives, which are eight times
        the slope; may be traced.
      sigma: of the Gaussian, in pixels; None: the images are not smoothed, as in
        OpenCV, with which the result then agrees (`L2gradient=True`).
      border: beyond which nothing is an edge.
    """
    if not isinstance(low, jax.Array) and not isinstance(high, jax.Array):
        check((0 <= low <= high, f"0 ≤ low ≤ high must hold, got {low} and {high}"))
    images = as_float(images_BxHxWxC, "canny")
    if sigma is not None:
        images = gaussian(images, sigma, border=border)
    gradient = sobel(images, border=border)
    # Squares compare as the magnitudes do, and of bytes are exact.
    square = lax.optimization_barrier(gradient.x**2 + gradient.y**2)
    thin = _steepest(gradient.x, gradient.y, square)
    low, high = (jnp.asarray(t, images.dtype) ** 2 for t in (low, high))
    return connected(thin & (square > high), thin & (square > low))


def _steepest(x: Array, y: Array, square: Array) -> Array:
    """Where the gradient is larger than before and after the edge; of equal ones the
    first counts."""
    (
        top_left, top, top_right, left, _, right, bottom_left, bottom, bottom_right
    ) = adjacent(square, box(3), "zeros")  # fmt: skip
    slope = jnp.asarray(math.tan(math.pi / 8), x.dtype)
    steep = jnp.asarray(math.tan(3 * math.pi / 8), x.dtype)
    across, down = jnp.abs(x), jnp.abs(y)
    flat, upright = down < across * slope, down > across * steep
    falling = (x < 0) == (y < 0)  # the gradient points down right, or up left
    diagonal = jnp.where(
        falling,
        (square > top_left) & (square > bottom_right),
        (square > top_right) & (square > bottom_left),
    )
    return jnp.where(
        flat,
        (square > left) & (square >= right),
        jnp.where(upright, (square > top) & (square >= bottom), diagonal),
    )
