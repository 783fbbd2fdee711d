"""Residual networks for 32×32 images.

He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2: a 3×3 convolution, three
stages of n blocks with 16, 32 and 64 channels, global average pooling and one linear
layer make 6n + 2 layers with weights.  Shortcuts have no parameters (option A).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.pooling import global_avg_pool


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside an identity."""

    features: int
    strides: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        conv = partial(Conv, use_bias=False, dtype=self.dtype)
        norm = partial(
            nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=self.dtype
        )
        y = conv(self.features, strides=self.strides)(x)
        y = nn.relu(norm()(y))
        y = norm()(conv(self.features)(y))

        # Option A: subsample, and fill the new channels with zeros.
        shortcut = x[:, :: self.strides, :: self.strides]
        new = self.features - x.shape[-1]
        shortcut = jnp.pad(
            shortcut, ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2))
        )
        return nn.relu(shortcut + y)


class CifarResNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage3`, `pre_logits` [B,64], `logits`."""

    blocks: int
    """n: residual blocks in each of the three stages."""
    num_classes: int = 10
    width: int = 16
    """Channels of the first stage."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        x = Conv(self.width, use_bias=False, dtype=self.dtype, name="stem")(images)
        x = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            dtype=self.dtype,
            name="stem_norm",
        )(x)
        x = nn.relu(x)
        outputs = {"stem": x}
        for stage in range(3):
            for block in range(self.blocks):
                x = BasicBlock(
                    self.width * 2**stage,
                    strides=2 if stage > 0 and block == 0 else 1,
                    dtype=self.dtype,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x, train=train)
            outputs[f"stage{stage + 1}"] = x
        x = global_avg_pool(x)
        return classify(
            outputs, x, self.num_classes, train=train, dtype=self.dtype, name="output"
        )


VARIANTS = {
    f"resnet{6 * n + 2}": Variant(partial(CifarResNet, blocks=n), (32, 32, 3), OURS)
    for n in (3, 5, 7, 9, 18)
}
