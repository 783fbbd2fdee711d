"""Swin transformer.  Liu et al. 2021, https://arxiv.org/abs/2103.14030, and
version 2, Liu et al. 2022, https://arxiv.org/abs/2111.09883

    images → patches of 4×4 → four stages of blocks; between them, four neighbours
             become one token with twice the features → average → linear layer

Attention stays within windows.  Every second block shifts them by half their size, so
that neighbouring windows exchange information.  Version 2 normalises after instead
of before, compares directions instead of dot products, and computes the bias of
relative positions by a small network.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.layers.attention import attend, split_heads
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import LayerNorm
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.layers.windows import (
    index_constants,
    merge,
    partition,
    relative_position_index,
)
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import global_avg_pool
from jaxvision.ops.space_to_depth import space_to_depth

PAPER = "Liu et al. 2021, https://arxiv.org/abs/2103.14030"
PAPER_V2 = "Liu et al. 2022, https://arxiv.org/abs/2111.09883"

init = nn.initializers.truncated_normal(0.02)


class WindowAttention(nn.Module):
    """Attention within windows of the map that is rolled by `shift`, [B,H,W,C]."""

    heads: int
    window: int
    shift: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        batch, height, width, features = x.shape
        window = self.window
        below, right = -height % window, -width % window
        x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
        size = (height + below, width + right)
        # Where one window covers the whole map, there is no neighbour.
        shifts = tuple(self.shift if n > window else 0 for n in size)
        x = jnp.roll(x, (-shifts[0], -shifts[1]), (1, 2))

        x = partition(x, window, window)
        windows, pixels = x.shape[1:3]
        x = x.reshape(batch * windows, pixels, features)
        bias = self.position_bias().astype(jnp.float32)
        if any(shifts):
            # Pixels that the rolling brought together do not see each other.
            bias = bias + _shift_mask(size, window, shifts)[:, None]
            bias = jnp.tile(bias, (batch, 1, 1, 1))
        x = self.attention(x, bias)
        x = nn.Dense(features, dtype=self.dtype, kernel_init=init, name="proj")(x)

        x = merge(x.reshape(batch, windows, pixels, features), window, window, size)
        x = jnp.roll(x, shifts, (1, 2))
        return x[:, :height, :width]

    def attention(self, x, bias):
        features = x.shape[-1]
        qkv = nn.Dense(3 * features, dtype=self.dtype, kernel_init=init, name="qkv")(x)
        return attend(*split_heads(qkv, self.heads), bias=bias)

    def position_bias(self):
        """[1,heads,P,P]: learned for each offset of two pixels of a window."""
        offsets = (2 * self.window - 1) ** 2
        table = self.param("relative_position_bias_table", init, (offsets, self.heads))
        return table[relative_position_index(self.window)].transpose(2, 0, 1)[None]


class WindowAttentionV2(WindowAttention):
    """Equation 2: the cosine of queries and keys, on a learned scale."""

    def attention(self, x, bias):
        features = x.shape[-1]
        qkv = UnbiasedKeys(features, dtype=self.dtype, name="qkv")(x)
        q, k, v = split_heads(qkv, self.heads)
        scale = self.param(
            "logit_scale", nn.initializers.constant(math.log(10)), (self.heads, 1, 1)
        )
        scale = jnp.exp(jnp.minimum(scale, math.log(100))).reshape(1, 1, -1, 1)
        q = (_unit(q) * scale).astype(self.dtype)
        return attend(q, _unit(k).astype(self.dtype), v, bias=bias, scale=1.0)

    def position_bias(self):
        """Section 3.3: from the logarithm of offsets, which larger windows share."""
        hidden = relu(nn.Dense(512, name="cpb_mlp.0")(_log_offsets(self.window)))
        table = nn.Dense(self.heads, use_bias=False, name="cpb_mlp.2")(hidden)
        table = table.reshape(-1, self.heads)
        bias = table[relative_position_index(self.window)].transpose(2, 0, 1)[None]
        return 16 * nn.sigmoid(bias)


class UnbiasedKeys(nn.Module):
    """A dense layer to queries, keys and values, without a bias of the keys."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        total = 3 * self.features
        kernel = self.param("kernel", init, (x.shape[-1], total))
        bias = self.param("bias", nn.initializers.zeros, (total,))
        where = np.repeat(np.array([1, 0, 1], np.float32), self.features)
        bias = (bias * where).astype(self.dtype)
        return x @ kernel.astype(self.dtype) + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class Block(nn.Module):
    """Attention within windows and a perceptron, each beside a shortcut."""

    heads: int
    window: int
    shift: int
    version: int
    drop_path: nn.Module
    dropout: nn.Module
    dtype: Any

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        norm1, norm2 = (
            LayerNorm(epsilon=1e-5, dtype=self.dtype, name=f"norm{i}") for i in (1, 2)
        )
        kind = WindowAttention if self.version == 1 else WindowAttentionV2
        attention = kind(self.heads, self.window, self.shift, self.dtype, name="attn")

        dense = partial(
            nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform()
        )
        wide, narrow = dense(4 * features, name="mlp.0"), dense(features, name="mlp.3")

        def perceptron(y):
            y = self.dropout(jax.nn.gelu(wide(y), approximate=False))
            return self.dropout(narrow(y))

        if self.version == 1:
            x = x + self.drop_path(attention(norm1(x)))
            return x + self.drop_path(perceptron(norm2(x)))
        x = x + self.drop_path(norm1(attention(x)))
        return x + self.drop_path(norm2(perceptron(x)))


class PatchMerging(nn.Module):
    """[B,H,W,C] -> [B,H/2,W/2,2C]"""

    version: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        x = space_to_depth(x)
        norm = LayerNorm(epsilon=1e-5, dtype=self.dtype, name="norm")
        reduce = nn.Dense(
            2 * features,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=init,
            name="reduction",
        )
        return reduce(norm(x)) if self.version == 1 else norm(reduce(x))


class Swin(nn.Module):
    """Outputs: `stage1` … `stage4`, `pre_logits`, `logits`.

    Any image size: maps are padded to whole windows.
    """

    depths: Sequence[int]
    """Blocks in each stage."""
    features: int
    """Channels of the first stage."""
    heads: int
    """Heads in the first stage; the number doubles with the channels."""
    window: int
    """Pixels along the side of a window."""
    version: int
    num_classes: int = 1000
    dropout: float = 0.0
    stochastic_depth: float = 0.2
    """The rate at the last block, to which it grows from 0."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    no_weight_decay = ("relative_position_bias_table", "logit_scale", "cpb_mlp")

    @nn.compact
    def __call__(self, images, *, train: bool):
        norm = partial(LayerNorm, epsilon=1e-5, dtype=self.dtype)
        make_block = nn.remat(Block) if self.remat else Block

        x = Conv(
            self.features,
            4,
            strides=4,
            padding="VALID",
            dtype=self.dtype,
            kernel_init=nn.initializers.lecun_normal(),
            name="features.0.0",
        )(images)
        x = norm(name="features.0.2")(x)
        outputs: dict[str, jax.Array] = {}
        blocks, total = 0, sum(self.depths)
        for stage, depth in enumerate(self.depths):
            # In the published names the downsampling between stages counts, too.
            layer = f"features.{2 * stage + 1}"
            if stage > 0:
                x = PatchMerging(
                    self.version, self.dtype, name=f"features.{2 * stage}"
                )(x)
            for block in range(depth):
                rate = self.stochastic_depth * blocks / (total - 1)
                x = make_block(
                    self.heads * 2**stage,
                    self.window,
                    self.window // 2 if block % 2 else 0,
                    self.version,
                    StochasticDepth(rate, deterministic=not train),
                    nn.Dropout(self.dropout, deterministic=not train),
                    self.dtype,
                    name=f"{layer}.{block}",
                )(x)
                blocks += 1
            outputs[f"stage{stage + 1}"] = x
        x = global_avg_pool(norm(name="norm")(x))
        return classify(
            outputs,
            x,
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="head",
            kernel_init=init,
        )


def _shift_mask(size, window: int, shifts) -> np.ndarray:
    """float32 [windows,P,P]: -100 for two pixels that were apart before rolling."""
    rows, columns = (
        np.searchsorted([n - window, n - shift] if shift else [], range(n), "right")
        for n, shift in zip(size, shifts, strict=True)
    )
    regions = rows[:, None] * 3 + columns[None, :]
    regions = np.asarray(
        regions.reshape(size[0] // window, window, size[1] // window, window)
        .swapaxes(1, 2)
        .reshape(-1, window * window)
    )
    return np.where(regions[:, :, None] == regions[:, None, :], 0, -100.0).astype(
        np.float32
    )


def _log_offsets(window: int) -> np.ndarray:
    """float32 [1,2w-1,2w-1,2]: offsets of two pixels on a logarithmic scale (eq. 4)."""
    offsets = np.arange(1 - window, window, dtype=np.float32) * 8 / (window - 1)
    grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1)[None]
    return np.sign(grid) * np.log2(np.abs(grid) + 1) / 3


def _unit(x):
    x = x.astype(jnp.float32)
    length = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.maximum(length, 1e-12)


def _constants(state, *, window: int, version: int):
    """Tables that PyTorch keeps beside the weights of each attention layer."""
    beside = "relative_position_bias_table" if version == 1 else "logit_scale"
    constants = index_constants(state, window, beside=beside, flat=True)
    if version == 2:
        constants |= {
            key.removesuffix(beside) + "relative_coords_table": _log_offsets(window)
            for key in state
            if key.endswith("." + beside)
        }
    return constants


_TIMM = (
    (r"^features\.0\.0", "patch_embed.proj"),
    (r"^features\.0\.2", "patch_embed.norm"),
    (r"^features\.([246])\.", lambda m: f"layers.{int(m[1]) // 2}.downsample."),
    (r"^features\.([1357])\.", lambda m: f"layers.{int(m[1]) // 2}.blocks."),
    (r"\.mlp\.0", ".mlp.fc1"),
    (r"\.mlp\.3", ".mlp.fc2"),
    (r"^head\.", "head.fc."),
)

VARIANTS = {
    f"swin_{'v2_' * (version - 1)}{size[0]}": Variant(
        partial(
            Swin,
            depths=depths,
            features=features,
            heads=features // 32,
            window=window,
            version=version,
            stochastic_depth=stochastic,
        ),
        PAPER if version == 1 else PAPER_V2,
        (32 * window, 32 * window, 3),
        sources={"torchvision": (), "timm": _TIMM},
        # Version 1 has a table for each window, version 2 arrays like for any other.
        timm=f"swinv2_{size}_window8_256" if version == 2 else None,
        constants=partial(_constants, window=window, version=version),
    )
    for version, window in ((1, 7), (2, 8))
    for size, depths, features, stochastic in (
        ("tiny", (2, 2, 6, 2), 96, 0.2),
        ("small", (2, 2, 18, 2), 96, 0.3),
        ("base", (2, 2, 18, 2), 128, 0.5),
    )
}
