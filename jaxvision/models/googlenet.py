"""GoogLeNet.  Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, table 1

    images → 7×7 convolution, stride 2 → pool → 1×1 → 3×3 → pool
           → modules 3a, 3b → pool → 4a … 4e → pool → 5a, 5b → average → 1000

A module concatenates a 1×1, a 3×3, a "5×5" and a pooled branch.  Two auxiliary
classifiers follow 4a and 4d.  As in torchvision, whose weights it takes, there is batch
normalisation instead of local response normalisation, and the 5×5 branch has 3×3
kernels (https://github.com/pytorch/vision/issues/906).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import basic_conv
from jaxvision.layers.imagenet import HALVES, from_imagenet_statistics
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import adaptive_avg_pool, global_avg_pool, max_pool

PAPER = "Szegedy et al. 2015, https://arxiv.org/abs/1409.4842"

INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels, as in table 1: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj."""


class Inception(nn.Module):
    """Four branches side by side, [B,H,W,C] -> [B,H,W,sum of their channels]."""

    features: tuple[int, int, int, int, int, int]
    conv: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x):
        one, three_reduce, three, five_reduce, five, pool = self.features
        conv = self.conv
        branch1 = conv(one, 1, name="branch1")(x)
        branch2 = conv(three_reduce, 1, name="branch2.0")(x)
        branch2 = conv(three, 3, name="branch2.1")(branch2)
        branch3 = conv(five_reduce, 1, name="branch3.0")(x)
        branch3 = conv(five, 3, name="branch3.1")(branch3)
        branch4 = max_pool(x, 3, 1, padding=1)
        branch4 = conv(pool, 1, name="branch4.1")(branch4)
        return jnp.concatenate([branch1, branch2, branch3, branch4], -1)


class AuxiliaryHead(nn.Module):
    """Class scores from the middle of the network; training adds 0.3 of its loss."""

    num_classes: int
    conv: Callable[..., nn.Module]
    dropout: nn.Module
    dtype: Any

    @nn.compact
    def __call__(self, x):
        x = self.conv(128, 1, name="conv")(adaptive_avg_pool(x, 4))
        # Channels first, which is the order of the published weights.
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        x = self.dropout(relu(nn.Dense(1024, dtype=self.dtype, name="fc1")(x)))
        logits = nn.Dense(self.num_classes, dtype=self.dtype, name="fc2")(x)
        return logits.astype(jnp.float32)


class GoogLeNet(nn.Module):
    """Outputs: `stage1` … `stage5`, `pre_logits` [B,1024], `logits`, `aux1`, `aux2`.

    Any image of at least 15×15 pixels.
    """

    num_classes: int = 1000
    aux: bool = True
    """Whether there are auxiliary classifiers."""
    dropout: float = 0.2
    aux_dropout: float = 0.7
    transform_input: bool = False
    """Whether to convert images that were normalised by ImageNet's mean and deviation
    to [-1, 1], which the published weights expect.  torchvision sets it with them."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = basic_conv(train=train, dtype=self.dtype)
        aux_dropout = nn.Dropout(self.aux_dropout, deterministic=not train)
        outputs: dict[str, jax.Array] = {}

        def inception(which, x):
            return Inception(INCEPTION[which], conv, name=f"inception{which}")(x)

        def auxiliary(name, x):
            if self.aux and self.num_classes:
                outputs[name] = AuxiliaryHead(
                    self.num_classes, conv, aux_dropout, self.dtype, name=name
                )(x)

        x = from_imagenet_statistics(images) if self.transform_input else images
        x = conv(64, 7, strides=2, name="conv1")(x)
        outputs["stage1"] = x
        x = max_pool(x, 3, 2, ceil_mode=True)
        x = conv(64, 1, name="conv2")(x)
        outputs["stage2"] = x = conv(192, 3, name="conv3")(x)
        x = max_pool(x, 3, 2, ceil_mode=True)
        x = inception("3a", x)
        outputs["stage3"] = x = inception("3b", x)
        x = max_pool(x, 3, 2, ceil_mode=True)
        x = inception("4a", x)
        auxiliary("aux1", x)
        x = inception("4b", x)
        x = inception("4c", x)
        x = inception("4d", x)
        auxiliary("aux2", x)
        outputs["stage4"] = x = inception("4e", x)
        x = max_pool(x, 2, 2, ceil_mode=True)
        x = inception("5a", x)
        outputs["stage5"] = x = inception("5b", x)
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="fc",
        )


VARIANTS = {"googlenet": Variant(GoogLeNet, PAPER, normalisation=HALVES)}
