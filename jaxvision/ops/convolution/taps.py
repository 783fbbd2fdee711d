"""Convolution of tiny maps: one matrix product for each tap, of the pixels it meets.

A 3×3 kernel on a map of 2×2 meets padding with 20 of its 36 taps; XLA multiplies all.
"""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp

from jaxvision.ops.convolution import pointwise
from jaxvision.ops.convolution.geometry import Pads, Two
from jaxvision.types import Array


def convolve(
    x_BxHxWxC: Array,
    kernel_KxKxCxO: Array,
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
) -> Array:
    """The convolution, as XLA can differentiate it well."""
    size, reach = x_BxHxWxC.shape[1:3], kernel_KxKxCxO.shape[:2]
    (rows, h), (columns, w) = (
        _meetings(n, k, s, low, high, d)
        for n, k, s, (low, high), d in zip(
            size, reach, strides, pads, dilation, strict=True
        )
    )
    batch, made = x_BxHxWxC.shape[0], kernel_KxKxCxO.shape[3]
    total = jnp.zeros((batch, h, w, made), x_BxHxWxC.dtype)
    met = itertools.product(rows, columns)
    for (u, down, vertical), (v, across, horizontal) in met:
        seen_BxhxwxC = x_BxHxWxC[:, down, across]
        product = pointwise.convolve(seen_BxhxwxC, kernel_KxKxCxO[u, v])
        total += jnp.pad(product, ((0, 0), vertical, horizontal, (0, 0)))
    return total


def _meetings(size, reach, stride, low, high, dilation):
    """For each tap that meets the map at all: the tap, the pixels that it meets, and
    the outputs before and after those they belong to.  And the number of outputs."""
    outputs = (size + low + high - (reach - 1) * dilation - 1) // stride + 1
    taps = []
    for tap in range(reach):
        shift = tap * dilation - low  # output o sees pixel o · stride + shift
        first = max(0, -(shift // stride))
        last = min(outputs - 1, (size - 1 - shift) // stride)
        if first <= last:
            pixels = slice(first * stride + shift, last * stride + shift + 1, stride)
            taps.append((tap, pixels, (first, outputs - 1 - last)))
    return taps, outputs


def share(
    size: Sequence[int], reach: Sequence[int], strides: Two, pads: Pads, dilation: Two
) -> float:
    """How many of all products of a tap and a place for it are not with padding."""
    part = 1.0
    for n, k, s, (low, high), d in zip(
        size, reach, strides, pads, dilation, strict=True
    ):
        taps, outputs = _meetings(n, k, s, low, high, d)
        met = sum(outputs - before - after for _, _, (before, after) in taps)
        part *= met / (outputs * k)
    return part
