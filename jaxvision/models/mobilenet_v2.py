"""MobileNet v2.  Sandler et al. 2018, https://arxiv.org/abs/1801.04381, table 2

images → 3×3 convolution, stride 2 → inverted residual blocks
       → 1×1 convolution to 1280 → average → linear layer
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.dilation import dilate
from jaxvision.layers.inverted_residual import InvertedResidual
from jaxvision.layers.norm import batch_norm
from jaxvision.models.timm_names import LAYERS, STEM, in_stages
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Sandler et al. 2018, https://arxiv.org/abs/1801.04381"

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


def _names(role: str, place: int) -> tuple[str, str]:
    """The last convolution has no module around it and its normalisation."""
    if role == "project":
        return f"conv.{place}", f"conv.{place + 1}"
    return f"conv.{place}.0", f"conv.{place}.1"


class MobileNetV2(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size
    that blocks make, `last` [B,H/32,W/32,1280], `pre_logits` [B,1280], `logits`.

    Any image size.
    """

    width: float = 1.0
    """Factor of the numbers of channels."""
    num_classes: int = 1000
    dropout: float = 0.2
    output_stride: int = 32
    """Of `stage5`: 8, 16 or 32.  Strides beyond it become dilations of the same
    parameters."""
    early_dilation: bool = False
    """Whether the convolution that loses its stride is dilated, too, as in
    segmentation_models_pytorch."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_bn = partial(conv_norm, norm=norm, activation=nn.relu6, dtype=self.dtype)
        make_block = nn.remat(InvertedResidual) if self.remat else InvertedResidual

        stem = round_channels(32 * self.width)
        x = conv_bn(images, stem, strides=2, names=("features.0.0", "features.0.1"))
        outputs: dict[str, jax.Array] = {}
        strides = [
            first_stride if repetition == 0 else 1
            for _, _, repetitions, first_stride in BLOCKS
            for repetition in range(repetitions)
        ]
        samplings = dilate(
            strides, self.output_stride, stem_stride=2, early=self.early_dilation
        )
        block = 0
        for expansion, channels, repetitions, first_stride in BLOCKS:
            if first_stride == 2:
                outputs[f"stage{len(outputs) + 1}"] = x
            for _ in range(repetitions):
                sampling = samplings[block]
                block += 1
                x = make_block(
                    round_channels(channels * self.width),
                    x.shape[-1] * expansion,
                    conv_bn,
                    strides=sampling.strides,
                    dilation=sampling.dilation,
                    names=_names,
                    name=f"features.{block}",
                )(x)
        outputs[f"stage{len(outputs) + 1}"] = x
        last = round_channels(1280 * max(1.0, self.width))
        names = (f"features.{block + 1}.0", f"features.{block + 1}.1")
        outputs["last"] = x = conv_bn(x, last, 1, names=names)
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
    # In other networks the last convolution has a module of its own.
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
        PAPER,
        sources={"torchvision": (), "timm": _TIMM},
        timm="mobilenetv2_100",
    )
}
