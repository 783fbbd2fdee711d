"""Pre-activation residual networks.  He et al. 2016, https://arxiv.org/abs/1603.05027

    images → 7×7 convolution, stride 2 → 3×3 max pooling, stride 2
           → stages of residual blocks → normalisation → average → linear layer

Blocks normalise and rectify before their convolutions (figure 4e), so that nothing
changes the sum of a branch and its shortcut.  As in timm's `resnetv2_50`, which is the
reference, a bottleneck strides in its 3×3 convolution.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.imagenet import HALVES
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool, max_pool

PAPER = "He et al. 2016, https://arxiv.org/abs/1603.05027"


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    features: int
    strides: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    expansion = 1

    @nn.compact
    def __call__(self, x):
        conv, features, strides = self.conv, self.features, self.strides
        y = relu(self.norm(name="norm1")(x))
        if strides != 1 or x.shape[-1] != features:
            x = conv(features, 1, strides=strides, name="downsample.conv")(y)
        y = conv(features, 3, strides=strides, padding=1, name="conv1")(y)
        y = relu(self.norm(name="norm2")(y))
        return x + conv(features, 3, padding=1, name="conv2")(y)


class Bottleneck(nn.Module):
    """A 3×3 convolution on a quarter of the channels, between two 1×1 ones."""

    features: int
    strides: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    expansion = 4

    @nn.compact
    def __call__(self, x):
        conv, features, strides = self.conv, self.features, self.strides
        outer = features * self.expansion
        y = relu(self.norm(name="norm1")(x))
        if strides != 1 or x.shape[-1] != outer:
            x = conv(outer, 1, strides=strides, name="downsample.conv")(y)
        y = conv(features, 1, name="conv1")(y)
        y = relu(self.norm(name="norm2")(y))
        y = conv(features, 3, strides=strides, padding=1, name="conv2")(y)
        y = relu(self.norm(name="norm3")(y))
        return x + conv(outer, 1, name="conv3")(y)


class ResNetV2(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4` (none of them normalised yet), `pre_logits`,
    `logits`.

    Any image size.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: Sequence[int]
    """Blocks in each stage."""
    num_classes: int = 1000
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = partial(
            Conv, padding=0, use_bias=False, dtype=self.dtype, kernel_init=he_fan_out
        )
        norm = batch_norm(train=train, dtype=self.dtype)
        make_block = nn.remat(self.block) if self.remat else self.block

        x = conv(64, 7, strides=2, padding=3, name="stem.conv")(images)
        outputs: dict[str, jax.Array] = {"stem": x}
        x = max_pool(x, 3, 2, padding=1)
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                x = make_block(
                    64 * 2**stage,
                    2 if stage > 0 and block == 0 else 1,
                    conv,
                    norm,
                    name=f"stages.{stage}.blocks.{block}",
                )(x)
            outputs[f"stage{stage + 1}"] = x
        x = relu(norm(name="norm")(x))
        outputs["pre_logits"] = x = global_avg_pool(x)
        if self.num_classes:
            # The published head is a 1×1 convolution.
            head = Conv(
                self.num_classes,
                1,
                dtype=self.dtype,
                kernel_init=nn.initializers.normal(0.01),
                name="head.fc",
            )
            logits = head(x[:, None, None])[:, 0, 0]
            outputs["logits"] = logits.astype(jnp.float32)
        return outputs


VARIANTS = {
    f"resnetv2_{layers}": Variant(
        partial(ResNetV2, block=block, depths=depths),
        PAPER,
        sources={"timm": ()},
        normalisation=HALVES,
    )
    for layers, block, depths in (
        (18, BasicBlock, (2, 2, 2, 2)),
        (34, BasicBlock, (3, 4, 6, 3)),
        (50, Bottleneck, (3, 4, 6, 3)),
        (101, Bottleneck, (3, 4, 23, 3)),
        (152, Bottleneck, (3, 8, 36, 3)),
    )
}
