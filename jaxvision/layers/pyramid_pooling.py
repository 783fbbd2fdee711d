"""Pyramid pooling.  Zhao et al. 2017, https://arxiv.org/abs/1612.01105, figure 3"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import adaptive_avg_pool
from jaxvision.ops.upsample import resize

Array = jax.Array


class PyramidPooling(nn.Module):
    """[B,H,W,C] -> [B,H,W,C + len(sizes)·⌊C/len(sizes)⌋], the map itself being last.

    For each of `sizes` the map is averaged to so many rows and columns, goes through a
    1×1 convolution with normalisation and rectifier, and is enlarged again, with the
    corners on the corners.
    """

    norm: Callable[..., nn.Module]
    sizes: Sequence[int] = (1, 2, 3, 6)
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Array] = nn.initializers.he_uniform()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size, features = x.shape[1:3], x.shape[-1] // len(self.sizes)
        shared: dict[str, Any] = dict(dtype=self.dtype, kernel_init=self.kernel_init)
        branches = []
        for i, side in enumerate(self.sizes):
            pooled, name = adaptive_avg_pool(x, side), f"blocks.{i}.pool.1"
            if side == 1:  # a mean has too few values for a normalisation
                pooled = relu(Conv(features, 1, name=f"{name}.0", **shared)(pooled))
            else:
                pooled = ConvNorm(features, 1, norm=self.norm, **shared, name=name)(
                    pooled
                )
            branches.append(resize(pooled, size, align_corners=True))
        return jnp.concatenate([*branches, x], axis=-1)
