"""Up-convolutions of decoders: larger maps, with another number of channels."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

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
    """[B,H,W,C] -> [B,h,w,features], the transposed convolution of `ops.upsample`.

    `kernel` is [K,K,features,C], with the inputs last as in PyTorch's weights.
    """

    features: int
    strides: int = 2
    kernel_size: int | None = None
    """K; None: twice the strides."""
    padding: int | None = None
    """Rows and columns that are cut off on all sides; None: so many that maps become
    `strides` times as large."""
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.variance_scaling(
        1.0, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2
    )

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = self.kernel_size or 2 * self.strides
        shape = (size, size, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        y = conv_transpose(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=self.strides,
            padding=self.padding,
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)[None, None, None, :]
        return y


def bilinear(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32):
    """Initial kernels [k,k,C,C] of `ConvTranspose` that interpolate between pixels.

    For maps that become f times as large k is 2f, or 2f - 1, whose centre is a pixel.
    (Long et al. 2015, section 3.3.)
    """
    del key
    size, *_, channels = shape
    factor = (size + 1) // 2
    distance = np.abs(np.arange(size) - (size - 1) / 2) / factor
    triangle = 1 - distance
    kernel = np.einsum("u,v,oc->uvoc", triangle, triangle, np.eye(channels))
    return jnp.asarray(kernel, dtype)
