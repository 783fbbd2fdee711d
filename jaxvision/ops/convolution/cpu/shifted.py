"""Convolution with few channels in a group, depthwise above all, as shifted products.

`y = Σ_c Σ_uv x_c[shifted by u, v] · kernel[u,v,c]`, where x_c has the c-th channel of
each group at every output channel of that group.  XLA makes one loop of it, over
channels in vectors; its own grouped convolution takes 50 times as long for 144 channels
of 16².
"""

import functools
import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.cpu import plain
from jaxvision.ops.convolution.cpu.slices import images_per_device
from jaxvision.ops.convolution.geometry import Geometry, pad, windows
from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array

MOST_ROWS = 8
"""Of dy, in a block of the weight gradient."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def differentiable(
    x_BxHxWxC: Array, kernel_KxKxcxO: Array, geometry: Geometry
) -> Array:
    """`convolve`, with the gradients below."""
    return convolve(x_BxHxWxC, kernel_KxKxcxO, geometry)


def _forward(x_BxHxWxC, kernel_KxKxcxO, geometry):
    y_BxhxwxO = differentiable(x_BxHxWxC, kernel_KxKxcxO, geometry)
    return y_BxhxwxO, (x_BxHxWxC, kernel_KxKxcxO)


def _backward(geometry, residuals, dy_BxhxwxO):
    x_BxHxWxC, kernel_KxKxcxO = residuals
    # Without the barrier XLA computes x and dy again inside of each of their consumers.
    x_BxHxWxC, dy_BxhxwxO = lax.optimization_barrier((x_BxHxWxC, dy_BxhxwxO))
    size, kernel_size = x_BxHxWxC.shape[1:3], kernel_KxKxcxO.shape[:2]
    return (
        input_gradient(dy_BxhxwxO, kernel_KxKxcxO, size, geometry),
        weight_gradient(x_BxHxWxC, dy_BxhxwxO, kernel_size, geometry),
    )


differentiable.defvjp(_forward, _backward)


def convolve(x_BxHxWxC: Array, kernel_KxKxcxO: Array, geometry: Geometry) -> Array:
    """The convolution; C / c is the number of groups."""
    strides, pads, dilation, _ = geometry
    *kernel_size, in_channels, out_channels = kernel_KxKxcxO.shape
    products = []
    for c, x_BxHxWxO in enumerate(_repeated(x_BxHxWxC, in_channels, out_channels)):
        taps = windows(pad(x_BxHxWxO, pads), kernel_size, strides, dilation)
        weights = kernel_KxKxcxO[:, :, c].reshape(-1, 1, 1, 1, out_channels)
        products += [seen * w for seen, w in zip(taps, weights, strict=True)]
    return functools.reduce(operator.add, products)


def input_gradient(
    dy_BxhxwxO: Array, kernel_KxKxcxO: Array, size: Sequence[int], geometry: Geometry
) -> Array:
    """The convolution of dy, dilated by the strides, with the mirrored kernel."""
    strides, pads, dilation, groups = geometry
    dy = plain.dilate(dy_BxhxwxO, strides)
    mirrored = plain.mirror(kernel_KxKxcxO, groups)
    back = plain.input_gradient_pads(
        size, dy.shape[1:3], mirrored.shape[:2], pads, dilation
    )
    return convolve(dy, mirrored, Geometry((1, 1), back, dilation, groups))


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    kernel_size: Sequence[int],
    geometry: Geometry,
) -> Array:
    """`Σ x_c · dy` over images and positions, for each tap and c: [K,K,c,O].

    Some rows of two images at a time: their products with all taps are added to sums
    [w,O], which stay in the cache, in one loop over channels in vectors.  Only the
    columns that are left are added up one number after the other.  Sums are float32 at
    least.
    """
    strides, pads, dilation, groups = geometry
    share = images_per_device(x_BxHxWxC.shape[0])
    together = math.gcd(2, share)
    rounds = share // together
    height = dy_BxhxwxO.shape[1]
    rows = max(n for n in range(1, MOST_ROWS + 1) if height % n == 0)
    blocks = height // rows
    seen_rows = (rows - 1) * strides[0] + (kernel_size[0] - 1) * dilation[0] + 1

    def of_channel(x_BxHxWxO):
        # [devices,together,rounds,…]: each device keeps its part of the batch.
        padded, dy = (
            a.reshape(-1, together, rounds, *a.shape[1:])
            for a in (pad(x_BxHxWxO, pads), dy_BxhxwxO)
        )

        def block_of(array, image, first, count):
            found = lax.dynamic_index_in_dim(array, image, 2, keepdims=False)
            found = lax.dynamic_slice_in_dim(found, first, count, 2)
            return found.reshape(-1, *found.shape[2:]).astype(wide)

        def of_block(i):
            image, block = i // blocks, i % blocks
            x_i = block_of(padded, image, block * rows * strides[0], seen_rows)
            dy_i = block_of(dy, image, block * rows, rows)
            taps = windows(x_i, kernel_size, strides, dilation)
            return [
                sum(seen[:, row] * dy_i[:, row] for row in range(rows)) for seen in taps
            ]

        def add(i, sums):
            return [a + b for a, b in zip(sums, of_block(i), strict=True)]

        sums = lax.fori_loop(1, rounds * blocks, add, of_block(0))
        return jnp.stack([each.sum((0, 1)) for each in sums]).reshape(*kernel_size, -1)

    wide = at_least_float32(x_BxHxWxC.dtype)
    in_channels, out_channels = x_BxHxWxC.shape[3] // groups, dy_BxhxwxO.shape[3]
    channels = _repeated(x_BxHxWxC, in_channels, out_channels)
    dkernel_KxKxcxO = jnp.stack([of_channel(x) for x in channels], 2)
    return dkernel_KxKxcxO.astype(x_BxHxWxC.dtype)


def _repeated(x_BxHxWxC: Array, in_channels: int, out_channels: int) -> list[Array]:
    """x_c for each c: the c-th channel of each group, at every output channel of it."""
    *place, channels = x_BxHxWxC.shape
    groups = channels // in_channels
    x_BxHxWxGxc = x_BxHxWxC.reshape(*place, groups, in_channels)
    return [
        jnp.repeat(x_BxHxWxGxc[..., c], out_channels // groups, axis=-1)
        for c in range(in_channels)
    ]
