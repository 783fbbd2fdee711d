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
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool

PAPER = "He et al. 2016, https://arxiv.org/abs/1512.03385"


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside an identity."""

    features: int
    conv: Any
    norm: Any
    strides: int = 1

    @nn.compact
    def __call__(self, x):
        y = self.conv(self.features, strides=self.strides)(x)
        y = relu(self.norm()(y))
        y = self.norm()(self.conv(self.features)(y))

        # Option A: subsample, and fill the new channels with zeros.
        shortcut = x[:, :: self.strides, :: self.strides]
        new = self.features - x.shape[-1]
        shortcut = jnp.pad(
            shortcut, ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2))
        )
        return relu(shortcut + y)


class CifarResNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage3`, `pre_logits` [B,64], `logits`."""

    blocks: int
    """n: residual blocks in each of the three stages."""
    num_classes: int = 10
    width: int = 16
    """Channels of the first stage."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = partial(Conv, use_bias=False, dtype=self.dtype)
        norm = batch_norm(train=train, dtype=self.dtype)
        make_block = nn.remat(BasicBlock) if self.remat else BasicBlock

        x = relu(norm(name="stem_norm")(conv(self.width, name="stem")(images)))
        outputs = {"stem": x}
        for stage in range(3):
            for block in range(self.blocks):
                x = make_block(
                    self.width * 2**stage,
                    conv=conv,
                    norm=norm,
                    strides=2 if stage > 0 and block == 0 else 1,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x)
            outputs[f"stage{stage + 1}"] = x
        x = global_avg_pool(x)
        return classify(
            outputs, x, self.num_classes, train=train, dtype=self.dtype, name="output"
        )


VARIANTS = {
    f"resnet{6 * n + 2}": Variant(
        partial(CifarResNet, blocks=n), PAPER, (32, 32, 3), OURS
    )
    for n in (3, 5, 7, 9, 18)
}
