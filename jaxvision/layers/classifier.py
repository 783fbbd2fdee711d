"""The last layers of a classifier: from features to named class scores."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array

_lecun_normal = nn.initializers.lecun_normal()


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
