"""A small U-Net: a class for every pixel.

    images → levels of two 3×3 convolutions, each at half the size of the one before
           → back up, each level beside the one of its size on the way down
           → 1×1 convolution: scores of every pixel

The shape is that of Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, fig. 1,
with padded convolutions, so that the scores have the size of the image, with batch
normalisation, and with a quarter of the channels.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.up_conv import UpConv
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.pooling import max_pool


class UNet(nn.Module):
    """Outputs: `down1` … `down<depth>` on the way down, `up<depth - 1>` … `up1` on the
    way back, and `logits` [B,H,W,num_classes], float32.

    Height and width are multiples of 2^(depth - 1).
    """

    num_classes: int = 10
    width: int = 16
    """Channels of the first level; each further one has twice as many."""
    depth: int = 4
    """Levels, that of the image's own size included."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        height, width = images.shape[1:3]
        unit = 2 ** (self.depth - 1)
        check(
            (
                height % unit == width % unit == 0,
                f"a U-Net of depth {self.depth} wants images whose sides are multiples "
                f"of {unit}, got {height}×{width}: crop, pad or resize them",
            )
        )
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_norm = partial(ConvNorm, norm=norm, dtype=self.dtype)

        def twice(x, level, name):
            features = self.width * 2**level
            x = conv_norm(features, name=f"{name}.0")(x)
            return conv_norm(features, name=f"{name}.1")(x)

        outputs: dict[str, jax.Array] = {}
        x = images.astype(self.dtype)
        for level in range(self.depth):
            x = max_pool(x, 2, 2) if level > 0 else x
            x = outputs[f"down{level + 1}"] = twice(x, level, f"down{level + 1}")
        for level in reversed(range(self.depth - 1)):
            up = UpConv(
                self.width * 2**level, dtype=self.dtype, name=f"up{level + 1}.conv"
            )
            x = jnp.concatenate([outputs[f"down{level + 1}"], up(x)], axis=-1)
            x = outputs[f"up{level + 1}"] = twice(x, level, f"up{level + 1}")
        scores = Conv(self.num_classes, 1, dtype=self.dtype, name="scores")(x)
        return {**outputs, "logits": scores.astype(jnp.float32)}


PAPER = "Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597"

VARIANTS = {"unet_small": Variant(UNet, PAPER, (64, 64, 3), OURS)}
