"""Convolution with few channels in a group, depthwise above all, as shifted products.

`y = Σ_c Σ_uv x_c[shifted by u, v] · kernel[u, v, c]`, where x_c has the c-th channel of
each group at every channel out of that group.  XLA makes one loop of it, over channels
in vectors; its own grouped convolution takes 50 times as long for 144 channels of 16².
"""

import functools
import math
import operator
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution import plain
from jaxvision.ops.convolution.geometry import Pads, Two, pad, windows
from jaxvision.ops.convolution.slices import share_of_device
from jaxvision.types import Array


def convolve(
    x_BxHxWxC: Array,
    kernel_KxKxcxO: Array,
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
) -> Array:
    """The convolution; C / c is the number of groups."""
    made = kernel_KxKxcxO.shape[3]
    reach, products = kernel_KxKxcxO.shape[:2], []
    for c, x_BxHxWxO in enumerate(_spread(x_BxHxWxC, kernel_KxKxcxO.shape[2], made)):
        taps = windows(pad(x_BxHxWxO, pads), reach, strides, dilation)
        weights = kernel_KxKxcxO[:, :, c].reshape(-1, made)
        products += [seen * w for seen, w in zip(taps, weights, strict=True)]
    return functools.reduce(operator.add, products)


def input_gradient(
    dy_BxhxwxO: Array,
    kernel_KxKxcxO: Array,
    groups: int,
    size: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two,
) -> Array:
    """The same of dy, with the kernel mirrored and transposed inside each group."""
    dy, mirrored = plain.mirror(dy_BxhxwxO, kernel_KxKxcxO, groups, strides)
    back = plain.pads_back(size, dy.shape[1:3], mirrored.shape[:2], pads, dilation)
    return convolve(dy, mirrored, (1, 1), back, dilation)


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    groups: int,
    reach: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two = (1, 1),
) -> Array:
    """`Σ x_c · dy` over images and positions, for each tap and c.

    Images are added first, four at a time, which XLA does in vectors; sums over
    positions it does one number after the other, so they come last and are few.
    """
    taken = x_BxHxWxC.shape[3] // groups
    share = share_of_device(x_BxHxWxC.shape[0])
    together = math.gcd(4, share)
    rounds = share // together

    def of_channel(x_BxHxWxO):
        # [devices,rounds,together,…]: what a device holds of the batch stays there.
        padded, dy = (
            a.reshape(-1, rounds, together, *a.shape[1:])
            for a in (pad(x_BxHxWxO, pads), dy_BxhxwxO)
        )

        def of_round(i):
            x_i, dy_i = (
                lax.dynamic_index_in_dim(a, i, 1, keepdims=False).astype(wide)
                for a in (padded, dy)
            )
            images = range(together)
            met = [windows(x_i[:, b], reach, strides, dilation) for b in images]
            return [
                sum(seen[b] * dy_i[:, b] for b in images)
                for seen in zip(*met, strict=True)
            ]

        def add(i, sums):
            return [a + b for a, b in zip(sums, of_round(i), strict=True)]

        sums = lax.fori_loop(1, rounds, add, of_round(0))
        return jnp.stack([each.sum((0, 1, 2)) for each in sums]).reshape(*reach, -1)

    wide = jnp.promote_types(x_BxHxWxC.dtype, jnp.float32)
    spread = _spread(x_BxHxWxC, taken, dy_BxhxwxO.shape[3])
    dkernel_KxKxcxO = jnp.stack([of_channel(x) for x in spread], 2)
    return dkernel_KxKxcxO.astype(x_BxHxWxC.dtype)


def _spread(x_BxHxWxC: Array, taken: int, made: int) -> list[Array]:
    """For each c the c-th channel of each group, at every channel out of the group."""
    *place, channels = x_BxHxWxC.shape
    groups = channels // taken
    x_BxHxWxGxc = x_BxHxWxC.reshape(*place, groups, taken)
    return [
        jnp.repeat(x_BxHxWxGxc[..., c], made // groups, axis=-1) for c in range(taken)
    ]
