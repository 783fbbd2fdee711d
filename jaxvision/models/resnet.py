"""Residual networks for ImageNet.  He et al. 2016, https://arxiv.org/abs/1512.03385

    images → 7×7 convolution, stride 2 → 3×3 max pooling, stride 2
           → stages of residual blocks, each with twice the channels at half the size
           → global average pooling → linear layer

For images of 32×32 pixels, as those of CIFAR, the names that end in `_cifar` begin with
one 3×3 convolution without a stride, so that the last map has 4×4 pixels.

As in most later implementations (ResNet v1.5), a bottleneck block strides in its 3×3
convolution, where the paper does so in the 1×1 before it.  Networks that differ by
numbers only are in the same file: ResNeXt, whose 3×3 convolutions have groups (Xie et
al. 2017, https://arxiv.org/abs/1611.05431), Wide ResNet, where those are twice as wide
(Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146), and SE-ResNet, whose
branches end in squeeze and excitation (Hu et al. 2018,
https://arxiv.org/abs/1709.01507).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.dilation import Sampling, dilate
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool, max_pool

PAPER = "He et al. 2016, https://arxiv.org/abs/1512.03385"
PAPER_RESNEXT = "Xie et al. 2017, https://arxiv.org/abs/1611.05431"
PAPER_WIDE = "Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146"
PAPER_SE = "Hu et al. 2018, https://arxiv.org/abs/1709.01507"


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    features: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    sampling: Sampling = Sampling()
    squeeze: bool = False
    """Whether the branch ends in squeeze and excitation."""
    expansion = 1

    @nn.compact
    def __call__(self, x):
        conv, norm, features = self.conv, self.norm, self.features
        strides, dilation, next_dilation = self.sampling
        y = conv(
            features,
            strides=strides,
            padding=dilation,
            dilation=dilation,
            name="conv1",
        )(x)
        y = relu(norm(name="bn1")(y))
        y = conv(features, padding=next_dilation, dilation=next_dilation, name="conv2")(
            y
        )
        # A block that begins as the identity: Goyal et al. 2017, section 5.1.
        y = norm(name="bn2", scale_init=nn.initializers.zeros)(y)
        if self.squeeze:
            y = SqueezeExcite(features // 16, name="se")(y)
        return relu(_shortcut(x, y, strides, conv, norm) + y)


class Bottleneck(nn.Module):
    """A 3×3 convolution on a quarter of the channels, between two 1×1 ones."""

    features: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    sampling: Sampling = Sampling()
    groups: int = 1
    """Groups of the 3×3 convolution (in ResNeXt: cardinality)."""
    group_width: int = 64
    """Channels of each group in a block of 64 `features`; they grow in proportion."""
    squeeze: bool = False
    """Whether the branch ends in squeeze and excitation."""
    expansion = 4

    @nn.compact
    def __call__(self, x):
        conv, norm = self.conv, self.norm
        inner = self.features * self.group_width // 64 * self.groups
        outer = self.features * self.expansion
        strides, dilation, _ = self.sampling
        y = conv(inner, kernel_size=1, name="conv1")(x)
        y = relu(norm(name="bn1")(y))
        y = conv(
            inner,
            strides=strides,
            padding=dilation,
            dilation=dilation,
            groups=self.groups,
            name="conv2",
        )(y)
        y = relu(norm(name="bn2")(y))
        y = conv(outer, kernel_size=1, name="conv3")(y)
        y = norm(name="bn3", scale_init=nn.initializers.zeros)(y)
        if self.squeeze:
            y = SqueezeExcite(outer // 16, name="se")(y)
        return relu(_shortcut(x, y, strides, conv, norm) + y)


class ResNet(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4`, `pre_logits` [B,D], `logits`.

    Any image size.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: Sequence[int]
    """Blocks in each stage."""
    num_classes: int = 1000
    width: int = 64
    """Channels of the stem and, before expansion, of the first stage."""
    stem: Literal["7x7", "3x3"] = "7x7"
    """`7x7` strides, and a max pooling follows; `3x3`, for small images, does neither:
    the stride of `stage4` is then 8."""
    output_stride: int = 32
    """Of `stage4`: 8, 16 or 32.  Strides beyond it become dilations of the same
    parameters, as with torchvision's `replace_stride_with_dilation`; torchvision has
    no dilated basic blocks."""
    early_dilation: bool = False
    """Whether the convolution that loses its stride is dilated, too, as in
    segmentation_models_pytorch."""
    block_options: Mapping[str, Any] | None = None
    """Further fields of the blocks, such as `groups`."""
    epsilon: float = 1e-5
    """Of batch normalisation."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_fan_out)
        norm = batch_norm(train=train, dtype=self.dtype, epsilon=self.epsilon)
        make_block = nn.remat(self.block) if self.remat else self.block

        small = self.stem == "3x3"
        size, strides = (3, 1) if small else (7, 2)
        x = conv(self.width, size, strides, padding=size // 2, name="conv1")(images)
        x = relu(norm(name="bn1")(x))
        outputs = {"stem": x}
        if not small:
            x = max_pool(x, 3, 2, padding=1)
        block_strides = [
            2 if stage > 0 and block == 0 else 1
            for stage, depth in enumerate(self.depths)
            for block in range(depth)
        ]
        stem_stride = 1 if small else 4
        samplings = iter(
            dilate(
                block_strides,
                self.output_stride,
                stem_stride=stem_stride,
                early=self.early_dilation,
            )
        )
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                x = make_block(
                    self.width * 2**stage,
                    conv=conv,
                    norm=norm,
                    sampling=next(samplings),
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


_TABLE: list[tuple[str, Any, Sequence[int], dict[str, Any] | None, str]] = [
    ("resnet18", BasicBlock, (2, 2, 2, 2), None, PAPER),
    ("resnet34", BasicBlock, (3, 4, 6, 3), None, PAPER),
    ("resnet50", Bottleneck, (3, 4, 6, 3), None, PAPER),
    ("resnet101", Bottleneck, (3, 4, 23, 3), None, PAPER),
    ("resnet152", Bottleneck, (3, 8, 36, 3), None, PAPER),
    *(
        (
            name,
            Bottleneck,
            depths,
            dict(groups=groups, group_width=width),
            PAPER_RESNEXT,
        )
        for name, depths, groups, width in (
            ("resnext50_32x4d", (3, 4, 6, 3), 32, 4),
            ("resnext101_32x8d", (3, 4, 23, 3), 32, 8),
            ("resnext101_64x4d", (3, 4, 23, 3), 64, 4),
        )
    ),
    ("wide_resnet50_2", Bottleneck, (3, 4, 6, 3), dict(group_width=128), PAPER_WIDE),
    ("wide_resnet101_2", Bottleneck, (3, 4, 23, 3), dict(group_width=128), PAPER_WIDE),
    ("seresnet50", Bottleneck, (3, 4, 6, 3), dict(squeeze=True), PAPER_SE),
    ("seresnet101", Bottleneck, (3, 4, 23, 3), dict(squeeze=True), PAPER_SE),
    ("seresnet152", Bottleneck, (3, 8, 36, 3), dict(squeeze=True), PAPER_SE),
]

VARIANTS = {
    name: Variant(
        partial(ResNet, block=block, depths=depths, block_options=options),
        paper,
        # timm gives all of them the same names.
        sources={"timm" if paper == PAPER_SE else "torchvision": ()},
    )
    for name, block, depths, options, paper in _TABLE
}
VARIANTS |= {
    f"{name}_cifar": Variant(
        partial(ResNet, block=block, depths=depths, num_classes=10, stem="3x3"),
        PAPER,
        (32, 32, 3),
        OURS,
    )
    for name, block, depths, _, _ in _TABLE[:3]
}
