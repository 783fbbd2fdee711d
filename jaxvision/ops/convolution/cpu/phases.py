"""The input gradient of a convolution with strides, without multiplying zeros.

Pixel s·j + r is seen by the taps k ≡ r + padding (mod s) alone: by tap k for output
j + (r + padding - k) / s.  So the pixels of one phase r are a convolution of dy,
without strides, with some of the taps: the sub-pixel form of a transposed convolution,
Shi et al. 2016, https://arxiv.org/abs/1609.07009.  The phases of a row of pixels are
the channels of one convolution, in which a phase with fewer taps than another has
zeros.  Rows of pixels that see outputs at the same distances share a convolution.
"""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.ops.convolution.cpu import plain
from jaxvision.ops.convolution.geometry import Geometry
from jaxvision.types import Array


def input_gradient(
    dy_BxhxwxO: Array, kernel_KxKxCxO: Array, size: Sequence[int], geometry: Geometry
) -> Array:
    """[B,H,W,C] of the given size, without dilation or groups."""
    *kernel_size, channels, out_channels = kernel_KxKxCxO.shape
    strides = geometry.strides
    (top, rows_TxS), (left, columns_TxS) = (
        _taps(k, s, low)
        for k, s, (low, _) in zip(kernel_size, strides, geometry.pads, strict=True)
    )
    batch, *dy_size, _ = dy_BxhxwxO.shape
    h, w = (-(-n // s) for n, s in zip(size, strides, strict=True))
    # A column more, of zeros, is the tap of phases that have none at some distance.
    kernel = jnp.pad(kernel_KxKxCxO, ((0, 0), (0, 1), (0, 0), (0, 0)))

    def distances_seen(row):
        return tuple(np.flatnonzero(rows_TxS[:, row] < kernel_size[0]))

    parts = []
    for distances, alike in itertools.groupby(range(strides[0]), distances_seen):
        rows = list(alike)
        if not distances:
            shape = (batch, h, len(rows), w, strides[1], channels)
            parts.append(jnp.zeros(shape, dy_BxhxwxO.dtype))
            continue
        chosen = kernel[rows_TxS[np.ix_(distances, rows)]][:, :, columns_TxS]
        part_TxTxOxC = chosen.transpose(0, 2, 5, 1, 3, 4).reshape(
            len(distances), len(columns_TxS), out_channels, -1
        )
        first, last = top + distances[0], top + distances[-1]
        pads = (
            (-first, h + last - dy_size[0]),
            (-left, w + left + len(columns_TxS) - 1 - dy_size[1]),
        )
        part_TxTxOxC = lax.optimization_barrier(part_TxTxOxC)
        part = plain.convolve(dy_BxhxwxO, part_TxTxOxC, Geometry(pads=pads))
        part = part.reshape(batch, h, w, len(rows), strides[1], channels)
        parts.append(part.transpose(0, 1, 3, 2, 4, 5))
    dx = jnp.concatenate(parts, 2).reshape(batch, h * strides[0], -1, channels)
    # Without the barrier XLA interleaves the phases pixel by pixel inside of whatever
    # reads the gradient.
    return lax.optimization_barrier(dx[:, : size[0], : size[1]])


def _taps(kernel_size: int, stride: int, low: int) -> tuple[int, np.ndarray]:
    """The least distance of an output from j, and the taps [distances,phases].

    It is `kernel_size`, one past the last tap, where a phase has none at a distance.
    """
    places = {
        ((phase + low - tap) // stride, phase): tap
        for phase in range(stride)
        for tap in range(kernel_size)
        if (phase + low - tap) % stride == 0
    }
    distances = [distance for distance, _ in places]
    least = min(distances)
    taps = np.full((max(distances) - least + 1, stride), kernel_size)
    for (distance, phase), tap in places.items():
        taps[distance - least, phase] = tap
    return least, taps
