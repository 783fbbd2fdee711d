"""Inception v3.  Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, table 1

    images 299×299 → convolutions and pooling to 35×35
                   → three modules A → 17×17 → four modules C → 8×8 → two modules E
                   → average → 1000

Large kernels are factorised: 5×5 into two 3×3, and n×n into 1×n and n×1.  Modules and
layers have the names of the published weights.
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
from jaxvision.ops.pooling import avg_pool, global_avg_pool, max_pool

PAPER = "Szegedy et al. 2016, https://arxiv.org/abs/1512.00567"

Conv = Callable[..., nn.Module]


class InceptionA(nn.Module):
    """1×1, 5×5, two 3×3, and pooling (figure 5)."""

    conv: Conv
    pool_features: int

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        one = conv(64, 1, name="branch1x1")(x)
        five = conv(48, 1, name="branch5x5_1")(x)
        five = conv(64, 5, name="branch5x5_2")(five)
        double = conv(64, 1, name="branch3x3dbl_1")(x)
        double = conv(96, 3, name="branch3x3dbl_2")(double)
        double = conv(96, 3, name="branch3x3dbl_3")(double)
        pool = conv(self.pool_features, 1, name="branch_pool")(_blurred(x))
        return jnp.concatenate([one, five, double, pool], -1)


class InceptionB(nn.Module):
    """Half the size: 3×3, two 3×3, and pooling (figure 10)."""

    conv: Conv

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        three = conv(384, 3, strides=2, padding=0, name="branch3x3")(x)
        double = conv(64, 1, name="branch3x3dbl_1")(x)
        double = conv(96, 3, name="branch3x3dbl_2")(double)
        double = conv(96, 3, strides=2, padding=0, name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, max_pool(x, 3, 2)], -1)


class InceptionC(nn.Module):
    """1×1, 7×7 as 1×7 and 7×1, that twice, and pooling (figure 6)."""

    conv: Conv
    inner: int

    @nn.compact
    def __call__(self, x):
        conv, inner = self.conv, self.inner
        one = conv(192, 1, name="branch1x1")(x)
        seven = conv(inner, 1, name="branch7x7_1")(x)
        seven = conv(inner, (1, 7), name="branch7x7_2")(seven)
        seven = conv(192, (7, 1), name="branch7x7_3")(seven)
        double = conv(inner, 1, name="branch7x7dbl_1")(x)
        double = conv(inner, (7, 1), name="branch7x7dbl_2")(double)
        double = conv(inner, (1, 7), name="branch7x7dbl_3")(double)
        double = conv(inner, (7, 1), name="branch7x7dbl_4")(double)
        double = conv(192, (1, 7), name="branch7x7dbl_5")(double)
        pool = conv(192, 1, name="branch_pool")(_blurred(x))
        return jnp.concatenate([one, seven, double, pool], -1)


class InceptionD(nn.Module):
    """Half the size: 3×3, 7×7 and 3×3, and pooling."""

    conv: Conv

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        three = conv(192, 1, name="branch3x3_1")(x)
        three = conv(320, 3, strides=2, padding=0, name="branch3x3_2")(three)
        seven = conv(192, 1, name="branch7x7x3_1")(x)
        seven = conv(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = conv(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = conv(192, 3, strides=2, padding=0, name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, max_pool(x, 3, 2)], -1)


class InceptionE(nn.Module):
    """1×1, 3×3 and two 3×3 that end in 1×3 beside 3×1, and pooling (figure 7)."""

    conv: Conv

    @nn.compact
    def __call__(self, x):
        conv = self.conv
        one = conv(320, 1, name="branch1x1")(x)
        three = conv(384, 1, name="branch3x3_1")(x)
        three = [
            conv(384, (1, 3), name="branch3x3_2a")(three),
            conv(384, (3, 1), name="branch3x3_2b")(three),
        ]
        double = conv(448, 1, name="branch3x3dbl_1")(x)
        double = conv(384, 3, name="branch3x3dbl_2")(double)
        double = [
            conv(384, (1, 3), name="branch3x3dbl_3a")(double),
            conv(384, (3, 1), name="branch3x3dbl_3b")(double),
        ]
        pool = conv(192, 1, name="branch_pool")(_blurred(x))
        return jnp.concatenate([one, *three, *double, pool], -1)


class AuxiliaryHead(nn.Module):
    """Class scores from the middle of the network (figure 8)."""

    num_classes: int
    conv: Conv
    dtype: Any

    @nn.compact
    def __call__(self, x):
        x = avg_pool(x, 5, 3)
        x = self.conv(128, 1, name="conv0")(x)
        small = nn.initializers.truncated_normal(0.01)
        x = self.conv(768, 5, padding=0, kernel_init=small, name="conv1")(x)
        logits = nn.Dense(
            self.num_classes,
            dtype=self.dtype,
            kernel_init=nn.initializers.truncated_normal(0.001),
            name="fc",
        )(global_avg_pool(x))
        return logits.astype(jnp.float32)


class InceptionV3(nn.Module):
    """Outputs: `stage1` … `stage5`, `pre_logits` [B,2048], `logits`, `aux`.

    Stages are the last maps of stride 2, 4, 8, 16 and 32.  Images of at least 75×75
    pixels; `aux` exists from 299×299 on.
    """

    num_classes: int = 1000
    aux: bool = True
    """Whether there is an auxiliary classifier."""
    dropout: float = 0.5
    transform_input: bool = False
    """Whether to convert images that were normalised by ImageNet's mean and deviation
    to [-1, 1], which the published weights expect.  torchvision sets it with them."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = basic_conv(train=train, dtype=self.dtype)
        outputs: dict[str, jax.Array] = {}
        x = from_imagenet_statistics(images) if self.transform_input else images
        x = conv(32, 3, strides=2, padding=0, name="Conv2d_1a_3x3")(x)
        x = conv(32, 3, padding=0, name="Conv2d_2a_3x3")(x)
        outputs["stage1"] = x = conv(64, 3, name="Conv2d_2b_3x3")(x)
        x = max_pool(x, 3, 2)
        x = conv(80, 1, name="Conv2d_3b_1x1")(x)
        outputs["stage2"] = x = conv(192, 3, padding=0, name="Conv2d_4a_3x3")(x)
        x = max_pool(x, 3, 2)
        x = InceptionA(conv, 32, name="Mixed_5b")(x)
        x = InceptionA(conv, 64, name="Mixed_5c")(x)
        outputs["stage3"] = x = InceptionA(conv, 64, name="Mixed_5d")(x)
        x = InceptionB(conv, name="Mixed_6a")(x)
        x = InceptionC(conv, 128, name="Mixed_6b")(x)
        x = InceptionC(conv, 160, name="Mixed_6c")(x)
        x = InceptionC(conv, 160, name="Mixed_6d")(x)
        outputs["stage4"] = x = InceptionC(conv, 192, name="Mixed_6e")(x)
        # A map below 17×17 is too small for the 5×5 convolution of the auxiliary head.
        if self.aux and self.num_classes and min(x.shape[1:3]) >= 17:
            outputs["aux"] = AuxiliaryHead(
                self.num_classes, conv, self.dtype, name="AuxLogits"
            )(x)
        x = InceptionD(conv, name="Mixed_7a")(x)
        x = InceptionE(conv, name="Mixed_7b")(x)
        outputs["stage5"] = x = InceptionE(conv, name="Mixed_7c")(x)
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="fc",
        )


def _blurred(x):
    return avg_pool(x, 3, 1, padding=1, count_include_pad=True)


VARIANTS = {
    "inception_v3": Variant(InceptionV3, PAPER, (299, 299, 3), normalisation=HALVES)
}
