"""Xception.  Chollet 2017, https://arxiv.org/abs/1610.02357, figure 5

    images 299×299 → two 3×3 convolutions → three blocks that halve the map
                   → eight blocks of three separable convolutions → a block that halves
                   → two separable convolutions → average → linear layer

A separable convolution filters each channel by 3×3, and mixes channels by 1×1 with no
activation between.  timm's `legacy_xception` is the reference.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.imagenet import HALVES
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.separable_conv import SeparableConv
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool, max_pool

PAPER = "Chollet 2017, https://arxiv.org/abs/1610.02357"


class Block(nn.Module):
    """Separable convolutions and perhaps a pooling, beside a shortcut."""

    features: Sequence[int]
    """Channels of each convolution."""
    strides: int
    conv: Callable[..., nn.Module]
    separable: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    first_rectified: bool = True

    @nn.compact
    def __call__(self, x):
        # The published weights count activations as layers.
        y, layer = x, 0
        for i, features in enumerate(self.features):
            if i > 0 or self.first_rectified:
                y = relu(y)
                layer += 1
            y = self.separable(features, name=f"rep.{layer}")(y)
            y = self.norm(name=f"rep.{layer + 1}")(y)
            layer += 2
        if self.strides == 1:
            return x + y
        y = max_pool(y, 3, self.strides, padding=1)
        x = self.conv(y.shape[-1], 1, strides=self.strides, name="skip")(x)
        return self.norm(name="skipbn")(x) + y


class Xception(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits` [B,2048], `logits`.

    Any image of at least 5×5 pixels.
    """

    num_classes: int = 1000
    dropout: float = 0.5
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = partial(
            Conv, padding=0, use_bias=False, dtype=self.dtype, kernel_init=he_fan_out
        )
        norm = batch_norm(train=train, dtype=self.dtype)
        separable = partial(
            SeparableConv, dtype=self.dtype, names=("conv1", "pointwise")
        )
        block = partial(
            nn.remat(Block) if self.remat else Block,
            conv=conv,
            separable=separable,
            norm=norm,
        )
        outputs: dict[str, jax.Array] = {}

        # Entry flow.
        x = relu(norm(name="bn1")(conv(32, 3, strides=2, name="conv1")(images)))
        x = relu(norm(name="bn2")(conv(64, 3, name="conv2")(x)))
        outputs["stage1"] = x
        x = block((128, 128), 2, first_rectified=False, name="block1")(x)
        outputs["stage2"] = x
        outputs["stage3"] = x = block((256, 256), 2, name="block2")(x)
        x = block((728, 728), 2, name="block3")(x)
        # Middle flow.
        for i in range(4, 12):
            x = block((728, 728, 728), 1, name=f"block{i}")(x)
        outputs["stage4"] = x
        # Exit flow.
        x = block((728, 1024), 2, name="block12")(x)
        x = relu(norm(name="bn3")(separable(1536, name="conv3")(x)))
        x = relu(norm(name="bn4")(separable(2048, name="conv4")(x)))
        outputs["stage5"] = x
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="fc",
        )


VARIANTS = {
    "xception": Variant(
        Xception, PAPER, (299, 299, 3), sources={"timm": ()}, normalisation=HALVES
    )
}
