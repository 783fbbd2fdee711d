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
    the one before, rounded up, or of the same size.
    """
    conv = partial(Conv, features, 1, dtype=dtype, kernel_init=kernel_init)
    return _added([conv(name=n)(x) for x, n in zip(maps, names, strict=True)])


def _added(laterals: Sequence[Array]) -> list[Array]:
    """Each map and the sum of all coarser ones, by repetition."""
    results: list[Array] = []
    for lateral in reversed(laterals):
        if results:
            coarser, (height, width) = results[-1], lateral.shape[1:3]
            if coarser.shape != lateral.shape:
                coarser = upsample(coarser)[:, :height, :width]
            lateral = lateral + coarser
        results.append(lateral)
    return results[::-1]


def pyramid(
    maps: Sequence[Array],
    features: int = 256,
    *,
    name: str,
    norm: Callable[..., nn.Module] | None = None,
    dtype: Any = jnp.float32,
) -> list[Array]:
    """`top_down` and a 3×3 convolution of each map, as detectors have it.

    `norm` makes a normalisation that follows each convolution, which then has no bias;
    None: there is none.  Layers are `{name}.inner_blocks.0.0`, …, and
    `{name}.layer_blocks.0.0`, …, as in torchvision, normalisations `….0.1`, ….
    """

    def layer(kind: str, i: int, size: int, x: Array) -> Array:
        x = Conv(
            features,
            size,
            use_bias=norm is None,
            dtype=dtype,
            kernel_init=_lecun_uniform,
            name=f"{name}.{kind}.{i}.0",
        )(x)
        return x if norm is None else norm(name=f"{name}.{kind}.{i}.1")(x)

    sums = _added([layer("inner_blocks", i, 1, x) for i, x in enumerate(maps)])
    return [layer("layer_blocks", i, 3, x) for i, x in enumerate(sums)]


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
