"""The convolution layer of every model: Linen parameters around `ops.conv2d`."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops.convolution import Padding, Pair, conv2d, pair

Array = jax.Array


class Conv(nn.Module):
    """2-D convolution, [B,H,W,C] -> [B,H',W',features].

    Parameters `kernel` [k,k,C/groups,features] and `bias` [features] are float32;
    the arithmetic is done in `dtype`.  With strides, `"SAME"` pads an even map more at
    its end than at its beginning, as TensorFlow does; networks of PyTorch pad alike on
    both sides, which is `padding=kernel_size // 2`.
    """

    features: int
    kernel_size: Pair = 3
    strides: Pair = 1
    padding: Padding = "SAME"
    dilation: Pair = 1
    groups: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Array] = nn.initializers.he_normal()
    bias_init: Callable[..., Array] = nn.initializers.zeros

    @nn.compact
    def __call__(self, images: Array) -> Array:
        kernel_size = pair("kernel_size", self.kernel_size)
        shape = (*kernel_size, images.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = conv2d(
            images.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
            y = y + bias.astype(self.dtype)[None, None, None, :]
        return y
