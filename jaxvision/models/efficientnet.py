"""EfficientNet and EfficientNetV2.

Tan and Le 2019, https://arxiv.org/abs/1905.11946, table 1, and
Tan and Le 2021, https://arxiv.org/abs/2104.00298, table 4

    images → 3×3 convolution, stride 2 → stages of inverted residual blocks with squeeze
             and excitation (MBConv) → 1×1 convolution → average → linear layer

B1 to B7 are B0 with more blocks, more channels and larger images.  The early stages of
V2 fuse the expansion and the depthwise convolution into one 3×3 (Fused-MBConv).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.dilation import dilate
from jaxvision.layers.imagenet import HALVES
from jaxvision.layers.inverted_residual import InvertedResidual
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.models.timm_names import LAYERS, STEM
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Tan and Le 2019, https://arxiv.org/abs/1905.11946"
PAPER_V2 = "Tan and Le 2021, https://arxiv.org/abs/2104.00298"


class Stage(NamedTuple):
    """A row of the papers' tables."""

    expansion: int
    kernel_size: int
    strides: int
    features: int
    depth: int
    fused: bool = False


B0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
V2_S = (
    Stage(1, 3, 1, 24, 2, fused=True),
    Stage(4, 3, 2, 48, 4, fused=True),
    Stage(4, 3, 2, 64, 4, fused=True),
    Stage(4, 3, 2, 128, 6),
    Stage(6, 3, 1, 160, 9),
    Stage(6, 3, 2, 256, 15),
)
V2_M = (
    Stage(1, 3, 1, 24, 3, fused=True),
    Stage(4, 3, 2, 48, 5, fused=True),
    Stage(4, 3, 2, 80, 5, fused=True),
    Stage(4, 3, 2, 160, 7),
    Stage(6, 3, 1, 176, 14),
    Stage(6, 3, 2, 304, 18),
    Stage(6, 3, 1, 512, 5),
)
V2_L = (
    Stage(1, 3, 1, 32, 4, fused=True),
    Stage(4, 3, 2, 64, 7, fused=True),
    Stage(4, 3, 2, 96, 7, fused=True),
    Stage(4, 3, 2, 192, 10),
    Stage(6, 3, 1, 224, 19),
    Stage(6, 3, 2, 384, 25),
    Stage(6, 3, 1, 640, 7),
)


class FusedMBConv(nn.Module):
    """An inverted residual block where one full convolution expands and filters."""

    features: int
    expanded_channels: int
    conv_norm: Callable[..., jax.Array]
    kernel_size: int
    strides: int
    dilation: int
    drop_path: nn.Module

    @nn.compact
    def __call__(self, x):
        conv_norm = partial(
            self.conv_norm,
            kernel_size=self.kernel_size,
            strides=self.strides,
            dilation=self.dilation,
        )
        first, second = ("block.0.0", "block.0.1"), ("block.1.0", "block.1.1")
        if self.expanded_channels == x.shape[-1]:
            y = conv_norm(x, self.features, names=first)
        else:
            y = conv_norm(x, self.expanded_channels, names=first)
            y = self.conv_norm(y, self.features, 1, activation=None, names=second)
        return x + self.drop_path(y) if x.shape == y.shape else y


class EfficientNet(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits`, `logits`.

    Any image size.
    """

    stages: Sequence[Stage]
    width: float = 1.0
    """Factor of the numbers of channels."""
    depth: float = 1.0
    """Factor of the numbers of blocks."""
    last: int | None = None
    """Channels of the last convolution; None: four times those before it."""
    num_classes: int = 1000
    dropout: float = 0.2
    stochastic_depth: float = 0.2
    """The rate after the last block, to which it grows from 0."""
    epsilon: float = 1e-5
    """Of batch normalisation."""
    momentum: float = 0.9
    output_stride: int = 32
    """Of `stage5`: 8, 16 or 32.  Strides beyond it become dilations of the same
    parameters."""
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
        conv_bn = partial(conv_norm, norm=norm, activation=nn.silu, dtype=self.dtype)
        stages = [
            stage._replace(
                features=round_channels(stage.features * self.width),
                depth=math.ceil(stage.depth * self.depth),
            )
            for stage in self.stages
        ]
        # The first stage of B0 halves the channels of the stem, that of V2 keeps them.
        stem = self.stages[0].features if self.stages[0].fused else 32
        x = conv_bn(
            images,
            round_channels(stem * self.width),
            strides=2,
            names=("features.0.0", "features.0.1"),
        )
        outputs: dict[str, jax.Array] = {}
        strides = [
            stage.strides if block == 0 else 1
            for stage in stages
            for block in range(stage.depth)
        ]
        samplings = dilate(strides, self.output_stride, stem_stride=2)
        blocks = 0
        for layer, stage in enumerate(stages, 1):
            if stage.strides == 2:
                outputs[f"stage{len(outputs) + 1}"] = x
            kind: Any = FusedMBConv if stage.fused else InvertedResidual
            make_block = nn.remat(kind) if self.remat else kind
            for block in range(stage.depth):
                rate = self.stochastic_depth * blocks / len(samplings)
                sampling = samplings[blocks]
                options: dict[str, Any] = {}
                if not stage.fused:
                    options["squeeze_excite"] = partial(
                        SqueezeExcite, max(1, x.shape[-1] // 4), activation=nn.silu
                    )
                x = make_block(
                    stage.features,
                    round_channels(x.shape[-1] * stage.expansion),
                    conv_bn,
                    stage.kernel_size,
                    sampling.strides,
                    sampling.dilation,
                    drop_path=StochasticDepth(rate, deterministic=not train),
                    **options,
                    name=f"features.{layer}.{block}",
                )(x)
                blocks += 1
        outputs[f"stage{len(outputs) + 1}"] = x
        last = self.last or 4 * x.shape[-1]
        name = f"features.{len(stages) + 1}"
        x = conv_bn(x, last, 1, names=(f"{name}.0", f"{name}.1"))
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="classifier.1",
            kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform"),
        )


_TIMM = (
    *STEM,
    (r"^features\.8\.0", "conv_head"),
    (r"^features\.8\.1", "bn2"),
    *LAYERS,
    (r"^classifier\.1", "classifier"),
)

_TENSORFLOW: dict[str, Any] = dict(epsilon=1e-3, momentum=0.99)
"""Batch normalisation of the weights that came from TensorFlow: B5 to B7."""

VARIANTS = {
    name: Variant(
        partial(
            EfficientNet,
            B0,
            width=width,
            depth=depth,
            dropout=dropout,
            **(_TENSORFLOW if name[-1] in "567" else {}),
        ),
        PAPER,
        (size, size, 3),
        sources={"torchvision": (), "timm": _TIMM},
        timm=name,
        timm_options={"epsilon": 1e-5} if name[-1] in "567" else {},
    )
    for name, width, depth, size, dropout in (
        ("efficientnet_b0", 1.0, 1.0, 224, 0.2),
        ("efficientnet_b1", 1.0, 1.1, 240, 0.2),
        ("efficientnet_b2", 1.1, 1.2, 260, 0.3),
        ("efficientnet_b3", 1.2, 1.4, 300, 0.3),
        ("efficientnet_b4", 1.4, 1.8, 380, 0.4),
        ("efficientnet_b5", 1.6, 2.2, 456, 0.4),
        ("efficientnet_b6", 1.8, 2.6, 528, 0.5),
        ("efficientnet_b7", 2.0, 3.1, 600, 0.5),
    )
} | {
    name: Variant(
        partial(EfficientNet, stages, last=1280, dropout=dropout, epsilon=1e-3),
        PAPER_V2,
        (size, size, 3),
        normalisation=HALVES if name == "efficientnet_v2_l" else None,
    )
    for name, stages, size, dropout in (
        ("efficientnet_v2_s", V2_S, 384, 0.2),
        ("efficientnet_v2_m", V2_M, 480, 0.3),
        ("efficientnet_v2_l", V2_L, 480, 0.4),
    )
}
