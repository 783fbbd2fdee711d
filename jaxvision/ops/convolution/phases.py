"""The gradient by images of a convolution with strides, without multiplying zeros.

Pixel s·j + r meets the taps k ≡ r + padding (mod s) alone, tap k at output
j + (r + padding - k) / s.  So the pixels of one phase r are a convolution of dy,
without strides, by a part of the kernel.  The phases of a row's pixels are the channels
of one convolution, in which a phase with fewer taps than another has zeros; rows that
meet outputs at the same distances share it.
"""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.ops.convolution import plain
from jaxvision.ops.convolution.geometry import Pads, Two
from jaxvision.types import Array


def input_gradient(
    dy_BxhxwxO: Array,
    kernel_KxKxCxO: Array,
    size: Sequence[int],
    strides: Two,
    pads: Pads,
) -> Array:
    """The maps of `size` [B,H,W,C] whose pixels sum what their taps send back."""
    reach, (channels, made) = kernel_KxKxCxO.shape[:2], kernel_KxKxCxO.shape[2:]
    (top, rows_TxS), (left, columns_TxS) = (
        _taps(k, s, low) for k, s, (low, _) in zip(reach, strides, pads, strict=True)
    )
    batch, *outputs, _ = dy_BxhxwxO.shape
    h, w = (-(-n // s) for n, s in zip(size, strides, strict=True))
    # Tap K, which is none, has zeros.
    kernel = jnp.pad(kernel_KxKxCxO, ((0, 0), (0, 1), (0, 0), (0, 0)))

    def met(row):
        return tuple(np.flatnonzero(rows_TxS[:, row] < reach[0]))

    parts = []
    for distances, alike in itertools.groupby(range(strides[0]), met):
        rows = list(alike)
        if not distances:
            nothing = (batch, h, len(rows), w, strides[1], channels)
            parts.append(jnp.zeros(nothing, dy_BxhxwxO.dtype))
            continue
        chosen = kernel[rows_TxS[np.ix_(distances, rows)]][:, :, columns_TxS]
        part_TxTxOxC = chosen.transpose(0, 2, 5, 1, 3, 4).reshape(
            len(distances), len(columns_TxS), made, -1
        )
        first, last = top + distances[0], top + distances[-1]
        around = (
            (-first, h + last - outputs[0]),
            (-left, w + left + len(columns_TxS) - 1 - outputs[1]),
        )
        part_TxTxOxC = lax.optimization_barrier(part_TxTxOxC)
        part = plain.convolve(dy_BxhxwxO, part_TxTxOxC, (1, 1), around)
        part = part.reshape(batch, h, w, len(rows), strides[1], channels)
        parts.append(part.transpose(0, 1, 3, 2, 4, 5))
    dx = jnp.concatenate(parts, 2).reshape(batch, h * strides[0], -1, channels)
    # Without the barrier XLA picks pixel by pixel inside of what comes next.
    return lax.optimization_barrier(dx[:, : size[0], : size[1]])


def _taps(reach: int, stride: int, low: int) -> tuple[int, np.ndarray]:
    """The least distance output - j, and which tap has it: [distances,phases].

    It is `reach` where a phase has no tap of that distance.
    """
    places = {
        ((phase + low - tap) // stride, phase): tap
        for phase in range(stride)
        for tap in range(reach)
        if (phase + low - tap) % stride == 0
    }
    distances = [distance for distance, _ in places]
    least = min(distances)
    taps = np.full((max(distances) - least + 1, stride), reach)
    for (distance, phase), tap in places.items():
        taps[distance - least, phase] = tap
    return least, taps
