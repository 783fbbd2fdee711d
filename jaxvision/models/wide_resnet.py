"""Wide residual networks for 32×32 images.

Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146, table 1: a 3×3
convolution, three stages of n blocks with 16k, 32k and 64k channels, normalisation,
global average pooling and one linear layer.  WRN-d-k has d = 6n + 4 layers with
weights, and is k times as wide as the ResNet of that depth.

Blocks normalise and rectify before their convolutions, as in He et al. 2016,
https://arxiv.org/abs/1603.05027; where the number of channels changes, the shortcut is
a 1×1 convolution of the normalised map.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146"


class WideBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, with dropout between them."""

    features: int
    strides: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    dropout: nn.Module

    @nn.compact
    def __call__(self, x):
        y = relu(self.norm(name="bn1")(x))
        if x.shape[-1] != self.features:
            shortcut = self.conv(
                self.features, 1, self.strides, padding=0, name="shortcut"
            )
            x = shortcut(y)
        y = self.conv(self.features, 3, self.strides, padding=1, name="conv1")(y)
        y = self.dropout(relu(self.norm(name="bn2")(y)))
        return x + self.conv(self.features, 3, padding=1, name="conv2")(y)


class WideResNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage3` (none of them normalised yet), `pre_logits`
    [B,64k], `logits`.

    Any image size.
    """

    depth: int
    """Layers with weights: 6n + 4 for n blocks in each of the three stages."""
    widening: int
    """k: how many times as wide as a ResNet."""
    num_classes: int = 10
    dropout: float = 0.0
    """Rate between the convolutions of a block; the paper also has 0.3."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        check(
            (
                self.depth % 6 == 4 and self.depth > 4,
                f"depth must be 6n + 4, such as 10, 16 or 28, got {self.depth}",
            )
        )
        conv = partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_fan_out)
        norm = batch_norm(train=train, dtype=self.dtype)
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        make_block = nn.remat(WideBlock) if self.remat else WideBlock

        x = conv(16, 3, padding=1, name="conv1")(images)
        outputs = {"stem": x}
        for stage in range(3):
            for block in range((self.depth - 4) // 6):
                x = make_block(
                    16 * self.widening * 2**stage,
                    2 if stage > 0 and block == 0 else 1,
                    conv,
                    norm,
                    dropout,
                    name=f"layer{stage + 1}.{block}",
                )(x)
            outputs[f"stage{stage + 1}"] = x
        x = global_avg_pool(relu(norm(name="bn")(x)))
        return classify(
            outputs, x, self.num_classes, train=train, dtype=self.dtype, name="fc"
        )


VARIANTS = {
    f"wrn_{depth}_{widening}": Variant(
        partial(WideResNet, depth=depth, widening=widening),
        PAPER,
        (32, 32, 3),
        OURS,
    )
    for depth, widening in ((16, 4), (16, 8), (28, 10), (40, 4))
}
