"""The top-down path of feature pyramid networks.

Lin et al. 2017, https://arxiv.org/abs/1612.03144, figure 3
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.ops.upsample import upsample

Array = jax.Array

_glorot_uniform = nn.initializers.glorot_uniform()


def top_down(
    maps: Sequence[Array],
    features: int = 256,
    *,
    names: Sequence[str],
    dtype: Any = jnp.float32,
    kernel_init: Callable[..., Array] = _glorot_uniform,
) -> list[Array]:
    """Maps with the coarser ones in each, [B,H/s,W/s,features], in the given order.

    A 1×1 convolution, called by the name beside its map, brings each to the same
    number of channels; to it the result of the next coarser map is added, twice as
    large by repetition.

    `maps` are [B,H/s,W/s,C], from the finest to the coarsest, each of half the size of
    the one before, rounded up.
    """
    results: list[Array] = []
    for x, name in zip(reversed(maps), reversed(names), strict=True):
        conv = Conv(features, 1, dtype=dtype, kernel_init=kernel_init, name=name)
        lateral = conv(x)
        if results:
            height, width = lateral.shape[1:3]
            lateral = lateral + upsample(results[-1])[:, :height, :width]
        results.append(lateral)
    return results[::-1]
