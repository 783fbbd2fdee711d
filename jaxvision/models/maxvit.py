"""MaxViT.  Tu et al. 2022, https://arxiv.org/abs/2204.01697, figure 2

    images → two 3×3 convolutions, the first with stride 2
           → four stages of blocks, each at half the size → average → layer norm
           → dense layer with tanh → linear layer

A block is an inverted residual with squeeze and excitation, attention within windows,
and attention over a grid: among pixels at the same place of regularly spaced cells.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.layers.attention import attend, split_heads
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.norm import LayerNorm, batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.layers.windows import (
    index_constants,
    merge,
    partition,
    relative_position_index,
)
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import avg_pool, global_avg_pool

PAPER = "Tu et al. 2022, https://arxiv.org/abs/2204.01697"

init = nn.initializers.normal(0.02)
gelu = partial(jax.nn.gelu, approximate=False)


class MBConv(nn.Module):
    """The inverted residual block, with normalisation first and pooled shortcuts."""

    features: int
    strides: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    drop_path: nn.Module
    dtype: Any

    @nn.compact
    def __call__(self, x):
        conv_bn = partial(
            ConvNorm,
            4 * self.features,
            norm=self.norm,
            activation=gelu,
            dtype=self.dtype,
            kernel_init=init,
        )
        y = self.norm(name="layers.pre_norm")(x)
        y = conv_bn(1, name="layers.conv_a")(y)
        y = conv_bn(
            3, strides=self.strides, groups=4 * self.features, name="layers.conv_b"
        )(y)
        y = SqueezeExcite(
            self.features // 4,
            activation=nn.silu,
            name="layers.squeeze_excitation",
        )(y)
        y = self.conv(self.features, 1, name="layers.conv_c")(y)
        if self.strides != 1:
            x = avg_pool(x, 3, self.strides, padding=1, count_include_pad=True)
            x = self.conv(self.features, 1, name="proj.1")(x)
        return x + self.drop_path(y)


class PartitionAttention(nn.Module):
    """Attention and a perceptron among the pixels of windows, or of a grid."""

    heads: int
    window: int
    grid: bool
    drop_path: nn.Module
    dtype: Any

    @nn.compact
    def __call__(self, x):
        _, height, width, features = x.shape
        norm = partial(LayerNorm, epsilon=1e-5, dtype=self.dtype)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=init)

        # Windows of neighbouring pixels, or of one pixel from each cell of a grid.
        cell = (self.window, self.window)
        if self.grid:
            cell = (height // self.window, width // self.window)
        x = partition(x, *cell)
        x = x.swapaxes(1, 2) if self.grid else x

        y = norm(name="attn_layer.0")(x)
        qkv = dense(3 * features, name="attn_layer.1.to_qkv")(y)
        y = attend(
            *split_heads(qkv.reshape(-1, *qkv.shape[2:]), self.heads),
            bias=self.position_bias(),
            # By the features of all heads; other networks scale by those of one.
            scale=features**-0.5,
        ).reshape(x.shape)
        x = x + self.drop_path(dense(features, name="attn_layer.1.merge")(y))
        y = norm(name="mlp_layer.0")(x)
        y = gelu(dense(4 * features, name="mlp_layer.1")(y))
        x = x + self.drop_path(dense(features, name="mlp_layer.3")(y))

        x = x.swapaxes(1, 2) if self.grid else x
        return merge(x, *cell, (height, width))

    def position_bias(self):
        """[1,heads,P,P]: learned for each offset of two pixels of a window."""
        table = self.param(
            "attn_layer.1.relative_position_bias_table",
            nn.initializers.truncated_normal(0.02),
            ((2 * self.window - 1) ** 2, self.heads),
        )
        return table[relative_position_index(self.window)].transpose(2, 0, 1)[None]


class MaxViTBlock(nn.Module):
    """Convolution, attention within windows, attention over a grid."""

    features: int
    strides: int
    window: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    drop_path: nn.Module
    dtype: Any

    @nn.compact
    def __call__(self, x):
        x = MBConv(
            self.features,
            self.strides,
            self.conv,
            self.norm,
            self.drop_path,
            self.dtype,
            name="layers.MBconv",
        )(x)
        attention = partial(
            PartitionAttention,
            self.features // 32,
            self.window,
            drop_path=self.drop_path,
            dtype=self.dtype,
        )
        x = attention(grid=False, name="layers.window_attention")(x)
        return attention(grid=True, name="layers.grid_attention")(x)


class MaxViT(nn.Module):
    """Outputs: `stem`, `stage1` … `stage4`, `pre_logits`, `logits`.

    Height and width are multiples of 32 windows' sides: 224, 448, …
    """

    depths: Sequence[int]
    """Blocks in each stage."""
    features: Sequence[int]
    """Channels of the stem and of each stage."""
    window: int = 7
    """Pixels along the side of a window, and cells along the side of the grid."""
    num_classes: int = 1000
    stochastic_depth: float = 0.2
    """The rate at the last block, to which it grows from 0."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    no_weight_decay = ("relative_position_bias_table",)

    @nn.compact
    def __call__(self, images, *, train: bool):
        multiple = 32 * self.window
        height, width = images.shape[1:3]
        check(
            (
                height % multiple == width % multiple == 0,
                f"images of {height}×{width} cannot be cut into windows of "
                f"{self.window}×{self.window} at every stage: resize them to "
                f"multiples of {multiple}",
            )
        )
        conv = partial(Conv, padding=0, dtype=self.dtype, kernel_init=init)
        norm = batch_norm(train=train, dtype=self.dtype, momentum=0.99, epsilon=1e-3)
        make_block = nn.remat(MaxViTBlock) if self.remat else MaxViTBlock

        stem, *stages = self.features
        x = ConvNorm(
            stem,
            strides=2,
            norm=norm,
            activation=gelu,
            dtype=self.dtype,
            kernel_init=init,
            name="stem.0",
        )(images)
        x = conv(stem, 3, padding=1, name="stem.1.0")(x)
        outputs, blocks, total = {"stem": x}, 0, sum(self.depths)
        for stage, (depth, features) in enumerate(
            zip(self.depths, stages, strict=True)
        ):
            for block in range(depth):
                rate = self.stochastic_depth * blocks / (total - 1)
                x = make_block(
                    features,
                    2 if block == 0 else 1,
                    self.window,
                    conv,
                    norm,
                    StochasticDepth(rate, deterministic=not train),
                    self.dtype,
                    name=f"blocks.{stage}.layers.{block}",
                )(x)
                blocks += 1
            outputs[f"stage{stage + 1}"] = x
        x = LayerNorm(epsilon=1e-5, dtype=self.dtype, name="classifier.2")(
            global_avg_pool(x)
        )
        x = nn.Dense(
            x.shape[-1], dtype=self.dtype, kernel_init=init, name="classifier.3"
        )(x)
        return classify(
            outputs,
            jnp.tanh(x),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="classifier.5",
            kernel_init=init,
            use_bias=False,
        )


VARIANTS = {
    "maxvit_t": Variant(
        partial(MaxViT, depths=(2, 2, 5, 2), features=(64, 64, 128, 256, 512)),
        PAPER,
        constants=partial(
            index_constants,
            size=7,
            beside="relative_position_bias_table",
            flat=False,
        ),
    )
}
