"""XLA's convolution, with gradients written so that its fast CPU kernels apply.

The gradients that JAX derives are slow on CPU for two reasons:

- Inside `lax.scan` and `fori_loop` XLA does not bring them into the layout that its
  fast kernels need (https://github.com/jax-ml/jax/issues/12868): a 3×3 weight
  gradient of 16 to 16 channels at 128×32×32 takes 1330 ms there instead of 8.
- The weight gradient transposes both of its operands, and XLA fuses the transpose with
  whatever computed them: a large part of a residual network is computed once more for
  every layer, in an order that misses the cache at every read.

So both gradients are convolutions in NHWC order here, of operands behind a barrier.
Those of strided convolutions and most weight gradients are faster in other forms.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution import native
from jaxvision.ops.convolution.geometry import NO_PADS, Geometry, Pads, Two, pad
from jaxvision.types import Array


def convolve(x_BxHxWxC: Array, kernel_KxKxcxO: Array, geometry: Geometry) -> Array:
    """`native.convolve`, of images padded in memory where XLA would not be fast.

    That is where the maps are smaller than the kernel (3×3 of 512 to 512 channels on
    64×2×2: 970 ms, or 11 when padded) or smaller than the output.
    """
    size, kernel_size = x_BxHxWxC.shape[1:3], kernel_KxKxcxO.shape[:2]
    output_size = geometry.output_size(size, kernel_size)
    fits = all(
        n >= max(k, o) and min(p) >= 0
        for n, k, o, p in zip(
            size, kernel_size, output_size, geometry.pads, strict=True
        )
    )
    if not fits:
        x_BxHxWxC = pad(x_BxHxWxC, geometry.pads)
        geometry = geometry._replace(pads=NO_PADS)
    return native.convolve(x_BxHxWxC, kernel_KxKxcxO, geometry)


def input_gradient(
    dy_BxhxwxO: Array, kernel_KxKxcxO: Array, size: Sequence[int], geometry: Geometry
) -> Array:
    """The convolution of dy, dilated by the strides, with the mirrored kernel."""
    # Without the barrier XLA folds the mirroring and the dilation into a convolution of
    # a kind that is slower.
    dy, mirrored = lax.optimization_barrier(
        (
            dilate(dy_BxhxwxO, geometry.strides),
            mirror(kernel_KxKxcxO, geometry.groups),
        )
    )
    pads = input_gradient_pads(
        size, dy.shape[1:3], mirrored.shape[:2], geometry.pads, geometry.dilation
    )
    backward = Geometry((1, 1), pads, geometry.dilation, geometry.groups)
    return convolve(dy, mirrored, backward)


def mirror(kernel_KxKxcxO: Array, groups: int) -> Array:
    """The kernel of the input gradient, [K,K,O/groups,C].

    It is mirrored along both axes, and its channels in and out are exchanged inside of
    each group.
    """
    *kernel_size, in_channels, out_channels = kernel_KxKxcxO.shape
    mirrored_KxKxcxO = lax.rev(kernel_KxKxcxO, (0, 1))
    split_KxKxcxGxo = mirrored_KxKxcxO.reshape(*kernel_size, in_channels, groups, -1)
    split_KxKxoxGxc = split_KxKxcxGxo.transpose(0, 1, 4, 3, 2)
    return split_KxKxoxGxc.reshape(*kernel_size, out_channels // groups, -1)


def dilate(dy_BxhxwxO: Array, strides: Two) -> Array:
    """dy at the pixels that the outputs are centred on, with zeros between them."""
    if strides == (1, 1):
        return dy_BxhxwxO
    gaps = ((0, 0, 0), (0, 0, strides[0] - 1), (0, 0, strides[1] - 1), (0, 0, 0))
    return lax.pad(dy_BxhxwxO, jnp.zeros((), dy_BxhxwxO.dtype), gaps)


def input_gradient_pads(
    size: Sequence[int],
    dy_size: Sequence[int],
    kernel_size: Sequence[int],
    pads: Pads,
    dilation: Two = (1, 1),
) -> Pads:
    """Padding of the (dilated) dy that makes the input gradient as large as the images.

    A negative number crops.
    """
    rows, columns = (
        ((k - 1) * d - low, n + low - o)
        for n, o, k, (low, _), d in zip(
            size, dy_size, kernel_size, pads, dilation, strict=True
        )
    )
    return rows, columns


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    kernel_size: Sequence[int],
    geometry: Geometry,
) -> Array:
    """The convolution of the images with dy as its kernel; one group.

    `dkernel[u,v,c,o] = Σ_b Σ_ij x[b, s·i + d·u, s·j + d·v, c] · dy[b,i,j,o]` sums over
    the images, so images take the place of channels and channels that of the batch.
    Strides and dilation exchange their roles.
    """
    pads = weight_gradient_pads(
        x_BxHxWxC.shape[1:3], dy_BxhxwxO.shape[1:3], kernel_size, geometry
    )
    exchanged = Geometry(geometry.dilation, pads, dilation=geometry.strides)
    dkernel_CxKxKxO = native.convolve(
        x_BxHxWxC.transpose(3, 1, 2, 0), dy_BxhxwxO.transpose(1, 2, 0, 3), exchanged
    )
    return dkernel_CxKxKxO.transpose(1, 2, 0, 3)


def weight_gradient_pads(
    size: Sequence[int],
    dy_size: Sequence[int],
    kernel_size: Sequence[int],
    geometry: Geometry,
) -> Pads:
    """Padding of the images that makes the weight gradient as large as the kernel.

    A negative number crops pixels that no window reaches.
    """
    rows, columns = (
        (low, (k - 1) * d + 1 + (o - 1) * s - n - low)
        for n, k, o, s, (low, _), d in zip(
            size,
            kernel_size,
            dy_size,
            geometry.strides,
            geometry.pads,
            geometry.dilation,
            strict=True,
        )
    )
    return rows, columns
