"""Mix Transformer, the encoder of SegFormer.  Xie et al. 2021,
https://arxiv.org/abs/2105.15203, section 3.1

    images → overlapping patches of 7×7 with strides of 4 → four stages of blocks;
             before each further one overlapping patches of 3×3 with strides of 2
           → average → linear layer

A position attends to a map that is reduced by a convolution, and there are no position
embeddings: a depthwise convolution within the perceptrons tells where one is, so that
images may have any size.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.attention import attend
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.norm import LayerNorm
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.models.variant import Variant
from jaxvision.ops.pooling import global_avg_pool

PAPER = "Xie et al. 2021, https://arxiv.org/abs/2105.15203"

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
"""Of each stage: heads of attention, and the strides by which keys and values are
reduced."""

layer_norm = partial(LayerNorm, epsilon=1e-5)
dense = partial(nn.Dense, kernel_init=nn.initializers.truncated_normal(0.02))
depthwise_init = nn.initializers.normal(math.sqrt(2 / 9))


class Attention(nn.Module):
    """Attention of all positions to a reduced map, [B,H,W,C] (section 3.1)."""

    heads: int
    reduction: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        batch, *_, features = x.shape
        linear = partial(dense, features, dtype=self.dtype)

        def in_heads(maps):
            return maps.reshape(batch, -1, self.heads, features // self.heads)

        seen = x
        if self.reduction > 1:
            seen = Conv(
                features,
                self.reduction,
                strides=self.reduction,
                padding="VALID",
                dtype=self.dtype,
                kernel_init=he_fan_out,
                name="self.sr",
            )(seen)
            seen = layer_norm(dtype=self.dtype, name="self.layer_norm")(seen)
        q = in_heads(linear(name="self.query")(x))
        k = in_heads(linear(name="self.key")(seen))
        v = in_heads(linear(name="self.value")(seen))
        return linear(name="output.dense")(attend(q, k, v).reshape(x.shape))


class Perceptron(nn.Module):
    """Linear, depthwise 3×3, GELU, linear: "Mix-FFN"."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        y = dense(self.hidden, dtype=self.dtype, name="dense1")(x)
        y = Conv(
            self.hidden,
            3,
            padding=1,
            groups=self.hidden,
            dtype=self.dtype,
            kernel_init=depthwise_init,
            name="dwconv.dwconv",
        )(y)
        y = jax.nn.gelu(y, approximate=False)
        return dense(x.shape[-1], dtype=self.dtype, name="dense2")(y)


class Block(nn.Module):
    """Attention and a perceptron, each on a normalised input beside a shortcut."""

    heads: int
    reduction: int
    drop_path: Callable[[jax.Array], jax.Array]
    dtype: Any

    @nn.compact
    def __call__(self, x):
        norm = partial(layer_norm, dtype=self.dtype)
        attention = Attention(self.heads, self.reduction, self.dtype, name="attention")
        perceptron = Perceptron(4 * x.shape[-1], self.dtype, name="mlp")
        x = x + self.drop_path(attention(norm(name="layer_norm_1")(x)))
        return x + self.drop_path(perceptron(norm(name="layer_norm_2")(x)))


class MixTransformer(nn.Module):
    """Outputs: `stage1` … `stage4`, normalised maps of strides 4, 8, 16 and 32,
    `pre_logits`, `logits`.

    Images of at least 29×29 pixels, so that the first stage has a map to attend to.
    """

    depths: Sequence[int]
    """Blocks in each stage."""
    features: Sequence[int]
    """Channels of each stage."""
    num_classes: int = 1000
    stochastic_depth: float = 0.1
    """The rate at the last block, to which it grows from 0."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        make_block: Callable = nn.remat(Block) if self.remat else Block
        norm = partial(layer_norm, dtype=self.dtype)
        rate = self.stochastic_depth / max(sum(self.depths) - 1, 1)
        outputs: dict[str, jax.Array] = {}
        x, blocks = images, 0
        for stage, (depth, features) in enumerate(
            zip(self.depths, self.features, strict=True)
        ):
            size, strides = (7, 4) if stage == 0 else (3, 2)
            patches = f"segformer.encoder.patch_embeddings.{stage}"
            x = Conv(
                features,
                size,
                strides=strides,
                padding=size // 2,
                dtype=self.dtype,
                kernel_init=he_fan_out,
                name=f"{patches}.proj",
            )(x)
            x = norm(name=f"{patches}.layer_norm")(x)
            for block in range(depth):
                x = make_block(
                    HEADS[stage],
                    REDUCTIONS[stage],
                    StochasticDepth(rate * blocks, deterministic=not train),
                    self.dtype,
                    name=f"segformer.encoder.block.{stage}.{block}",
                )(x)
                blocks += 1
            x = norm(name=f"segformer.encoder.layer_norm.{stage}")(x)
            outputs[f"stage{stage + 1}"] = x
        return classify(
            outputs,
            global_avg_pool(x),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="classifier",
        )


VARIANTS = {
    f"mit_{size}": Variant(
        partial(MixTransformer, depths=depths, features=features),
        PAPER,
        sources={"transformers": ()},
    )
    for size, depths, features in (
        ("b0", (2, 2, 2, 2), (32, 64, 160, 256)),
        ("b1", (2, 2, 2, 2), (64, 128, 320, 512)),
        ("b2", (3, 4, 6, 3), (64, 128, 320, 512)),
    )
}
