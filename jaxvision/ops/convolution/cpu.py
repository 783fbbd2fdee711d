"""Convolution on CPU: which of the exact forms computes what.

The first line that fits decides, for the output and for each gradient by itself.  In a
program that may call oneDNN (`jaxvision.onednn`):

                                                        output    by images  by kernel
    a kernel that meets padding with many of its taps   taps      taps       taps
    1×1 with strides, no padding                        as without, of the pixels seen
    3×3, no strides, 256 channels or more, float32      winograd  winograd   onednn
    strides, up to 64 channels                          plain     phases     onednn
    strides                                             plain     patches    onednn
    all others, also groups                             plain     plain      onednn

and in all others:

    groups of up to 4 channels, such as depthwise       shifted   shifted    shifted
    larger groups                                       blocks of them, as below
    a kernel that meets padding with many of its taps   taps      taps       taps
    1×1, no padding                                     pointwise pointwise  pointwise
    3×3, no strides, 256 channels or more, float32      winograd  winograd   patches
    up to 4 channels to up to 16, no strides            packed    patches    plain
    less than 16 channels, strides                      plain     phases     plain
    less than 16 channels                               plain     patches    plain
    strides, up to 64 channels                          plain     phases     patches
    strides                                             plain     patches    patches
    many channels on large maps                         plain     plain      patches
    all others                                          plain     plain      plain

The choice depends on that, on shapes and on the number of devices, and is made when a
program is traced.
Both tables were measured on two cores that had nothing else to do: `plain` divides its
work among cores best.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.onednn import is_chosen
from jaxvision.ops.convolution import (
    onednn,
    packed,
    patches,
    phases,
    plain,
    pointwise,
    shifted,
    taps,
    winograd,
)
from jaxvision.ops.convolution.geometry import Pads, Two
from jaxvision.types import Array


class Geometry(NamedTuple):
    """How the kernel slides; everything is resolved."""

    strides: Two
    pads: Pads
    dilation: Two
    groups: int


def convolve(x_BxHxWxC: Array, kernel_KxKxCxO: Array, geometry: Geometry) -> Array:
    """The convolution in the form that is fastest."""
    strides, pads, _, groups = geometry
    size, (*reach, taken, _) = x_BxHxWxC.shape[1:3], kernel_KxKxCxO.shape
    fast = _can_call_onednn(x_BxHxWxC, kernel_KxKxCxO, groups)
    if groups > 1:
        if taken > 4 and not fast:
            return _by_blocks(x_BxHxWxC, kernel_KxKxCxO, geometry)
        return _convolve(x_BxHxWxC, kernel_KxKxCxO, geometry)
    # On small maps a product for each tap costs little more than one for all.
    enough = 0.75 if math.prod(size) <= 36 else 0.5
    if taps.share(size, reach, *geometry[:3]) < enough:
        return taps.convolve(x_BxHxWxC, kernel_KxKxCxO, *geometry[:3])
    if reach == [1, 1] and pads == ((0, 0), (0, 0)):
        seen_BxhxwxC = x_BxHxWxC[:, :: strides[0], :: strides[1]]
        if fast:
            dense = geometry._replace(strides=(1, 1))
            return _convolve(seen_BxhxwxC, kernel_KxKxCxO, dense)
        return pointwise.convolve(seen_BxhxwxC, kernel_KxKxCxO[0, 0])
    return _convolve(x_BxHxWxC, kernel_KxKxCxO, geometry)


def _by_blocks(x_BxHxWxC, kernel_KxKxcxO, geometry):
    """Groups side by side in blocks of 32 channels or more, one block after another.

    Inside a block the kernel is dense, with zeros between the groups.
    """
    *reach, taken, made = kernel_KxKxcxO.shape
    groups = geometry.groups
    joined = math.gcd(groups, max(1, 32 // taken))
    blocks = groups // joined

    split = kernel_KxKxcxO.reshape(*reach, taken, blocks, joined, made // groups)
    apart = split.transpose(3, 0, 1, 4, 2, 5)[..., None, :]
    apart = apart * jnp.eye(joined, dtype=split.dtype)[:, None, :, None]
    kernels = apart.reshape(blocks, *reach, joined * taken, joined * (made // groups))
    images = jnp.moveaxis(x_BxHxWxC.reshape(*x_BxHxWxC.shape[:3], blocks, -1), 3, 0)

    alone = geometry._replace(groups=1)
    y = lax.map(lambda block: convolve(block[0], block[1], alone), (images, kernels))
    return jnp.moveaxis(y, 0, 3).reshape(*y.shape[1:4], made)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x_BxHxWxC: Array, kernel_KxKxCxO: Array, geometry: Geometry) -> Array:
    taken, made = kernel_KxKxCxO.shape[2:]
    strides, pads, dilation, groups = geometry
    if _suits_winograd(x_BxHxWxC, kernel_KxKxCxO, geometry):
        return winograd.convolve(x_BxHxWxC, kernel_KxKxCxO, pads)
    if _can_call_onednn(x_BxHxWxC, kernel_KxKxCxO, groups):
        return plain.convolve(x_BxHxWxC, kernel_KxKxCxO, *geometry)
    if groups > 1:
        return shifted.convolve(x_BxHxWxC, kernel_KxKxCxO, strides, pads, dilation)
    if taken <= 4 and made <= 16 and strides == dilation == (1, 1):
        return packed.convolve(x_BxHxWxC, kernel_KxKxCxO, pads)
    return plain.convolve(x_BxHxWxC, kernel_KxKxCxO, strides, pads, dilation)


def _forward(x_BxHxWxC, kernel_KxKxCxO, geometry):
    y_BxhxwxO = _convolve(x_BxHxWxC, kernel_KxKxCxO, geometry)
    return y_BxhxwxO, (x_BxHxWxC, kernel_KxKxCxO)


def _backward(geometry, residuals, dy_BxhxwxO):
    # Without the barrier XLA computes x and dy anew inside each of their consumers.
    (x, kernel), dy = residuals, dy_BxhxwxO
    x, dy = lax.optimization_barrier((x, dy))
    strides, pads, dilation, groups = geometry
    size, (*reach, taken, _) = x.shape[1:3], kernel.shape
    slide = (strides, pads, dilation)
    fast = _can_call_onednn(x, kernel, groups)
    if groups > 1 and not fast:
        return (
            shifted.input_gradient(dy, kernel, groups, size, *slide),
            shifted.weight_gradient(x, dy, groups, reach, *slide),
        )
    strided = groups == 1 and strides != (1, 1)
    if _suits_winograd(x, kernel, geometry):
        dx = winograd.input_gradient(dy, kernel, size, pads)
    elif strided and dilation == (1, 1) and taken <= 64:
        dx = phases.input_gradient(dy, kernel, size, strides, pads)
    elif strided or (taken < 16 and not fast):
        dx = patches.input_gradient(dy, kernel, size, *slide)
    else:
        dx = plain.input_gradient(dy, kernel, groups, size, *slide)
    many = taken * dy.size >= 2**26
    if fast:
        dkernel = onednn.weight_gradient(x, dy, groups, reach, *slide)
    elif taken >= 16 and (many or strides != (1, 1)):
        dkernel = patches.weight_gradient(x, dy, reach, *slide)
    else:
        dkernel = plain.weight_gradient(x, dy, reach, *slide)
    return dx, dkernel


_convolve.defvjp(_forward, _backward)


def _can_call_onednn(x, kernel, groups) -> bool:
    # Of several devices each would compute groups of more than one channel for the
    # whole batch: https://github.com/openxla/xla/issues/47945
    stays = groups == 1 or kernel.shape[2] == 1 or jax.device_count() == 1
    return stays and is_chosen(x.dtype)


def _suits_winograd(x, kernel, geometry) -> bool:
    h, w = (n + sum(p) - 2 for n, p in zip(x.shape[1:3], geometry.pads, strict=True))
    return (
        kernel.shape[:2] == (3, 3)
        and geometry.groups == 1
        and geometry.strides == geometry.dilation == (1, 1)
        and x.dtype == jnp.float32
        and min(kernel.shape[2:]) >= 256
        # Else the tiles are few and hardly pay for the transform of the kernel.
        and min(h, w) >= 4
        and x.shape[0] * h * w >= 512
    )
