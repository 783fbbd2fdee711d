"""MobileNet.  Howard et al. 2017, https://arxiv.org/abs/1704.04861, table 1

    images → 3×3 convolution, stride 2 → thirteen depthwise separable convolutions
           → average → linear layer

A depthwise separable convolution filters each channel by 3×3, and then mixes channels
by 1×1.  Activations are ReLU6, as in timm's `mobilenetv1_100`, which is the reference.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm_by_group
from jaxvision.layers.imagenet import HALVES
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Howard et al. 2017, https://arxiv.org/abs/1704.04861"

STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))
"""Channels and blocks; all stages but the first begin with stride 2."""


class SeparableBlock(nn.Module):
    """Depthwise 3×3, then 1×1, each normalised and rectified."""

    features: int
    strides: int
    conv_bn: Callable[..., jax.Array]

    @nn.compact
    def __call__(self, x):
        x = self.conv_bn(
            x,
            x.shape[-1],
            strides=self.strides,
            groups=x.shape[-1],
            names=("conv_dw", "bn1"),
        )
        return self.conv_bn(x, self.features, 1, names=("conv_pw", "bn2"))


class MobileNetV1(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits`, `logits`.

    Any image size.
    """

    width: float = 1.0
    """Factor of the numbers of channels: α in the paper."""
    num_classes: int = 1000
    dropout: float = 0.0
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_bn = partial(
            conv_norm_by_group, norm=norm, activation=nn.relu6, dtype=self.dtype
        )
        make_block = nn.remat(SeparableBlock) if self.remat else SeparableBlock

        stem = round_channels(32 * self.width)
        x = conv_bn(images, stem, strides=2, names=("conv_stem", "bn1"))
        outputs: dict[str, jax.Array] = {}
        for stage, (features, depth) in enumerate(STAGES):
            for block in range(depth):
                x = make_block(
                    round_channels(features * self.width),
                    2 if stage > 0 and block == 0 else 1,
                    conv_bn,
                    name=f"blocks.{stage}.{block}",
                )(x)
            outputs[f"stage{stage + 1}"] = x
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="classifier",
        )


VARIANTS = {
    "mobilenetv1_100": Variant(
        MobileNetV1, PAPER, sources={"timm": ()}, normalisation=HALVES
    )
}
