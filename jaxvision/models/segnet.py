"""SegNet.  Badrinarayanan et al. 2017, https://arxiv.org/abs/1511.00561

    images → the trunk of VGG16 with batch normalisation, whose poolings remember where
             each maximum was
           → its mirror image: unpooling by these switches, then 3×3 convolutions
           → scores of every pixel

`segnet_basic` has four stages of one 7×7 convolution each, without a rectifier on the
way back (section 3.1).  Its authors' program also normalises the responses of the
image's channels; that is left to the preparation of the images.  As in that program,
poolings count windows at the border that are not whole, so that images may have any
size.

The trunk of a `vgg16_bn` serves as it is: `models.trunk(runs.backbone("vgg16_bn", …))`
as initial weights.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import batch_norm
from jaxvision.models import vgg
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.pooling import max_pool_with_switches, max_unpool

PAPER = "Badrinarayanan et al. 2017, https://arxiv.org/abs/1511.00561"


class SegNet(nn.Module):
    """Outputs: `conv1` … `conv5` (before each pooling), `stage1` … `stage5` (after it),
    `up5` … `up1` (after the convolutions that follow each unpooling; `up5` has the size
    of `conv5`), and `logits` [B,H,W,num_classes], float32.

    Images of any size.
    """

    depths: Sequence[int] = vgg.DEPTHS[16]
    """Convolutions in each stage, and in its mirror image."""
    features: Sequence[int] = vgg.FEATURES
    """Channels of each stage."""
    num_classes: int = 11
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        switches: list[jax.Array] = []
        outputs = vgg.trunk(
            images,
            self.depths,
            self.features,
            train=train,
            normalise=True,
            pool=partial(_remembered, switches),
            dtype=self.dtype,
        )
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_norm = partial(ConvNorm, norm=norm, dtype=self.dtype)
        x = list(outputs.values())[-1]
        for stage in reversed(range(len(self.depths))):
            x = max_unpool(x, switches[stage], 2, _size(outputs, stage))
            widths = [self.features[stage]] * (self.depths[stage] - 1)
            # The first stage's last convolution makes the scores.
            widths += [self.features[stage - 1]] if stage else []
            for i, width in enumerate(widths):
                x = conv_norm(width, name=f"decoder{stage + 1}.{i}")(x)
            outputs[f"up{stage + 1}"] = x
        if self.num_classes:
            layer = Conv(self.num_classes, padding=1, dtype=self.dtype, name="scores")
            outputs["logits"] = layer(x).astype(jnp.float32)
        return outputs


class SegNetBasic(nn.Module):
    """Outputs: `conv1` … `conv4` (before each pooling), `stage1` … `stage4` (after it),
    `up4` … `up1` (after the convolution that follows each unpooling), and `logits`
    [B,H,W,num_classes], float32.

    Images of any size.
    """

    num_classes: int = 11
    width: int = 64
    """Channels of every layer."""
    depth: int = 4
    """Poolings."""
    kernel_size: int = 7
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_norm = partial(
            ConvNorm, self.width, self.kernel_size, norm=norm, dtype=self.dtype
        )
        switches: list[jax.Array] = []
        outputs: dict[str, jax.Array] = {}
        x = images
        for stage in range(1, self.depth + 1):
            x = outputs[f"conv{stage}"] = conv_norm(name=f"encoder{stage}")(x)
            x = outputs[f"stage{stage}"] = _remembered(switches, x)
        for stage in reversed(range(self.depth)):
            x = max_unpool(x, switches[stage], 2, _size(outputs, stage))
            x = conv_norm(activation=None, name=f"decoder{stage + 1}")(x)
            outputs[f"up{stage + 1}"] = x
        if self.num_classes:
            layer = Conv(self.num_classes, 1, dtype=self.dtype, name="scores")
            outputs["logits"] = layer(x).astype(jnp.float32)
        return outputs


def _remembered(switches: list[jax.Array], x: jax.Array) -> jax.Array:
    """The pooled maps; the list gets their switches."""
    pooled, switch = max_pool_with_switches(x, 2, ceil_mode=True)
    switches.append(switch)
    return pooled


def _size(outputs, stage: int) -> tuple[int, int]:
    return outputs[f"conv{stage + 1}"].shape[1:3]


VARIANTS = {
    "segnet": Variant(SegNet, PAPER, (360, 480, 3), OURS),
    "segnet_basic": Variant(SegNetBasic, PAPER, (360, 480, 3), OURS),
}
