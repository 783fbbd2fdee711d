"""Linear filters: each pixel becomes a weighted sum of those around it."""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.convolution import Pair, conv2d, pair
from jaxvision.ops.convolution.geometry import windows
from jaxvision.ops.filters.borders import Border, around, as_float, odd, surround
from jaxvision.types import Array

Kernel = np.ndarray | Array
"""Weights [K,K], whose sides may differ; the zeros of a NumPy array cost nothing."""


def convolve(
    images_BxHxWxC: Array,
    bank_KxKxCxO: Array,
    *,
    border: Border | None = "zeros",
    strides: Pair = 1,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """`J_k(p) = Σ_i <I(q_i), W_k(q_i)>` for the pixels q_i adjacent to p and each of O
    kernels, as float32 [B,h,w,O].

    That is a convolution as deep learning defines it.  In mathematics the kernel is
    mirrored first (`mirrored`), and this is called a correlation.

    Args:
      border: what lies around the images; None: nothing, and there is a result only
        where the whole kernel is on the image, h = H - K + 1 for strides of 1.  With a
        border the sides of the kernels are odd, and h = ⌈H / strides⌉.
      strides: of every so many pixels, from the first on, there is a result.
      dilation: pixels between neighbouring weights.
      groups: as in `conv2d`; C of them: each channel has kernels of its own.

    Kernels may be larger than the images.  Raises `UsageError` for what does not fit
    together.
    """
    images = as_float(images_BxHxWxC, "convolve")
    bank = jnp.asarray(bank_KxKxCxO, images.dtype)
    check((bank.ndim == 4, f"a bank of kernels is [K,K,C,O], got {bank.shape}"))
    if border is not None:
        window = odd("the sides of the kernels", bank.shape[:2])
        images = surround(images, around(window, pair("dilation", dilation)), border)
    return conv2d(
        images,
        bank,
        strides=strides,
        padding="VALID",
        dilation=dilation,
        groups=groups,
    )


def correlate(
    images_BxHxWxC: Array,
    kernel: Kernel,
    *,
    border: Border = "reflect",
    strides: Pair = 1,
    dilation: Pair = 1,
) -> Array:
    """Each channel by itself under one kernel [K,K] of odd sides, as float32 [B,h,w,C].

    `y[i,j] = Σ x[i+u, j+v] · kernel[u,v]`, with u and v from the middle of the kernel.
    """
    images = as_float(images_BxHxWxC, "correlate")
    check((np.ndim(kernel) == 2, f"the kernel is [K,K], got {np.shape(kernel)}"))
    window = odd("the sides of the kernel", np.shape(kernel))
    strides, dilation = pair("strides", strides), pair("dilation", dilation)
    padded = surround(images, around(window, dilation), border)
    taps = windows(padded, window, strides, dilation)
    return _sum(taps, list(_weights(kernel, images)))


def separable(
    images_BxHxWxC: Array,
    column: Kernel,
    row: Kernel,
    *,
    border: Border = "reflect",
) -> Array:
    """`correlate` with the kernel `column · rowᵀ`, both [K] of odd length: K + K
    products instead of K · K."""
    images = as_float(images_BxHxWxC, "separable")
    for axis, weights in ((1, column), (2, row)):
        check(
            (
                np.ndim(weights) == 1,
                f"a column or row of weights is [K], got {np.shape(weights)}",
            )
        )
        images = lax.optimization_barrier(
            along(images, axis, list(_weights(weights, images)), border)
        )
    return images


def along(
    images_BxHxWxC: Array, axis: int, weights: Sequence[Array], border: Border
) -> Array:
    """Floating images under an odd number of weights along their rows (axis 1) or
    columns (2).  A weight is a number, or [B,1,1,1].

    A sum of shifted images: one pass over memory, and no convolution, whose kernels
    could not differ from image to image.
    """
    window = odd("weights", (len(weights), 1))[0]
    pads = around((window, 1) if axis == 1 else (1, window))
    padded = surround(images_BxHxWxC, pads, border)
    length = images_BxHxWxC.shape[axis]
    shifted = (
        lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(window)
    )
    return _sum(shifted, weights)


def mirrored(kernel: Array) -> Array:
    """The kernel [K,K,…] turned by half a turn: what makes a correlation of a
    convolution and the reverse."""
    return kernel[::-1, ::-1]


def _weights(kernel: Kernel, images: Array):
    """Weights in their order and the type of the images, None for known zeros."""
    if isinstance(kernel, jax.Array):
        yield from kernel.astype(images.dtype).ravel()
    else:
        for weight in np.ravel(kernel):
            yield jnp.asarray(weight, images.dtype) if weight else None


def _sum(shifted, weights) -> Array:
    terms = [
        weight * pixels
        for weight, pixels in zip(weights, shifted, strict=True)
        if weight is not None
    ]
    check((bool(terms), "all weights are zero"))
    return functools.reduce(operator.add, terms)
