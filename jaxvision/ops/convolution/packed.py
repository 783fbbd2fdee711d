"""Convolution with few channels, several neighbouring pixels packed into channels.

A map [B,H,W,C] is at no cost one of [B,H,W/n,n·C], and a kernel that makes n pixels at
a time meets K + n - 1 of them: some more arithmetic, but in matrices that are worth
their overhead.  1 to 6 channels, 5×5 on 128×32×32: 1.2 ms instead of 3.1.
"""

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution import plain
from jaxvision.ops.convolution.geometry import Pads
from jaxvision.types import Array

PIXELS = 4


def convolve(x_BxHxWxC: Array, kernel_KxKxCxO: Array, pads: Pads) -> Array:
    """The convolution with strides of 1."""
    (top, bottom), (left, right) = pads
    batch, height, width, taken = x_BxHxWxC.shape
    reach, across, _, made = kernel_KxKxCxO.shape
    h, w = height + top + bottom - reach + 1, width + left + right - across + 1

    # One kernel for each of the pixels out, shifted by as many taps.
    met = -(-(across + PIXELS - 1) // PIXELS)
    room = met * PIXELS - across
    shifted = [
        jnp.pad(kernel_KxKxCxO, ((0, 0), (i, room - i), (0, 0), (0, 0)))
        for i in range(PIXELS)
    ]
    kernel = jnp.stack(shifted, 3).reshape(reach, met, PIXELS * taken, PIXELS * made)
    kernel = lax.optimization_barrier(kernel)

    blocks = -(-w // PIXELS) + met - 1
    right = blocks * PIXELS - left - width
    padded = jnp.pad(x_BxHxWxC, ((0, 0), (top, bottom), (left, right), (0, 0)))
    images = padded.reshape(batch, height + top + bottom, blocks, PIXELS * taken)
    y = plain.convolve(images, kernel, (1, 1), ((0, 0), (0, 0)))
    return y.reshape(batch, h, -1, made)[:, :, :w]
