"""SENet-154.  Hu et al. 2018, https://arxiv.org/abs/1709.01507, appendix

    images → three 3×3 convolutions, the first with stride 2 → 3×3 max pooling
           → stages of residual blocks with grouped convolutions and squeeze and
             excitation → average → linear layer

ResNeXt-152 (64×4d) with half of the channels in the first convolution of each
bottleneck, and 3×3 instead of 1×1 convolutions in the shortcuts that stride.  timm's
`senet154` is the reference.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool, max_pool

PAPER = "Hu et al. 2018, https://arxiv.org/abs/1709.01507"


class Bottleneck(nn.Module):
    """1×1 to half of the channels, grouped 3×3 and 1×1 to all of them; a shortcut."""

    features: int
    strides: int
    conv_bn: Callable[..., jax.Array]

    @nn.compact
    def __call__(self, x):
        conv_bn, features, strides = self.conv_bn, self.features, self.strides
        y = conv_bn(x, features // 2, 1, names=("conv1", "bn1"))
        y = conv_bn(y, features, 3, strides=strides, groups=64, names=("conv2", "bn2"))
        y = conv_bn(y, features, 1, activation=None, names=("conv3", "bn3"))
        y = SqueezeExcite(features // 16, name="se")(y)
        if x.shape != y.shape:
            x = conv_bn(
                x,
                features,
                3 if strides > 1 else 1,
                strides=strides,
                activation=None,
                names=("downsample.0", "downsample.1"),
            )
        return relu(x + y)


class SENet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4`, `pre_logits` [B,2048], `logits`.

    Any image size.
    """

    depths: Sequence[int]
    """Blocks in each stage."""
    num_classes: int = 1000
    dropout: float = 0.2
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype)
        conv_bn = partial(conv_norm, norm=norm, dtype=self.dtype)
        make_block = nn.remat(Bottleneck) if self.remat else Bottleneck

        x = conv_bn(images, 64, strides=2, names=("conv1.0", "conv1.1"))
        x = conv_bn(x, 64, names=("conv1.3", "conv1.4"))
        x = conv_bn(x, 128, names=("conv1.6", "bn1"))
        outputs = {"stem": x}
        x = max_pool(x, 3, 2, padding=1)
        for stage, depth in enumerate(self.depths, 1):
            for block in range(depth):
                x = make_block(
                    128 * 2**stage,
                    2 if stage > 1 and block == 0 else 1,
                    conv_bn,
                    name=f"layer{stage}.{block}",
                )(x)
            outputs[f"stage{stage}"] = x
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
    "senet154": Variant(partial(SENet, (3, 8, 36, 3)), PAPER, sources={"timm": ()})
}
