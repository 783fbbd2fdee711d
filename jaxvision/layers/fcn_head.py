"""The head of a fully convolutional network, which is also an auxiliary one."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.classifier import classify_pixels
from jaxvision.layers.conv_norm import conv_norm

Array = jax.Array


def fcn_head(
    outputs: dict[str, Array],
    x_BxhxwxC: Array,
    num_classes: int,
    size: Sequence[int],
    *,
    norm: Callable[..., nn.Module],
    train: bool,
    dtype: Any = jnp.float32,
    name: str,
    output: str = "logits",
) -> dict[str, Array]:
    """`outputs` with scores [B,*size,num_classes], by a 3×3 and a 1×1 convolution.

    Between them training drops a tenth of the values.
    """
    names = (f"{name}.0", f"{name}.1")
    channels = x_BxhxwxC.shape[-1]
    x = conv_norm(x_BxhxwxC, channels // 4, names=names, norm=norm, dtype=dtype)
    x = nn.Dropout(0.1, deterministic=not train)(x)
    return classify_pixels(
        outputs, x, num_classes, size, dtype=dtype, name=f"{name}.4", output=output
    )
