"""Residual networks for ImageNet.  He et al. 2016, https://arxiv.org/abs/1512.03385

    images → 7×7 convolution, stride 2 → 3×3 max pooling, stride 2
           → stages of residual blocks, each with twice the channels at half the size
           → global average pooling → linear layer

As everybody builds them since, a bottleneck block strides in its 3×3 convolution where
the paper does so in the 1×1 before it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool, max_pool


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    features: int
    strides: int = 1
    dtype: Any = jnp.float32
    expansion = 1

    @nn.compact
    def __call__(self, x, *, train: bool):
        conv, norm = _layers(self.dtype, train)
        y = conv(self.features, strides=self.strides, padding=1)(x)
        y = nn.relu(norm()(y))
        y = conv(self.features, padding=1)(y)
        # A block that begins as the identity: Goyal et al. 2017, section 5.1.
        y = norm(scale_init=nn.initializers.zeros)(y)
        return nn.relu(_shortcut(x, self.features, self.strides, conv, norm) + y)


class Bottleneck(nn.Module):
    """A 3×3 convolution on a quarter of the channels, between two 1×1 ones."""

    features: int
    strides: int = 1
    dtype: Any = jnp.float32
    expansion = 4

    @nn.compact
    def __call__(self, x, *, train: bool):
        conv, norm = _layers(self.dtype, train)
        wide = self.features * self.expansion
        y = nn.relu(norm()(conv(self.features, kernel_size=1)(x)))
        y = conv(self.features, strides=self.strides, padding=1)(y)
        y = nn.relu(norm()(y))
        y = conv(wide, kernel_size=1)(y)
        y = norm(scale_init=nn.initializers.zeros)(y)
        return nn.relu(_shortcut(x, wide, self.strides, conv, norm) + y)


class ResNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4`, `pre_logits` [B,D], `logits`.

    Any image size; 32 pixels become one at the end.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: Sequence[int]
    """Blocks in each stage."""
    num_classes: int = 1000
    width: int = 64
    """Channels of the stem and, before expansion, of the first stage."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv, norm = _layers(self.dtype, train)
        x = conv(self.width, kernel_size=7, strides=2, padding=3, name="stem")(images)
        x = nn.relu(norm(name="stem_norm")(x))
        outputs = {"stem": x}
        x = max_pool(x, 3, 2, padding=1)
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                x = self.block(
                    self.width * 2**stage,
                    strides=2 if stage > 0 and block == 0 else 1,
                    dtype=self.dtype,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x, train=train)
            outputs[f"stage{stage + 1}"] = x
        x = global_avg_pool(x)
        logits = nn.Dense(self.num_classes, dtype=self.dtype, name="output")(x)
        return outputs | {"pre_logits": x, "logits": logits.astype(jnp.float32)}


def _layers(dtype, train: bool):
    """The convolution and the normalisation of all blocks."""
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    return (
        partial(Conv, use_bias=False, dtype=dtype, kernel_init=init),
        partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=dtype),
    )


def _shortcut(x, features: int, strides: int, conv, norm):
    """The identity, or a 1×1 convolution where the shape changes (option B)."""
    if x.shape[-1] == features and strides == 1:
        return x
    x = conv(features, kernel_size=1, strides=strides, padding=0, name="shortcut")(x)
    return norm(name="shortcut_norm")(x)


VARIANTS = {
    name: Variant(partial(ResNet, block=block, depths=depths), (224, 224, 3))
    for name, block, depths in (
        ("resnet18", BasicBlock, (2, 2, 2, 2)),
        ("resnet34", BasicBlock, (3, 4, 6, 3)),
        ("resnet50", Bottleneck, (3, 4, 6, 3)),
        ("resnet101", Bottleneck, (3, 4, 23, 3)),
        ("resnet152", Bottleneck, (3, 8, 36, 3)),
    )
}
