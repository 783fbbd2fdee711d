"""DETR: a set of objects, each found by a query of its own.

    images → encoder → its map at 1/32 of the image's size, a token for each place
           → layers that attend to all places
           → layers in which learned queries attend to each other and to the places
           → after each of these a box and scores of the classes for every query

Carion et al. 2020, https://arxiv.org/abs/2005.12872, figures 2 and 10.  What matching,
losses and decoding are is said by `tasks.detr`.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.layers.attention import attend
from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import LayerNorm
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import Rules, Variant
from jaxvision.ops.activation import relu

Array = jax.Array

xavier = nn.initializers.xavier_uniform()


class Projection(nn.Module):
    """Linear layers of what becomes queries, keys and values, in one array of weights.

    `([B,N,D], [B,M,D], [B,M,D]) -> [B,N+M+M,D]`, in this order.
    """

    dtype: Any

    @nn.compact
    def __call__(self, *inputs: Array) -> Array:
        features = inputs[0].shape[-1]
        shape = (features, len(inputs) * features)
        kernel = self.param("kernel", xavier, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[1:]).astype(self.dtype)
        projected = [
            jnp.matmul(x.astype(self.dtype), weights) + offset[None, None]
            for x, weights, offset in zip(
                inputs,
                jnp.split(kernel, len(inputs), axis=1),
                jnp.split(bias, len(inputs)),
                strict=True,
            )
        ]
        return jnp.concatenate(projected, axis=1)


class Attention(nn.Module):
    """What `queries` [B,N,D] find in `values` [B,M,D] by their `keys` [B,M,D]: [B,N,D].

    Its names are those of PyTorch's `MultiheadAttention`.
    """

    heads: int
    dtype: Any

    @nn.compact
    def __call__(self, queries: Array, keys: Array, values: Array) -> Array:
        batch, count, features = queries.shape
        ends = (count, count + keys.shape[1])
        y = Projection(self.dtype, name="in_proj")(queries, keys, values)
        y = y.reshape(batch, -1, self.heads, features // self.heads)
        y = attend(*jnp.split(y, ends, axis=1))
        dense = partial(nn.Dense, features, dtype=self.dtype, kernel_init=xavier)
        return dense(name="out_proj")(y)


class Layer(nn.Module):
    """A layer of the transformer, normalised after each of its parts.

    `x` [B,N,D] attends to itself and then, if there is one, to a memory [B,M,D], which
    `seen` has with its positions.  Positions, which broadcast to what has them, are
    added to queries and keys alone.
    """

    heads: int
    hidden: int
    """Units of the perceptron."""
    dropout: nn.Module
    dtype: Any

    @nn.compact
    def __call__(
        self,
        x: Array,
        positions: Array,
        seen: tuple[Array, Array] | None = None,
    ) -> Array:
        attention = partial(Attention, self.heads, self.dtype)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=xavier)
        placed = x + positions
        y = attention(name="self_attn")(placed, placed, x)
        x = self._after("norm1", x, y)
        if seen is not None:
            memory, places = seen
            y = attention(name="multihead_attn")(x + positions, memory + places, memory)
            x = self._after("norm2", x, y)
        y = self.dropout(relu(dense(self.hidden, name="linear1")(x)))
        y = dense(x.shape[-1], name="linear2")(y)
        return self._after("norm3" if seen else "norm2", x, y)

    def _after(self, norm: str, x: Array, y: Array) -> Array:
        return layer_norm(dtype=self.dtype, name=norm)(x + self.dropout(y))


layer_norm = partial(LayerNorm, epsilon=1e-5)


class DETR(OnEncoder):
    """Outputs: the encoder's map of 1/32 of the image's size by its name, `memory`
    [B,H/32,W/32,features], what the queries look at, and float32 `box_codes` [B,A,4],
    logits of the centre's x and y, the width and the height as shares of the image, and
    `class_logits` [B,A,num_classes], of which the last is that there is no object.  The
    A are the queries after the first layer that they go through, then those after the
    second, and so on; what is found are those after the last.

    Any image size.  Images are whole: no part of them is marked as padding.
    """

    encoder: Encoder = "resnet50"
    num_classes: int = 92
    """As many as COCO's numbers, the first of which is not used, and no object; 0:
    there are no queries."""
    features: int = 256
    """Of a token; a multiple of twice the `heads`."""
    heads: int = 8
    hidden: int = 2048
    """Units of the perceptrons."""
    encoder_layers: int = 6
    decoder_layers: int = 6
    queries: int = 100
    """The most objects that are found in an image."""
    dropout: float = 0.1
    """Rate after each part of a layer and in its perceptron.  The release also drops
    weights of the attention."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        check(
            (
                self.features % (2 * self.heads) == 0,
                f"features must be a multiple of twice the {self.heads} heads, got "
                f"{self.features}",
            )
        )
        outputs = self._encode(images, (32,), train=train)
        (x,) = outputs.values()
        batch, rows, columns, _ = x.shape
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        layer = partial(Layer, self.heads, self.hidden, dropout, self.dtype)
        x = Conv(self.features, 1, dtype=self.dtype, name="input_proj")(x)
        x = x.reshape(batch, rows * columns, self.features)
        places = jnp.asarray(positions(rows, columns, self.features), self.dtype)[None]
        for i in range(self.encoder_layers):
            x = layer(name=f"transformer.encoder.layers.{i}")(x, places)
        outputs["memory"] = x.reshape(batch, rows, columns, self.features)
        if not self.num_classes:
            return outputs
        queries = self.param(
            "query_embed.weight",
            nn.initializers.normal(1.0),
            (self.queries, self.features),
        ).astype(self.dtype)[None]
        norm = layer_norm(dtype=self.dtype, name="transformer.decoder.norm")
        y, found = jnp.zeros((batch, *queries.shape[1:]), self.dtype), []
        for i in range(self.decoder_layers):
            name = f"transformer.decoder.layers.{i}"
            y = layer(name=name)(y, queries, (x, places))
            found.append(norm(y))
        seen = jnp.concatenate(found, axis=1)
        dense = partial(nn.Dense, dtype=self.dtype)
        y = seen
        for i in range(2):
            y = relu(dense(self.features, name=f"bbox_embed.layers.{i}")(y))
        codes = dense(4, name="bbox_embed.layers.2")(y)
        scores = dense(self.num_classes, name="class_embed")(seen)
        outputs["box_codes"] = codes.astype(jnp.float32)
        outputs["class_logits"] = scores.astype(jnp.float32)
        return outputs


def positions(rows: int, columns: int, features: int) -> np.ndarray:
    """float32 [rows·columns,features]: sines and cosines of the row and of the column.

    Both are counted from 1 and as a share of all, which are a whole turn of the fastest
    wave.  Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5, in two
    dimensions.
    """
    half = features // 2
    slowness = 10000 ** (2 * (np.arange(half) // 2) / half)

    def along(count: int) -> np.ndarray:
        angles = 2 * math.pi * np.arange(1, count + 1) / (count + 1e-6)
        angles = angles[:, None] / slowness
        return np.where(np.arange(half) % 2 == 0, np.sin(angles), np.cos(angles))

    of_rows = np.repeat(along(rows), columns, axis=0)
    of_columns = np.tile(along(columns), (rows, 1))
    return np.concatenate([of_rows, of_columns], axis=1).astype(np.float32)


PAPER = "Carion et al. 2020, https://arxiv.org/abs/2005.12872"

RELEASE: Mapping[str, Rules] = {
    "DETR": (
        (r"^backbone\.", "backbone.0.body."),
        (r"in_proj\.(weight|bias)$", r"in_proj_\1"),
    )
}
"""Files hold a dict whose `model` these are."""

VARIANTS = {"detr_resnet50": Variant(DETR, PAPER, (800, 800, 3), RELEASE)}
