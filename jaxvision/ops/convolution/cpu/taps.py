"""Convolution of small maps: one matrix product for each tap, of the pixels it sees.

Of the 36 pairs of a tap of a 3×3 kernel and an output on a map of 2×2, 20 are padding;
XLA multiplies all of them.
"""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp

from jaxvision.ops.convolution.cpu import pointwise
from jaxvision.ops.convolution.geometry import Geometry
from jaxvision.types import Array


def convolve(x_BxHxWxC: Array, kernel_KxKxCxO: Array, geometry: Geometry) -> Array:
    """The convolution without groups, in products that differentiate themselves."""
    size, kernel_size = x_BxHxWxC.shape[1:3], kernel_KxKxCxO.shape[:2]
    rows, columns = _inside(size, kernel_size, geometry)
    h, w = geometry.output_size(size, kernel_size)
    batch, out_channels = x_BxHxWxC.shape[0], kernel_KxKxCxO.shape[3]
    total = jnp.zeros((batch, h, w, out_channels), x_BxHxWxC.dtype)
    for (u, down, vertical), (v, across, horizontal) in itertools.product(
        rows, columns
    ):
        seen_BxhxwxC = x_BxHxWxC[:, down, across]
        product = pointwise.product(seen_BxhxwxC, kernel_KxKxCxO[u, v])
        total += jnp.pad(product, ((0, 0), vertical, horizontal, (0, 0)))
    return total


def share_inside(
    size: Sequence[int], kernel_size: Sequence[int], geometry: Geometry
) -> float:
    """The share of pairs of a tap and an output that are no padding, from 0 to 1."""
    share = 1.0
    taps_along = _inside(size, kernel_size, geometry)
    outputs_along = geometry.output_size(size, kernel_size)
    for taps, outputs, k in zip(taps_along, outputs_along, kernel_size, strict=True):
        inside = sum(outputs - before - after for _, _, (before, after) in taps)
        share *= inside / (outputs * k)
    return share


def _inside(size, kernel_size, geometry):
    """For rows and for columns, the taps that see any pixel, each as a triple.

    It holds the number of the tap, the slice of pixels that it sees, and how many
    outputs lie before and after those that the pixels belong to.
    """
    strides, pads, dilation, _ = geometry
    outputs_along = geometry.output_size(size, kernel_size)
    taps_along = []
    for n, k, outputs, stride, (low, _), d in zip(
        size, kernel_size, outputs_along, strides, pads, dilation, strict=True
    ):
        taps = []
        for tap in range(k):
            shift = tap * d - low  # output o sees pixel o · stride + shift
            first = max(0, -(shift // stride))
            last = min(outputs - 1, (n - 1 - shift) // stride)
            if first <= last:
                pixels = slice(
                    first * stride + shift, last * stride + shift + 1, stride
                )
                taps.append((tap, pixels, (first, outputs - 1 - last)))
        taps_along.append(taps)
    return taps_along
