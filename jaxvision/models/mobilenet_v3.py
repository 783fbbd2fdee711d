"""MobileNet v3.  Howard et al. 2019, https://arxiv.org/abs/1905.02244, tables 1 and 2

images → 3×3 convolution, stride 2 → inverted residual blocks, some with squeeze and
         excitation → 1×1 convolution → average → dense layer → linear layer
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.dilation import dilate
from jaxvision.layers.inverted_residual import InvertedResidual
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.models.timm_names import LAYERS, STEM, in_stages
from jaxvision.models.variant import Rules, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Howard et al. 2019, https://arxiv.org/abs/1905.02244"


class Row(NamedTuple):
    """A row of the paper's tables."""

    kernel_size: int
    expanded_channels: int
    """Of the depthwise convolution: exp size."""
    features: int
    squeeze: bool
    activation: Callable
    strides: int


RE, HS = relu, nn.hard_swish

LARGE = (
    Row(3, 16, 16, False, RE, 1),
    Row(3, 64, 24, False, RE, 2),
    Row(3, 72, 24, False, RE, 1),
    Row(5, 72, 40, True, RE, 2),
    Row(5, 120, 40, True, RE, 1),
    Row(5, 120, 40, True, RE, 1),
    Row(3, 240, 80, False, HS, 2),
    Row(3, 200, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 480, 112, True, HS, 1),
    Row(3, 672, 112, True, HS, 1),
    Row(5, 672, 160, True, HS, 2),
    Row(5, 960, 160, True, HS, 1),
    Row(5, 960, 160, True, HS, 1),
)

SMALL = (
    Row(3, 16, 16, True, RE, 2),
    Row(3, 72, 24, False, RE, 2),
    Row(3, 88, 24, False, RE, 1),
    Row(5, 96, 40, True, HS, 2),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 120, 48, True, HS, 1),
    Row(5, 144, 48, True, HS, 1),
    Row(5, 288, 96, True, HS, 2),
    Row(5, 576, 96, True, HS, 1),
    Row(5, 576, 96, True, HS, 1),
)


class MobileNetV3(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size
    that blocks make, `stage2_first` … `stage5_first`, the first ones, which dense
    networks and detectors of torchvision look at, `stage1_expanded` …
    `stage4_expanded`, what the block after a stage expands it to, which SSDLite looks
    at, `last` [B,H/32,W/32,6·C], `pre_logits`, `logits`.

    Any image size.
    """

    rows: Sequence[Row]
    last: int
    """Units of the dense layer before the scores."""
    num_classes: int = 1000
    dropout: float = 0.2
    output_stride: int = 32
    """Of `stage5`: 8, 16 or 32.  Strides beyond it become dilations of the same
    parameters.  16 is torchvision's `dilated`, where the block that loses its stride is
    dilated, too; in other networks only the layers after that stride are."""
    reduced_tail: bool = False
    """Whether the blocks of the last stage and the last dense layer have half of their
    channels, as for detectors (section 6.3)."""
    epsilon: float = 1e-3
    """Of batch normalisation."""
    momentum: float = 0.99
    """The share of the old running averages that each step keeps."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(
            train=train,
            dtype=self.dtype,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )
        conv_bn = partial(conv_norm, norm=norm, activation=HS, dtype=self.dtype)
        make_block = nn.remat(InvertedResidual) if self.remat else InvertedResidual

        x = conv_bn(images, 16, strides=2, names=("features.0.0", "features.0.1"))
        outputs: dict[str, jax.Array] = {}
        stage = 1
        rows = _halved(self.rows) if self.reduced_tail else self.rows
        strides = [row.strides for row in rows]
        samplings = dilate(strides, self.output_stride, stem_stride=2, early=True)
        for block, (row, sampling) in enumerate(zip(rows, samplings, strict=True), 1):
            squeeze_excite = partial(
                SqueezeExcite,
                round_channels(row.expanded_channels // 4),
                gate=nn.hard_sigmoid,
            )
            before = x
            x, expanded = make_block(
                row.features,
                row.expanded_channels,
                partial(conv_bn, activation=row.activation),
                row.kernel_size,
                sampling.strides,
                sampling.dilation,
                squeeze_excite if row.squeeze else None,
                with_expanded=True,
                name=f"features.{block}",
            )(x)
            if row.strides == 2:
                # In this order, so that the stage is the deepest map of its stride.
                outputs[f"stage{stage}_expanded"] = expanded
                outputs[f"stage{stage}"] = before
                stage += 1
                outputs[f"stage{stage}_first"] = x
        outputs[f"stage{stage}"] = x
        last = f"features.{len(rows) + 1}"
        x = conv_bn(x, 6 * x.shape[-1], 1, names=(f"{last}.0", f"{last}.1"))
        outputs["last"] = x
        small = nn.initializers.normal(0.01)
        x = nn.Dense(
            self.last // (2 if self.reduced_tail else 1),
            dtype=self.dtype,
            kernel_init=small,
            name="classifier.0",
        )(global_avg_pool(x))
        return classify(
            outputs,
            HS(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="classifier.3",
            kernel_init=small,
        )


def _halved(rows: Sequence[Row]) -> list[Row]:
    """The same with half of the channels from the last stride on, before which the
    block has expanded."""
    first = max(i for i, row in enumerate(rows) if row.strides == 2)
    return [
        row
        if i < first
        else row._replace(
            features=row.features // 2,
            expanded_channels=row.expanded_channels // (2 if i > first else 1),
        )
        for i, row in enumerate(rows)
    ]


def _timm(rows: Sequence[Row]) -> Rules:
    """Stages are blocks of as many channels; the last one is a convolution alone."""
    depths = [len(list(stage)) for _, stage in groupby(row.features for row in rows)]
    last = f"blocks.{len(depths)}.0"
    return (
        *STEM,
        (rf"^features\.{len(rows) + 1}\.0", f"{last}.conv"),
        (rf"^features\.{len(rows) + 1}\.1", f"{last}.bn1"),
        *in_stages(depths),
        *LAYERS,
        (r"^classifier\.0", "conv_head"),
        (r"^classifier\.3", "classifier"),
    )


VARIANTS = {
    f"mobilenet_v3_{size}": Variant(
        partial(MobileNetV3, rows=rows, last=last),
        PAPER,
        sources={"torchvision": (), "timm": _timm(rows)},
        timm=f"mobilenetv3_{size}_100",
        timm_options={"epsilon": 1e-5},
    )
    for size, rows, last in (("large", LARGE, 1280), ("small", SMALL, 1024))
}
