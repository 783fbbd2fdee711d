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
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.models.timm_names import LAYERS, STEM, in_stages
from jaxvision.models.variant import Rules, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool


class Row(NamedTuple):
    """A row of the paper's tables."""

    kernel_size: int
    wide: int
    """Channels after the first 1×1 convolution: exp size."""
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


class InvertedResidual(nn.Module):
    """Widen, filter each channel, weigh the channels, narrow; beside a shortcut."""

    row: Row
    conv_norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x):
        row, y, layer = self.row, x, 0
        conv_norm = partial(self.conv_norm, activation=row.activation)
        if row.wide != x.shape[-1]:
            y = conv_norm(row.wide, 1, name="block.0")(y)
            layer += 1
        y = conv_norm(
            row.wide,
            row.kernel_size,
            strides=row.strides,
            groups=row.wide,
            name=f"block.{layer}",
        )(y)
        layer += 1
        if row.squeeze:
            y = SqueezeExcite(
                round_channels(row.wide // 4),
                gate=nn.hard_sigmoid,
                name=f"block.{layer}",
            )(y)
            layer += 1
        y = self.conv_norm(row.features, 1, activation=None, name=f"block.{layer}")(y)
        return x + y if x.shape == y.shape else y


class MobileNetV3(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits`, `logits`.

    Any image size.
    """

    rows: Sequence[Row]
    last: int
    """Units of the dense layer before the scores."""
    num_classes: int = 1000
    dropout: float = 0.2
    epsilon: float = 1e-3
    """Of batch normalisation."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(
            train=train, dtype=self.dtype, momentum=0.99, epsilon=self.epsilon
        )
        conv_norm = partial(ConvNorm, norm=norm, activation=HS, dtype=self.dtype)
        make_block = nn.remat(InvertedResidual) if self.remat else InvertedResidual

        x = conv_norm(16, 3, strides=2, name="features.0")(images)
        outputs: dict[str, jax.Array] = {}
        for layer, row in enumerate(self.rows, 1):
            if row.strides == 2:
                outputs[f"stage{len(outputs) + 1}"] = x
            x = make_block(row, conv_norm, name=f"features.{layer}")(x)
        outputs[f"stage{len(outputs) + 1}"] = x
        x = conv_norm(6 * x.shape[-1], 1, name=f"features.{len(self.rows) + 1}")(x)
        small = nn.initializers.normal(0.01)
        x = nn.Dense(
            self.last, dtype=self.dtype, kernel_init=small, name="classifier.0"
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
        sources={"torchvision": (), "timm": _timm(rows)},
        timm=f"mobilenetv3_{size}_100",
        timm_options={"epsilon": 1e-5},
    )
    for size, rows, last in (("large", LARGE, 1280), ("small", SMALL, 1024))
}
