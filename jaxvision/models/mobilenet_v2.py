"""MobileNet v2.  Sandler et al. 2018, https://arxiv.org/abs/1801.04381, table 2

    images → 3×3 convolution, stride 2 → inverted residual blocks
           → 1×1 convolution to 1280 → average → linear layer

An inverted residual block widens by 1×1, filters each channel by 3×3, and narrows by
1×1 without an activation; its shortcut joins the narrow ends.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import ConvNorm, conv_norm
from jaxvision.layers.norm import batch_norm
from jaxvision.models.timm_names import LAYERS, STEM, in_stages
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repetitions and stride of the first (t, c, n and s)."""


class InvertedResidual(nn.Module):
    """[B,H,W,C] -> [B,H/strides,W/strides,features]."""

    features: int
    expansion: int
    strides: int
    brick: Callable[..., nn.Module]
    narrow: Callable

    @nn.compact
    def __call__(self, x):
        wide, y, layer = x.shape[-1] * self.expansion, x, 0
        if self.expansion != 1:
            y = self.brick(wide, 1, name="conv.0")(y)
            layer = 1
        y = self.brick(
            wide, 3, strides=self.strides, groups=wide, name=f"conv.{layer}"
        )(y)
        names = (f"conv.{layer + 1}", f"conv.{layer + 2}")
        y = self.narrow(y, self.features, 1, names=names)
        return x + y if x.shape == y.shape else y


class MobileNetV2(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits` [B,1280], `logits`.

    Any image size.
    """

    width: float = 1.0
    """Factor of the numbers of channels."""
    num_classes: int = 1000
    dropout: float = 0.2
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype)
        brick = partial(ConvNorm, norm=norm, activation=nn.relu6, dtype=self.dtype)
        # What narrows has no module of its own around its layers.
        narrow = partial(conv_norm, norm=norm, activation=None, dtype=self.dtype)
        make_block = nn.remat(InvertedResidual) if self.remat else InvertedResidual

        stem = round_channels(32 * self.width)
        x = brick(stem, 3, strides=2, name="features.0")(images)
        outputs: dict[str, jax.Array] = {}
        layer = 1
        for expansion, channels, repetitions, first_stride in BLOCKS:
            if first_stride == 2:
                outputs[f"stage{len(outputs) + 1}"] = x
            for repetition in range(repetitions):
                x = make_block(
                    round_channels(channels * self.width),
                    expansion,
                    first_stride if repetition == 0 else 1,
                    brick,
                    narrow,
                    name=f"features.{layer}",
                )(x)
                layer += 1
        outputs[f"stage{len(outputs) + 1}"] = x
        last = round_channels(1280 * max(1.0, self.width))
        x = brick(last, 1, name=f"features.{layer}")(x)
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="classifier.1",
            kernel_init=nn.initializers.normal(0.01),
        )


_TIMM = (
    *STEM,
    (r"^features\.18\.0", "conv_head"),
    (r"^features\.18\.1", "bn2"),
    *in_stages([repetitions for _, _, repetitions, _ in BLOCKS]),
    # What narrows has a module of its own in other networks.
    (r"^(features\.1\.0)\.conv\.1\.", r"\1.block.1.0."),
    (r"^(features\.1\.0)\.conv\.2\.", r"\1.block.1.1."),
    (r"\.conv\.2\.", ".block.2.0."),
    (r"\.conv\.3\.", ".block.2.1."),
    (r"\.conv\.", ".block."),
    *LAYERS,
    (r"^classifier\.1", "classifier"),
)

VARIANTS = {
    "mobilenet_v2": Variant(
        MobileNetV2,
        sources={"torchvision": (), "timm": _TIMM},
        timm="mobilenetv2_100",
    )
}
