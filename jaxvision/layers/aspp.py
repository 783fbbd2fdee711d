"""Atrous spatial pyramid pooling: one map seen at several scales side by side.

Chen et al. 2017, https://arxiv.org/abs/1706.05587, section 3.3
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv_norm import ConvNorm
from jaxvision.layers.separable_conv import SeparableConvNorm

Array = jax.Array


class ASPP(nn.Module):
    """[B,H,W,C] -> [B,H,W,features].

    A 1×1 convolution, a 3×3 one for each rate of dilation, and the mean of the whole
    map, each with normalisation and rectifier, are concatenated and mixed by a 1×1
    convolution, after which training drops values.
    """

    norm: Callable[..., nn.Module]
    train: bool
    features: int = 256
    rates: Sequence[int] = (12, 24, 36)
    """Dilations.  Those of a map of stride 8; the paper halves them at 16."""
    separable: bool = False
    """Whether the dilated convolutions are depthwise separable ones: Chen et al. 2018,
    https://arxiv.org/abs/1802.02611."""
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        plain = partial(ConvNorm, self.features, norm=self.norm, dtype=self.dtype)
        dilated: Callable[..., nn.Module] = plain
        if self.separable:
            dilated = partial(
                SeparableConvNorm, self.features, norm=self.norm, dtype=self.dtype
            )
        branches = [plain(1, name="convs.0")(x)]
        for i, rate in enumerate(self.rates, 1):
            branches.append(dilated(dilation=rate, name=f"convs.{i}")(x))
        mean = plain(1, names=("1", "2"), name=f"convs.{len(branches)}")(
            x.mean((1, 2), keepdims=True)
        )
        branches.append(jnp.broadcast_to(mean, branches[0].shape))
        x = plain(1, name="project")(jnp.concatenate(branches, axis=-1))
        return nn.Dropout(self.dropout, deterministic=not self.train)(x)
