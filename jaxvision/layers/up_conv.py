"""The up-convolution of decoders: twice the size, another number of channels."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops.upsample import conv_transpose_2x2

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
