"""The last layers of a network: from features to named class scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.ops.upsample import resize

Array = jax.Array

_lecun_normal = nn.initializers.lecun_normal()
_glorot_uniform = nn.initializers.glorot_uniform()


def classify(
    outputs: Mapping[str, Array],
    features_BxD: Array,
    num_classes: int,
    *,
    train: bool,
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    name: str,
    kernel_init: Callable[..., Array] = _lecun_normal,
    use_bias: bool = True,
) -> dict[str, Array]:
    """`outputs` with `pre_logits` [B,D] and, if there are classes, `logits` [B,K].

    The scores come from one linear layer called `name`, before which training drops
    features at the rate `dropout`; they are float32 whatever `dtype` is.
    """
    named = {**outputs, "pre_logits": features_BxD}
    if num_classes:
        x = nn.Dropout(dropout, deterministic=not train)(features_BxD)
        dense = nn.Dense(
            num_classes,
            use_bias=use_bias,
            dtype=dtype,
            kernel_init=kernel_init,
            name=name,
        )
        named["logits"] = dense(x).astype(jnp.float32)
    return named


def classify_pixels(
    outputs: Mapping[str, Array],
    features_BxhxwxC: Array,
    num_classes: int,
    size: Sequence[int],
    *,
    kernel_size: int = 1,
    align_corners: bool = False,
    dtype: Any = jnp.float32,
    name: str,
    output: str = "logits",
    kernel_init: Callable[..., Array] = _glorot_uniform,
) -> dict[str, Array]:
    """`outputs` with scores [B,*size,K] called `output`, if there are classes.

    They come from one convolution called `name`, and are resized bilinearly, as
    `ops.upsample.resize` does; they are float32 whatever `dtype` is.
    """
    if not num_classes:
        return dict(outputs)
    conv = Conv(
        num_classes, kernel_size, dtype=dtype, kernel_init=kernel_init, name=name
    )
    scores = conv(features_BxhxwxC).astype(jnp.float32)
    return {**outputs, output: resize(scores, size, align_corners=align_corners)}
