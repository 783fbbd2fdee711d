"""Up-convolutions of decoders: larger maps, with another number of channels."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops.upsample import conv_transpose, conv_transpose_2x2

_lecun_normal = nn.initializers.lecun_normal()


class UpConv(nn.Module):
    """[B,H,W,C] -> [B,2H,2W,features], by a transposed 2×2 convolution of stride 2."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = _lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (2, 2, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = conv_transpose_2x2(x.astype(self.dtype), kernel.astype(self.dtype))
        return y + bias.astype(self.dtype)[None, None, None, :]


class ConvTranspose(nn.Module):
    """[B,H,W,C] -> [B,s·H,s·W,features], by a transposed 2s×2s convolution of stride s.

    Its kernel is [2s,2s,features,C], with the inputs last as in PyTorch's weights.
    """

    features: int
    strides: int = 2
    """s, an even number."""
    dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.variance_scaling(
        1.0, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2
    )

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = 2 * self.strides
        shape = (size, size, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = conv_transpose(x.astype(self.dtype), kernel.astype(self.dtype))
        return y + bias.astype(self.dtype)[None, None, None, :]
