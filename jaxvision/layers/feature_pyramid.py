"""Feature pyramid networks: coarse maps help fine ones.

Lin et al. 2017, https://arxiv.org/abs/1612.03144, figure 3
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.ops.activation import relu
from jaxvision.ops.upsample import upsample

Array = jax.Array

_glorot_uniform = nn.initializers.glorot_uniform()
_lecun_uniform = nn.initializers.lecun_uniform()


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


def pyramid(
    maps: Sequence[Array],
    features: int = 256,
    *,
    name: str,
    dtype: Any = jnp.float32,
) -> list[Array]:
    """`top_down` and a 3×3 convolution of each map, as detectors have it.

    Layers are `{name}.inner_blocks.0.0`, … and `{name}.layer_blocks.0.0`, …, as in
    torchvision.
    """
    sums = top_down(
        maps,
        features,
        names=[f"{name}.inner_blocks.{i}.0" for i in range(len(maps))],
        dtype=dtype,
        kernel_init=_lecun_uniform,
    )
    conv = partial(Conv, features, dtype=dtype, kernel_init=_lecun_uniform)
    return [conv(name=f"{name}.layer_blocks.{i}.0")(x) for i, x in enumerate(sums)]


def two_coarser(
    x: Array, features: int = 256, *, name: str, dtype: Any = jnp.float32
) -> list[Array]:
    """Two more maps by 3×3 convolutions with strides, the second after a rectifier.

    Lin et al. 2017, RetinaNet, https://arxiv.org/abs/1708.02002, section 4: P6 and P7.
    Layers are `{name}.extra_blocks.p6` and `{name}.extra_blocks.p7`.
    """
    conv = partial(
        Conv, features, 3, 2, padding=1, dtype=dtype, kernel_init=_lecun_uniform
    )
    sixth = conv(name=f"{name}.extra_blocks.p6")(x)
    return [sixth, conv(name=f"{name}.extra_blocks.p7")(relu(sixth))]
