"""Convolution as XLA has it, with gradients that its CPU kernels are fast at.

XLA's own gradients are slow on CPU in two ways:

- Inside `lax.scan` and `fori_loop` XLA does not bring them into the layout that its
  fast kernels want (https://github.com/jax-ml/jax/issues/12868): a 3×3 weight
  gradient of 16 to 16 channels at 128×32×32 takes 1330 ms there instead of 8.
- The weight gradient transposes both its operands, and XLA fuses the transpose with
  whatever computed them: much of a residual network is computed once more for every
  layer, in an order that misses the cache at every read.

So here both gradients are convolutions in NHWC order, of operands behind a barrier.
Those of strided convolutions and most weight gradients are faster in other forms.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.geometry import Pads, Two, pad
from jaxvision.types import Array


def native(
    x_BxHxWxC: Array,
    kernel_KxKxCxO: Array,
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
    groups: int = 1,
) -> Array:
    """XLA's convolution and nothing else.  Negative padding crops."""
    return lax.conv_general_dilated(
        x_BxHxWxC,
        kernel_KxKxCxO,
        strides,
        pads,
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def convolve(
    x_BxHxWxC: Array,
    kernel_KxKxCxO: Array,
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
    groups: int = 1,
) -> Array:
    """`native`, after padding by hand where XLA would leave its fast kernels.

    It does so for maps smaller than the kernel (3×3 of 512 to 512 channels on 64×2×2:
    970 ms, or 11 when padded) and smaller than the output.
    """
    fits = all(
        n >= max(k, (n + sum(p) - (k - 1) * d - 1) // s + 1) and min(p) >= 0
        for n, k, s, p, d in zip(
            x_BxHxWxC.shape[1:3],
            kernel_KxKxCxO.shape,
            strides,
            pads,
            dilation,
            strict=False,
        )
    )
    if not fits:
        x_BxHxWxC, pads = pad(x_BxHxWxC, pads), ((0, 0), (0, 0))
    return native(x_BxHxWxC, kernel_KxKxCxO, strides, pads, dilation, groups)


def input_gradient(
    dy_BxhxwxO: Array,
    kernel_KxKxCxO: Array,
    groups: int,
    size: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
) -> Array:
    """Convolve dy with the mirrored kernel."""
    # The barrier keeps XLA from folding the mirror, and the gaps that strides leave,
    # into a slower kind of convolution.
    dy, mirrored = lax.optimization_barrier(
        mirror(dy_BxhxwxO, kernel_KxKxCxO, groups, strides)
    )
    back = pads_back(size, dy.shape[1:3], mirrored.shape[:2], pads, dilation)
    return convolve(dy, mirrored, (1, 1), back, dilation, groups)


def mirror(
    dy_BxhxwxO: Array, kernel_KxKxcxO: Array, groups: int, strides: Two
) -> tuple[Array, Array]:
    """What the input gradient convolves: dy as `spread` has it, and the kernel mirrored
    and transposed inside each group."""
    *reach, taken, made = kernel_KxKxcxO.shape
    split = lax.rev(kernel_KxKxcxO, (0, 1)).reshape(*reach, taken, groups, -1)
    mirrored = split.transpose(0, 1, 4, 3, 2).reshape(*reach, made // groups, -1)
    return spread(dy_BxhxwxO, strides), mirrored


def spread(dy_BxhxwxO: Array, strides: Two) -> Array:
    """dy over the pixels that it came from, with zeros between."""
    if strides == (1, 1):
        return dy_BxhxwxO
    gaps = ((0, 0, 0), (0, 0, strides[0] - 1), (0, 0, strides[1] - 1), (0, 0, 0))
    return lax.pad(dy_BxhxwxO, jnp.zeros((), dy_BxhxwxO.dtype), gaps)


def pads_back(
    size: Sequence[int],
    outputs: Sequence[int],
    reach: Sequence[int],
    pads: Pads,
    dilation: Two = (1, 1),
) -> Pads:
    """Padding of dy that makes the input gradient as large as the images."""
    rows, columns = (
        ((k - 1) * d - low, n + low - o)
        for n, o, k, (low, _), d in zip(
            size, outputs, reach, pads, dilation, strict=True
        )
    )
    return rows, columns


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    reach: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
) -> Array:
    """Convolve the images with dy as the kernel: batch and channels change places."""
    size, outputs = x_BxHxWxC.shape[1:3], dy_BxhxwxO.shape[1:3]
    dkernel_CxKxKxO = native(
        x_BxHxWxC.transpose(3, 1, 2, 0),
        dy_BxhxwxO.transpose(1, 2, 0, 3),
        dilation,
        pads_by_kernel(size, outputs, reach, strides, pads, dilation),
        dilation=strides,
    )
    return dkernel_CxKxKxO.transpose(1, 2, 0, 3)


def pads_by_kernel(
    size: Sequence[int],
    outputs: Sequence[int],
    reach: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
) -> Pads:
    """Padding of the images that makes the weight gradient as large as the kernel."""
    rows, columns = (
        (low, (k - 1) * d + 1 + (o - 1) * s - n - low)
        for n, k, o, s, (low, _), d in zip(
            size, reach, outputs, strides, pads, dilation, strict=True
        )
    )
    return rows, columns
