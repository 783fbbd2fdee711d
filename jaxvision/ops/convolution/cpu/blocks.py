"""Convolution in groups, as one dense convolution for each block of groups.

XLA's own grouped convolution is slow on CPU, and a group alone is often too narrow for
its fast kernels.  So neighbouring groups are joined until they have 32 channels; inside
a block the kernel is dense, with zeros between the groups.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.geometry import Geometry
from jaxvision.types import Array


def convolve(
    dense: Callable[[Array, Array, Geometry], Array],
    x_BxHxWxC: Array,
    kernel_KxKxcxO: Array,
    geometry: Geometry,
) -> Array:
    """The convolution, block after block, each by `dense` with a single group."""
    *kernel_size, in_channels, out_channels = kernel_KxKxcxO.shape
    groups = geometry.groups
    joined = math.gcd(groups, max(1, 32 // in_channels))
    blocks = groups // joined
    of_group = out_channels // groups

    # n blocks of g groups; G counts them again, along the channels in.
    kernel_KxKxcxnxgxo = kernel_KxKxcxO.reshape(
        *kernel_size, in_channels, blocks, joined, of_group
    )
    kernel_nxKxKxgxcxgxo = kernel_KxKxcxnxgxo.transpose(3, 0, 1, 4, 2, 5)[..., None, :]
    same_group = jnp.eye(joined, dtype=kernel_KxKxcxO.dtype)
    kernel_nxKxKxgxcxgxo *= same_group[None, None, None, :, None, :, None]
    kernels = kernel_nxKxKxgxcxgxo.reshape(
        blocks, *kernel_size, joined * in_channels, joined * of_group
    )
    images = jnp.moveaxis(x_BxHxWxC.reshape(*x_BxHxWxC.shape[:3], blocks, -1), 3, 0)

    single = geometry._replace(groups=1)
    y = lax.map(lambda block: dense(block[0], block[1], single), (images, kernels))
    return jnp.moveaxis(y, 0, 3).reshape(*y.shape[1:4], out_channels)
