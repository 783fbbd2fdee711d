"""Gradients as matrix products with patches ("im2col").

Patches are the windows of the images, as rows.  The weight gradient is
`dyᵀ · patches`.  The input gradient is `dy · kernelᵀ`, a patch for each output, added
up where the windows overlap.  Strides cost nothing here, where convolutions multiply
zeros.  Patches are K² times as large as the images, so they are made slice by slice, in
the cache.  One group.
"""

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.cpu.slices import (
    map_slices,
    number_of_slices,
    sum_slices,
)
from jaxvision.ops.convolution.geometry import Geometry, pad, unwindow, windows
from jaxvision.types import Array


def input_gradient(
    dy_BxhxwxO: Array, kernel_KxKxCxO: Array, size: Sequence[int], geometry: Geometry
) -> Array:
    """`dx = Σ_uv (dy · kernel[u,v]ᵀ)`, at the pixels that tap u, v sees."""
    *kernel_size, channels, out_channels = kernel_KxKxCxO.shape
    kernel_OxKKC = kernel_KxKxCxO.transpose(3, 0, 1, 2).reshape(out_channels, -1)
    # Without this barrier XLA transposes inside of the product, and without the one
    # below it computes the product once for each tap.
    kernel_OxKKC = lax.optimization_barrier(kernel_OxKKC)
    strides, pads, dilation, _ = geometry

    def of_slice(dy_BxhxwxO):
        batch, h, w, _ = dy_BxhxwxO.shape
        patches = dy_BxhxwxO.reshape(-1, out_channels) @ kernel_OxKKC
        patches = lax.optimization_barrier(patches)
        patches = patches.reshape(batch, h, w, *kernel_size, channels)
        positions = itertools.product(*map(range, kernel_size))
        taps = [patches[:, :, :, u, v] for u, v in positions]
        return unwindow(taps, size, kernel_size, strides, pads, dilation)

    batch, outputs = dy_BxhxwxO.shape[0], dy_BxhxwxO.size // out_channels
    slices = _slices(batch, outputs, kernel_OxKKC.shape[1])
    return map_slices(of_slice, slices, dy_BxhxwxO)


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    kernel_size: Sequence[int],
    geometry: Geometry,
) -> Array:
    """`dyᵀ · patches`: in this order the smaller of the two, dy, is transposed."""
    batch, _, _, channels = x_BxHxWxC.shape
    out_channels, patch = dy_BxhxwxO.shape[3], channels * math.prod(kernel_size)

    def of_slice(x_BxHxWxC, dy_BxhxwxO):
        patches = _patches(x_BxHxWxC, kernel_size, geometry)
        dy_Oxn = lax.optimization_barrier(dy_BxhxwxO.reshape(-1, out_channels).T)
        return dy_Oxn @ patches

    slices = _slices(batch, dy_BxhxwxO.size // out_channels, patch)
    dkernel_OxKKC = sum_slices(of_slice, slices, x_BxHxWxC, dy_BxhxwxO)
    dkernel = dkernel_OxKKC.reshape(out_channels, *kernel_size, channels)
    return dkernel.transpose(1, 2, 3, 0)


def _patches(x_BxHxWxC, kernel_size, geometry):
    """[outputs,KKC].

    Each tap is written to its place in turn: XLA makes that three times as fast as a
    concatenation of as many arrays.
    """
    strides, pads, dilation, _ = geometry
    channels = x_BxHxWxC.shape[3]
    seen_by_taps = windows(pad(x_BxHxWxC, pads), kernel_size, strides, dilation)
    for tap, seen in enumerate(seen_by_taps):
        if tap == 0:
            shape = (*seen.shape[:3], channels * math.prod(kernel_size))
            patches = jnp.zeros(shape, seen.dtype)
        patches = lax.dynamic_update_slice_in_dim(patches, seen, tap * channels, 3)
    return lax.optimization_barrier(patches).reshape(-1, shape[3])


def _slices(batch: int, outputs: int, patch: int) -> int:
    """As many that the patches of a slice are about two megabytes of float32."""
    return number_of_slices(batch, 4 * outputs * patch / 2**21)
