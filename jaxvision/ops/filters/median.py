"""The median of the pixels around a pixel."""

import functools

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution import Pair
from jaxvision.ops.convolution.geometry import windows
from jaxvision.ops.filters.borders import Border, around, as_float, odd, surround
from jaxvision.types import Array

MOST_COMPARED = 49
"""Pixels of a window up to which a network of comparisons finds the median, of whole
images at once.  Larger ones are sorted, a row of the image at a time."""


def median(images_BxHxWxC: Array, window: Pair, *, border: Border = "reflect") -> Array:
    """The median of a window of odd (height, width) around each pixel, in each channel.

    It is one of the pixels, so that bytes stay exact.
    """
    as_float(images_BxHxWxC, "median")
    images_BxHxWxC = jnp.asarray(images_BxHxWxC)
    height, width = odd("window", window)
    padded = surround(images_BxHxWxC, around((height, width)), border)
    if height * width <= MOST_COMPARED:
        wires = list(windows(padded, (height, width), (1, 1), (1, 1)))
        return _middle(wires)
    rows = images_BxHxWxC.shape[1]

    def of_row(row):
        seen = lax.dynamic_slice_in_dim(padded, row, height, axis=1)
        wires = windows(seen, (height, width), (1, 1), (1, 1))
        ordered = jnp.sort(jnp.stack(list(wires)), axis=0)[:, :, 0]
        middle, last = ordered[height * width // 2], ordered[-1]
        if not jnp.issubdtype(middle.dtype, jnp.floating):
            return middle
        return jnp.where(jnp.isnan(last), last, middle)  # what is no number comes last

    return jnp.moveaxis(lax.map(of_row, jnp.arange(rows)), 0, 1)


def _middle(wires: list[Array]) -> Array:
    """The median of an odd number of arrays, element by element."""
    for i, j, lower, higher in _network(len(wires)):
        first, second = wires[i], wires[j]
        if lower:
            wires[i] = jnp.minimum(first, second)
        if higher:
            wires[j] = jnp.maximum(first, second)
    return wires[len(wires) // 2]


@functools.cache
def _network(count: int) -> list[tuple[int, int, bool, bool]]:
    """Comparisons that bring the median of `count` values to the middle: (i, j, whether
    i becomes the lower, whether j becomes the higher).

    Batcher's merge exchange (Knuth, vol. 3, algorithm 5.2.2M) without what the middle
    does not need.
    """
    pairs = []
    p = 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                for i in range(j, min(j + k, count - k)):
                    if i // (2 * p) == (i + k) // (2 * p):
                        pairs.append((i, i + k))
            k //= 2
        p *= 2
    needed, kept = {count // 2}, []
    for i, j in reversed(pairs):
        if i in needed or j in needed:
            kept.append((i, j, i in needed, j in needed))
            needed |= {i, j}
    return kept[::-1]
