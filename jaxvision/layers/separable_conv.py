"""The depthwise separable convolution.  Chollet 2017, https://arxiv.org/abs/1610.02357"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.ops.activation import relu

Array = jax.Array


class SeparableConv(nn.Module):
    """[B,H,W,C] -> [B,H,W,features]: a 3×3 convolution of each channel, then a 1×1 one.

    There is neither a bias nor anything between the two.
    """

    features: int
    dilation: int = 1
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Array] = he_fan_out
    names: tuple[str, str] = ("0", "1")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = partial(
            Conv, use_bias=False, dtype=self.dtype, kernel_init=self.kernel_init
        )
        x = conv(
            x.shape[-1],
            padding=self.dilation,
            dilation=self.dilation,
            groups=x.shape[-1],
            name=self.names[0],
        )(x)
        return conv(self.features, 1, name=self.names[1])(x)


class SeparableConvNorm(nn.Module):
    """`SeparableConv`, normalisation and rectifier."""

    features: int
    norm: Callable[..., nn.Module]
    dilation: int = 1
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Array] = he_fan_out
    names: tuple[str, str] = ("0", "1")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = SeparableConv(
            self.features,
            self.dilation,
            self.dtype,
            self.kernel_init,
            name=self.names[0],
        )(x)
        return relu(self.norm(name=self.names[1])(x))
