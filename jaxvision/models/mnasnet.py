"""MNASNet-B1.  Tan et al. 2019, https://arxiv.org/abs/1807.11626, figure 7

images → 3×3 convolution, stride 2 → depthwise separable convolution
       → six stacks of inverted residual blocks → 1×1 convolution to 1280
       → average → linear layer
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.channels import round_channels
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.inverted_residual import InvertedResidual
from jaxvision.layers.norm import batch_norm
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Tan et al. 2019, https://arxiv.org/abs/1807.11626"

STACKS = (
    (24, 3, 2, 3, 3),
    (40, 5, 2, 3, 3),
    (80, 5, 2, 6, 3),
    (96, 3, 1, 6, 2),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)
"""Channels, kernel size, stride of the first block, expansion, blocks."""


def _names(role: str, place: int) -> tuple[str, str]:
    """The published weights count activations as layers."""
    return f"layers.{3 * place}", f"layers.{3 * place + 1}"


class MNASNet(nn.Module):
    """Outputs: `stage1` … `stage5`, the last maps of 1/2 … 1/32 of the image's size,
    `pre_logits` [B,1280], `logits`.

    Any image size.
    """

    width: float = 1.0
    """Factor of the numbers of channels."""
    num_classes: int = 1000
    dropout: float = 0.2
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = batch_norm(train=train, dtype=self.dtype, momentum=0.9997)
        conv_bn = partial(conv_norm, norm=norm, dtype=self.dtype)
        make_block = nn.remat(InvertedResidual) if self.remat else InvertedResidual

        stem, separable = (round_channels(c * self.width) for c in (32, 16))
        x = conv_bn(images, stem, strides=2, names=("layers.0", "layers.1"))
        x = conv_bn(x, stem, groups=stem, names=("layers.3", "layers.4"))
        x = conv_bn(x, separable, 1, activation=None, names=("layers.6", "layers.7"))
        outputs: dict[str, jax.Array] = {}
        for layer, stack in enumerate(STACKS, 8):
            channels, kernel_size, strides, expansion, depth = stack
            if strides == 2:
                outputs[f"stage{len(outputs) + 1}"] = x
            for block in range(depth):
                x = make_block(
                    round_channels(channels * self.width),
                    x.shape[-1] * expansion,
                    conv_bn,
                    kernel_size,
                    strides if block == 0 else 1,
                    names=_names,
                    name=f"layers.{layer}.{block}",
                )(x)
        outputs[f"stage{len(outputs) + 1}"] = x
        x = conv_bn(x, 1280, 1, names=("layers.14", "layers.15"))
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dropout=self.dropout,
            dtype=self.dtype,
            name="classifier.1",
        )


VARIANTS = {
    "mnasnet0_5": Variant(partial(MNASNet, width=0.5), PAPER),
    "mnasnet0_75": Variant(partial(MNASNet, width=0.75), PAPER),
    "mnasnet1_0": Variant(MNASNet, PAPER),
    "mnasnet1_3": Variant(partial(MNASNet, width=1.3), PAPER),
}
