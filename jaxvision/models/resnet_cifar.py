"""Residual networks for 32×32 images.

He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2: a 3×3 convolution, three
stages of n blocks with 16, 32 and 64 channels, global average pooling and one linear
layer make 6n + 2 layers with weights.  Shortcuts have no parameters (option A).

Layers have the names of Yerlan Idelbayev's release of trained weights,
https://github.com/akamaster/pytorch_resnet_cifar10, whose files load as they are.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import Variant
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
        y = self.conv(self.features, strides=self.strides, name="conv1")(x)
        y = relu(self.norm(name="bn1")(y))
        y = self.norm(name="bn2")(self.conv(self.features, name="conv2")(y))

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
        # "SAME" would pad an even map at stride 2 only at its end, and put the branch
        # one pixel off the shortcut, which takes every other pixel, the first included.
        conv = partial(Conv, padding=1, use_bias=False, dtype=self.dtype)
        norm = batch_norm(train=train, dtype=self.dtype)
        make_block = nn.remat(BasicBlock) if self.remat else BasicBlock

        x = relu(norm(name="bn1")(conv(self.width, name="conv1")(images)))
        outputs = {"stem": x}
        for stage in range(3):
            for block in range(self.blocks):
                x = make_block(
                    self.width * 2**stage,
                    conv=conv,
                    norm=norm,
                    strides=2 if stage > 0 and block == 0 else 1,
                    name=f"layer{stage + 1}.{block}",
                )(x)
            outputs[f"stage{stage + 1}"] = x
        x = global_avg_pool(x)
        return classify(
            outputs, x, self.num_classes, train=train, dtype=self.dtype, name="linear"
        )


VARIANTS = {
    f"resnet{6 * n + 2}": Variant(
        partial(CifarResNet, blocks=n),
        PAPER,
        (32, 32, 3),
        {"pytorch_resnet_cifar10": ()},
    )
    for n in (3, 5, 7, 9, 18)
}
