"""Vision transformer.  Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929

images → patches, each a token by a linear layer → a class token before them
       → position embeddings added → encoder blocks → layer norm
       → the class token → linear layer

`vit_s16_plain` is that of Beyer et al. 2022, https://arxiv.org/abs/2205.01580, for
training on ImageNet alone: positions are fixed, and the mean of all tokens is
classified, by a perceptron.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.layers.attention import attend, split_heads
from jaxvision.layers.classifier import classify
from jaxvision.layers.conv import Conv
from jaxvision.layers.imagenet import HALVES
from jaxvision.layers.norm import LayerNorm
from jaxvision.models.variant import Variant

PAPER = "Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929"
PAPER_PLAIN = "Beyer et al. 2022, https://arxiv.org/abs/2205.01580"

layer_norm = partial(LayerNorm, epsilon=1e-6)
xavier = nn.initializers.xavier_uniform()


class EncoderBlock(nn.Module):
    """Attention and a perceptron, each on a normalised input beside a shortcut."""

    heads: int
    hidden: int
    """Units of the perceptron."""
    dropout: Callable[[jax.Array], jax.Array]
    dtype: Any

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        norm = partial(layer_norm, dtype=self.dtype)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=xavier)

        y = norm(name="ln_1")(x)
        qkv = dense(3 * features, name="self_attention.in_proj")(y)
        y = attend(*split_heads(qkv, self.heads))
        y = dense(features, name="self_attention.out_proj")(y)
        x = x + self.dropout(y)

        y = norm(name="ln_2")(x)
        y = jax.nn.gelu(dense(self.hidden, name="mlp.0")(y), approximate=False)
        y = dense(features, name="mlp.3")(self.dropout(y))
        return x + self.dropout(y)


class ViT(nn.Module):
    """Outputs: `stage1` … `stage4`, the patches' tokens as maps [B,h,w,D] after each
    quarter of the blocks, `pre_logits` [B,D], `logits`.

    Height and width are multiples of the patch size.  Position embeddings belong to
    the size of the images that the model is initialised with; `pretrained.load`
    resamples them for another `input_shape`.
    """

    patch: int
    """Pixels along the side of a patch."""
    depth: int
    """Encoder blocks."""
    heads: int
    features: int
    hidden: int
    """Units of the perceptrons."""
    num_classes: int = 1000
    dropout: float = 0.0
    """Rate after every linear layer and of the embeddings; 0.1 where the paper trains
    on ImageNet alone."""
    positions: Literal["learned", "sincos"] = "learned"
    """Position embeddings: parameters, or `sincos_positions`."""
    pooling: Literal["token", "mean"] = "token"
    """What is classified: a token of its own, or the mean of the patches' tokens."""
    representation_size: int | None = None
    """Units, with tanh, between that and the linear layer; None: there are none."""
    remat: bool = False
    """Whether training computes the inside of blocks twice, to save memory."""
    dtype: Any = jnp.float32

    no_weight_decay = ("pos_embedding", "class_token")

    @nn.compact
    def __call__(self, images, *, train: bool):
        batch, height, width, _ = images.shape
        check(
            (
                height % self.patch == width % self.patch == 0,
                f"images of {height}×{width} cannot be cut into patches of "
                f"{self.patch}×{self.patch}: resize or crop them to a multiple",
            )
        )
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        block: Callable = nn.remat(EncoderBlock) if self.remat else EncoderBlock

        patches = Conv(
            self.features,
            self.patch,
            strides=self.patch,
            padding="VALID",
            dtype=self.dtype,
            kernel_init=nn.initializers.lecun_normal(),
            name="conv_proj",
        )(images)
        rows, columns = patches.shape[1:3]
        x = patches.reshape(batch, rows * columns, self.features)
        own_tokens = 1 if self.pooling == "token" else 0
        if own_tokens:
            class_token = self.param(
                "class_token", nn.initializers.zeros, (1, 1, self.features)
            )
            class_token = jnp.broadcast_to(class_token, (batch, 1, self.features))
            x = jnp.concatenate([class_token.astype(self.dtype), x], 1)
        if self.positions == "sincos":
            fixed = sincos_positions(rows, columns, self.features)
            positions = jnp.pad(fixed, ((own_tokens, 0), (0, 0)))[None]
        else:
            positions = self.param(
                "encoder.pos_embedding",
                nn.initializers.normal(0.02),
                (1, x.shape[1], self.features),
            )
        x = dropout(x + positions.astype(self.dtype))
        outputs: dict[str, jax.Array] = {}
        for i in range(self.depth):
            name = f"encoder.layers.encoder_layer_{i}"
            x = block(self.heads, self.hidden, dropout, self.dtype, name=name)(x)
            if 4 * (i + 1) // self.depth > 4 * i // self.depth:
                maps = x[:, own_tokens:].reshape(batch, rows, columns, self.features)
                outputs[f"stage{len(outputs) + 1}"] = maps
        x = layer_norm(dtype=self.dtype, name="encoder.ln")(x)
        x = x[:, 0] if own_tokens else x.mean(1)
        if self.representation_size is not None:
            hidden = nn.Dense(
                self.representation_size, dtype=self.dtype, name="heads.pre_logits"
            )
            x = jnp.tanh(hidden(x))
        return classify(
            outputs,
            x,
            self.num_classes,
            train=train,
            dtype=self.dtype,
            name="heads.head",
            kernel_init=nn.initializers.zeros,
        )


def sincos_positions(rows: int, columns: int, features: int) -> jax.Array:
    """[rows·columns,features]: sines and cosines of x, then of y, at features/4
    frequencies from 1 down to 1/10,000, as in Beyer et al. 2022.

    Raises `UsageError` unless the number of features is a multiple of four, above four.
    """
    check(
        (
            features % 4 == 0 and features > 4,
            f"sincos positions need 4n features, 8 or more, got {features}",
        )
    )
    frequencies = 10_000.0 ** -jnp.linspace(0, 1, features // 4)
    y, x = jnp.indices((rows, columns), jnp.float32).reshape(2, -1, 1)
    y, x = y * frequencies[None], x * frequencies[None]
    return jnp.concatenate([jnp.sin(x), jnp.cos(x), jnp.sin(y), jnp.cos(y)], 1)


_TORCHVISION = ((r"in_proj\.", "in_proj_"),)
_TIMM = (
    (r"^class_token", "cls_token"),
    (r"^encoder\.pos_embedding", "pos_embed"),
    (r"^conv_proj", "patch_embed.proj"),
    (r"^encoder\.layers\.encoder_layer_", "blocks."),
    (r"ln_([12])", r"norm\1"),
    (r"self_attention\.in_proj", "attn.qkv"),
    (r"self_attention\.out_proj", "attn.proj"),
    (r"mlp\.0", "mlp.fc1"),
    (r"mlp\.3", "mlp.fc2"),
    (r"^encoder\.ln", "norm"),
    (r"^heads\.head", "head"),
)

VARIANTS = {
    name: Variant(
        partial(
            ViT,
            patch=patch,
            depth=depth,
            heads=heads,
            features=features,
            hidden=4 * features,
        ),
        PAPER,
        (size, size, 3),
        sources={"timm": _TIMM, "torchvision": _TORCHVISION}
        if "patch" in name
        else {"torchvision": _TORCHVISION, "timm": _TIMM},
        normalisation=HALVES if "patch" in name else None,
    )
    for name, patch, depth, heads, features, size in (
        ("vit_tiny_patch16_224", 16, 12, 3, 192, 224),
        ("vit_small_patch16_224", 16, 12, 6, 384, 224),
        ("vit_small_patch32_224", 32, 12, 6, 384, 224),
        ("vit_b_16", 16, 12, 12, 768, 224),
        ("vit_b_32", 32, 12, 12, 768, 224),
        ("vit_l_16", 16, 24, 16, 1024, 224),
        ("vit_l_32", 32, 24, 16, 1024, 224),
        ("vit_h_14", 14, 32, 16, 1280, 224),
    )
}
VARIANTS["vit_s16_plain"] = Variant(
    partial(
        ViT,
        patch=16,
        depth=12,
        heads=6,
        features=384,
        hidden=4 * 384,
        positions="sincos",
        pooling="mean",
        representation_size=384,
    ),
    PAPER_PLAIN,
    sources={"jaxvision": _TORCHVISION},
    normalisation=HALVES,
)
