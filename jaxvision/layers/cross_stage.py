"""Cross-stage partial networks: half of the channels go around the blocks of a stage.

Wang et al. 2019, https://arxiv.org/abs/1911.11929, figure 2, in the form of YOLOX (Ge
et al. 2021, https://arxiv.org/abs/2107.08430), whose layers have these names.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.ops.pooling import max_pool

Array = jax.Array

Unit = Callable[..., nn.Module]
"""`(features, kernel_size, strides=…, groups=…, name=…) -> module`: a convolution, its
normalisation and its activation."""

torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""What PyTorch gives to kernels unless told otherwise."""


def unit(*, train: bool, dtype: Any = jnp.float32) -> Unit:
    """`ConvNorm` with the settings and the layer names of YOLOX."""
    return partial(
        ConvNorm,
        norm=batch_norm(train=train, dtype=dtype, momentum=0.97, epsilon=1e-3),
        activation=nn.silu,
        dtype=dtype,
        kernel_init=torch_uniform,
        names=("conv", "bn"),
    )


class DepthwiseUnit(nn.Module):
    """A unit for each channel, and a 1×1 unit that mixes them."""

    features: int
    kernel_size: int
    unit: Unit
    strides: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        options = dict(strides=self.strides, groups=channels, name="dconv")
        x = self.unit(channels, self.kernel_size, **options)(x)
        return self.unit(self.features, 1, name="pconv")(x)


class CrossStage(nn.Module):
    """[B,H,W,C] -> [B,H,W,features]: blocks on half of the channels, the other half
    beside them, and a unit that joins both."""

    features: int
    blocks: int
    unit: Unit
    spatial: Unit
    """The 3×3 unit in each block, such as `unit` or a `DepthwiseUnit`."""
    shortcut: bool = True
    """Whether blocks add to their input."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        half = self.features // 2
        y = self.unit(half, 1, name="conv1")(x)
        around = self.unit(half, 1, name="conv2")(x)
        for i in range(self.blocks):
            inner = self.unit(half, 1, name=f"m.{i}.conv1")(y)
            inner = self.spatial(half, 3, name=f"m.{i}.conv2")(inner)
            y = y + inner if self.shortcut else inner
        joined = jnp.concatenate([y, around], axis=-1)
        return self.unit(self.features, 1, name="conv3")(joined)


class SpatialPyramid(nn.Module):
    """[B,H,W,C] -> [B,H,W,features]: the maxima of 5×5, 9×9 and 13×13 pixels beside the
    map.  He et al. 2014, https://arxiv.org/abs/1406.4729, as in YOLOv3-SPP."""

    features: int
    unit: Unit

    @nn.compact
    def __call__(self, x: Array) -> Array:
        maps = [self.unit(x.shape[-1] // 2, 1, name="conv1")(x)]
        for _ in range(3):  # the largest of maxima of 5×5 pixels is that of 9×9
            maps.append(max_pool(maps[-1], 5, 1, padding=2))
        joined = jnp.concatenate(maps, axis=-1)
        return self.unit(self.features, 1, name="conv2")(joined)
