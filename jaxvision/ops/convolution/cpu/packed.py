"""Convolution with few channels, several neighbouring pixels packed into channels.

[B,H,W,C] is in memory the same as [B,H,W/n,n·C].  A kernel that computes n neighbouring
outputs at a time sees K + n - 1 columns: somewhat more arithmetic, but as products of
matrices that are large enough to be fast.  1 to 6 channels, 5×5 on 128×32×32: 1.2 ms
instead of 3.1.
"""

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.cpu import plain
from jaxvision.ops.convolution.geometry import Geometry
from jaxvision.types import Array

PIXELS = 4
"""n."""


def convolve(x_BxHxWxC: Array, kernel_KxKxCxO: Array, geometry: Geometry) -> Array:
    """The convolution, without strides, dilation or groups."""
    (top, bottom), (left, _) = geometry.pads
    batch, height, width, in_channels = x_BxHxWxC.shape
    rows, columns, _, out_channels = kernel_KxKxCxO.shape
    h, w = geometry.output_size((height, width), (rows, columns))

    # The kernel once for each of the n outputs, shifted by as many columns, and filled
    # up to whole blocks of n columns.
    packed_columns = -(-(columns + PIXELS - 1) // PIXELS)
    spare = packed_columns * PIXELS - columns
    shifted = [
        jnp.pad(kernel_KxKxCxO, ((0, 0), (i, spare - i), (0, 0), (0, 0)))
        for i in range(PIXELS)
    ]
    kernel = jnp.stack(shifted, 3).reshape(
        rows, packed_columns, PIXELS * in_channels, PIXELS * out_channels
    )
    # Else the kernel is put together again inside of the convolution.
    kernel = lax.optimization_barrier(kernel)

    blocks = -(-w // PIXELS) + packed_columns - 1
    right = blocks * PIXELS - left - width
    padded = jnp.pad(x_BxHxWxC, ((0, 0), (top, bottom), (left, right), (0, 0)))
    images = padded.reshape(batch, height + top + bottom, blocks, PIXELS * in_channels)
    y = plain.convolve(images, kernel, Geometry())
    return y.reshape(batch, h, -1, out_channels)[:, :, :w]
