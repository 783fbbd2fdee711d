"""Residual networks for ImageNet.  He et al. 2016, https://arxiv.org/abs/1512.03385

    images → 7×7 convolution, stride 2 → 3×3 max pooling, stride 2
           → stages of residual blocks, each with twice the channels at half the size
           → global average pooling → linear layer

As everybody builds them since, a bottleneck block strides in its 3×3 convolution where
the paper does so in the 1×1 before it.  In the same file, because they differ by
numbers only: ResNeXt, whose 3×3 convolutions fall into groups (Xie et al. 2017,
https://arxiv.org/abs/1611.05431), Wide ResNet, where those are twice as wide (Zagoruyko
and Komodakis 2016, https://arxiv.org/abs/1605.07146), and SE-ResNet, whose branches end
in squeeze and excitation (Hu et al. 2018, https://arxiv.org/abs/1709.01507).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool, max_pool


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    features: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    strides: int = 1
    squeeze: bool = False
    """Whether the branch ends in squeeze and excitation."""
    expansion = 1

    @nn.compact
    def __call__(self, x):
        conv, norm, features = self.conv, self.norm, self.features
        y = conv(features, strides=self.strides, padding=1, name="conv1")(x)
        y = relu(norm(name="bn1")(y))
        y = conv(features, padding=1, name="conv2")(y)
        # A block that begins as the identity: Goyal et al. 2017, section 5.1.
        y = norm(name="bn2", scale_init=nn.initializers.zeros)(y)
        if self.squeeze:
            y = SqueezeExcite(features // 16, name="se")(y)
        return relu(_shortcut(x, y, self.strides, conv, norm) + y)


class Bottleneck(nn.Module):
    """A 3×3 convolution on a quarter of the channels, between two 1×1 ones."""

    features: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    strides: int = 1
    groups: int = 1
    """Of the 3×3 convolution (ResNeXt: cardinality)."""
    group_width: int = 64
    """Channels of each group for every 64 `features`."""
    squeeze: bool = False
    """Whether the branch ends in squeeze and excitation."""
    expansion = 4

    @nn.compact
    def __call__(self, x):
        conv, norm = self.conv, self.norm
        inner = self.features * self.group_width // 64 * self.groups
        outer = self.features * self.expansion
        y = conv(inner, kernel_size=1, name="conv1")(x)
        y = relu(norm(name="bn1")(y))
        y = conv(
            inner, strides=self.strides, padding=1, groups=self.groups, name="conv2"
        )(y)
        y = relu(norm(name="bn2")(y))
        y = conv(outer, kernel_size=1, name="conv3")(y)
        y = norm(name="bn3", scale_init=nn.initializers.zeros)(y)
        if self.squeeze:
            y = SqueezeExcite(outer // 16, name="se")(y)
        return relu(_shortcut(x, y, self.strides, conv, norm) + y)


class ResNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4`, `pre_logits` [B,D], `logits`.

    Any image size; 32 pixels become one at the end.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: Sequence[int]
    """Blocks in each stage."""
    num_classes: int = 1000
    width: int = 64
    """Channels of the stem and, before expansion, of the first stage."""
    block_options: Mapping[str, Any] | None = None
    """More fields of the blocks, such as `groups`."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_fan_out)
        norm = batch_norm(train=train, dtype=self.dtype)
        make_block = nn.remat(self.block) if self.remat else self.block

        x = conv(self.width, kernel_size=7, strides=2, padding=3, name="conv1")(images)
        x = relu(norm(name="bn1")(x))
        outputs = {"stem": x}
        x = max_pool(x, 3, 2, padding=1)
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                x = make_block(
                    self.width * 2**stage,
                    conv=conv,
                    norm=norm,
                    strides=2 if stage > 0 and block == 0 else 1,
                    **(self.block_options or {}),
                    name=f"layer{stage + 1}.{block}",
                )(x)
            outputs[f"stage{stage + 1}"] = x
        x = global_avg_pool(x)
        return classify(
            outputs, x, self.num_classes, train=train, dtype=self.dtype, name="fc"
        )


def _shortcut(x, y, strides: int, conv, norm):
    """The identity, or a 1×1 convolution where the shape changes (option B)."""
    if x.shape == y.shape:
        return x
    x = conv(y.shape[-1], 1, strides, padding=0, name="downsample.0")(x)
    return norm(name="downsample.1")(x)


_RESNEXT = "Xie et al. 2017, https://arxiv.org/abs/1611.05431"
_WIDE = "Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146"
_SE = "Hu et al. 2018, https://arxiv.org/abs/1709.01507"

_TABLE: list[tuple[str, Any, Sequence[int], dict[str, Any] | None, str | None]] = [
    ("resnet18", BasicBlock, (2, 2, 2, 2), None, None),
    ("resnet34", BasicBlock, (3, 4, 6, 3), None, None),
    ("resnet50", Bottleneck, (3, 4, 6, 3), None, None),
    ("resnet101", Bottleneck, (3, 4, 23, 3), None, None),
    ("resnet152", Bottleneck, (3, 8, 36, 3), None, None),
    *(
        (name, Bottleneck, depths, dict(groups=groups, group_width=width), _RESNEXT)
        for name, depths, groups, width in (
            ("resnext50_32x4d", (3, 4, 6, 3), 32, 4),
            ("resnext101_32x8d", (3, 4, 23, 3), 32, 8),
            ("resnext101_64x4d", (3, 4, 23, 3), 64, 4),
        )
    ),
    ("wide_resnet50_2", Bottleneck, (3, 4, 6, 3), dict(group_width=128), _WIDE),
    ("wide_resnet101_2", Bottleneck, (3, 4, 23, 3), dict(group_width=128), _WIDE),
    ("seresnet50", Bottleneck, (3, 4, 6, 3), dict(squeeze=True), _SE),
    ("seresnet101", Bottleneck, (3, 4, 23, 3), dict(squeeze=True), _SE),
    ("seresnet152", Bottleneck, (3, 8, 36, 3), dict(squeeze=True), _SE),
]

VARIANTS = {
    name: Variant(
        partial(ResNet, block=block, depths=depths, block_options=options),
        # timm gives all of them the same names.
        sources={"timm" if paper == _SE else "torchvision": ()},
        paper=paper,
    )
    for name, block, depths, options, paper in _TABLE
}
