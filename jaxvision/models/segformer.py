"""SegFormer and its encoder, the Mix Transformer.  Xie et al. 2021,
https://arxiv.org/abs/2105.15203

    images → overlapping patches of 7×7 with strides of 4 → four stages of blocks;
             before each further one overlapping patches of 3×3 with strides of 2
           → each stage's map by a linear layer, brought to the size of the first
           → a 1×1 convolution of all four → scores of stride 4 → of every pixel

A position attends to a map that is reduced by a convolution, and there are no position
embeddings: a depthwise convolution within the perceptrons tells where one is, so that
images may have any size.  `mit_b0` and so on are the encoders as classifiers of images.
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
from jaxvision.layers.conv_norm import conv_norm, he_fan_out
from jaxvision.layers.norm import LayerNorm, batch_norm
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


def encode(
    images: jax.Array,
    depths: Sequence[int],
    features: Sequence[int],
    *,
    train: bool,
    stochastic_depth: float,
    remat: bool,
    dtype: Any,
) -> dict[str, jax.Array]:
    """`stage1` … `stage4`, normalised maps of strides 4, 8, 16 and 32.

    The layers, called `segformer.encoder.…`, belong to the module that calls it.
    """
    make_block: Callable = nn.remat(Block) if remat else Block
    rate = stochastic_depth / max(sum(depths) - 1, 1)
    outputs: dict[str, jax.Array] = {}
    x, blocks = images, 0
    for stage, (depth, width) in enumerate(zip(depths, features, strict=True)):
        size, strides = (7, 4) if stage == 0 else (3, 2)
        x = Conv(
            width,
            size,
            strides=strides,
            padding=size // 2,
            dtype=dtype,
            kernel_init=he_fan_out,
            name=f"segformer.encoder.patch_embeddings.{stage}.proj",
        )(x)
        name = f"segformer.encoder.patch_embeddings.{stage}.layer_norm"
        x = layer_norm(dtype=dtype, name=name)(x)
        for block in range(depth):
            x = make_block(
                HEADS[stage],
                REDUCTIONS[stage],
                StochasticDepth(rate * blocks, deterministic=not train),
                dtype,
                name=f"segformer.encoder.block.{stage}.{block}",
            )(x)
            blocks += 1
        name = f"segformer.encoder.layer_norm.{stage}"
        x = outputs[f"stage{stage + 1}"] = layer_norm(dtype=dtype, name=name)(x)
    return outputs


class MixTransformer(nn.Module):
    """Outputs: `stage1` … `stage4`, `pre_logits`, `logits`.

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
        outputs = encode(
            images,
            self.depths,
            self.features,
            train=train,
            stochastic_depth=self.stochastic_depth,
            remat=self.remat,
            dtype=self.dtype,
        )
        return classify(
            outputs,
            global_avg_pool(outputs["stage4"]),
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="classifier",
        )


class SegFormer(nn.Module):
    """Outputs: `stage1` … `stage4`, `fused` [B,h,w,decoder] and `scores`
    [B,h,w,num_classes] of stride 4, and `logits` [B,H,W,num_classes], float32: the
    scores between whose positions is interpolated.

    Images of at least 29×29 pixels, so that the first stage has a map to attend to.
    """

    depths: Sequence[int]
    """Blocks in each stage."""
    features: Sequence[int]
    """Channels of each stage."""
    decoder: int
    """Channels of the decoder."""
    num_classes: int = 150
    dropout: float = 0.1
    """Rate before the scores."""
    stochastic_depth: float = 0.1
    """The rate at the last block, to which it grows from 0."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = encode(
            images,
            self.depths,
            self.features,
            train=train,
            stochastic_depth=self.stochastic_depth,
            remat=self.remat,
            dtype=self.dtype,
        )
        if not self.num_classes:
            return outputs
        size = outputs["stage1"].shape[1:3]
        maps = [
            _resized(
                dense(
                    self.decoder,
                    dtype=self.dtype,
                    name=f"decode_head.linear_c.{stage}.proj",
                )(x),
                size,
            )
            for stage, x in enumerate(outputs.values())
        ]
        x = conv_norm(
            jnp.concatenate(maps[::-1], axis=-1),
            self.decoder,
            1,
            names=("decode_head.linear_fuse", "decode_head.batch_norm"),
            norm=batch_norm(train=train, dtype=self.dtype),
            dtype=self.dtype,
        )
        dropped = nn.Dropout(self.dropout, deterministic=not train)
        classifier = Conv(
            self.num_classes, 1, dtype=self.dtype, name="decode_head.classifier"
        )
        scores = classifier(dropped(x)).astype(jnp.float32)
        logits = _resized(scores, images.shape[1:3])
        return {**outputs, "fused": x, "scores": scores, "logits": logits}


def _resized(maps: jax.Array, size: Sequence[int]) -> jax.Array:
    """[B,H,W,C] -> [B,*size,C] of at least the same size, by interpolation."""
    batch, *_, channels = maps.shape
    return jax.image.resize(maps, (batch, *size, channels), "bilinear")


SIZES = {
    "b0": ((2, 2, 2, 2), (32, 64, 160, 256), 256),
    "b1": ((2, 2, 2, 2), (64, 128, 320, 512), 256),
    "b2": ((3, 4, 6, 3), (64, 128, 320, 512), 768),
}
"""Depths, channels of the stages, channels of the decoder."""

SOURCES = {"transformers": ()}

VARIANTS = {
    f"segformer_{size}": Variant(
        partial(SegFormer, depths=depths, features=features, decoder=decoder),
        PAPER,
        (512, 512, 3),
        SOURCES,
    )
    for size, (depths, features, decoder) in SIZES.items()
} | {
    f"mit_{size}": Variant(
        partial(MixTransformer, depths=depths, features=features),
        PAPER,
        sources=SOURCES,
    )
    for size, (depths, features, _) in SIZES.items()
}
