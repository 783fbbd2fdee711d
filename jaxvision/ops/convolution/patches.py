"""Gradients by matrix products with patches, the windows of the images as rows.

That by the kernel is `dyᵀ · patches`, and that by the images adds up `dy · kernelᵀ`, a
patch for each output, where the windows overlap.  Strides cost neither anything, where
convolutions have to multiply zeros.  Patches are K² times as large as the images, so
they are made slice by slice, in the cache.
"""

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.geometry import Pads, Two, pad, unwindow, windows
from jaxvision.ops.convolution.slices import map_slices, number_of_slices, sum_slices
from jaxvision.types import Array


def input_gradient(
    dy_BxhxwxO: Array,
    kernel_KxKxCxO: Array,
    size: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two,
) -> Array:
    """`dx = Σ_uv (dy · kernel[u,v]ᵀ)` at the pixels that tap u, v meets."""
    *reach, channels, made = kernel_KxKxCxO.shape
    kernel_OxKKC = kernel_KxKxCxO.transpose(3, 0, 1, 2).reshape(made, -1)
    # Barriers keep XLA from transposing inside the product, and from computing the
    # product once for each tap.
    kernel_OxKKC = lax.optimization_barrier(kernel_OxKKC)

    def of_slice(dy_BxhxwxO):
        batch, h, w, _ = dy_BxhxwxO.shape
        patches = dy_BxhxwxO.reshape(-1, made) @ kernel_OxKKC
        patches = lax.optimization_barrier(patches).reshape(
            batch, h, w, *reach, channels
        )
        taps = [
            patches[:, :, :, u, v] for u, v in itertools.product(*map(range, reach))
        ]
        return unwindow(taps, size, reach, strides, pads, dilation)

    batch, outputs = dy_BxhxwxO.shape[0], dy_BxhxwxO.size // made
    slices = _slices(batch, outputs, kernel_OxKKC.shape[1])
    return map_slices(of_slice, slices, dy_BxhxwxO)


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    reach: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two,
) -> Array:
    """`dyᵀ · patches`, in this order: it is dy, the smaller, that is transposed."""
    batch, _, _, channels = x_BxHxWxC.shape
    made, patch = dy_BxhxwxO.shape[3], channels * math.prod(reach)

    def of_slice(x_BxHxWxC, dy_BxhxwxO):
        patches = _patches(x_BxHxWxC, reach, strides, pads, dilation)
        dy_Oxn = lax.optimization_barrier(dy_BxhxwxO.reshape(-1, made).T)
        return dy_Oxn @ patches

    slices = _slices(batch, dy_BxhxwxO.size // made, patch)
    dkernel_OxKKC = sum_slices(of_slice, slices, x_BxHxWxC, dy_BxhxwxO)
    return dkernel_OxKKC.reshape(made, *reach, channels).transpose(1, 2, 3, 0)


def _patches(x_BxHxWxC, reach, strides, pads, dilation):
    """[outputs,KKC].

    Written tap by tap into place: XLA makes it three times as fast as the joining of
    as many arrays.
    """
    channels = x_BxHxWxC.shape[3]
    for tap, seen in enumerate(windows(pad(x_BxHxWxC, pads), reach, strides, dilation)):
        if tap == 0:
            shape = (*seen.shape[:3], channels * math.prod(reach))
            patches = jnp.zeros(shape, seen.dtype)
        patches = lax.dynamic_update_slice_in_dim(patches, seen, tap * channels, 3)
    return lax.optimization_barrier(patches).reshape(-1, shape[3])


def _slices(batch: int, outputs: int, patch: int) -> int:
    """So that the patches of a slice are some two megabytes."""
    return number_of_slices(batch, 4 * outputs * patch / 2**21)
