"""Squeeze and excitation.  Hu et al. 2018, https://arxiv.org/abs/1709.01507"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv

Array = jax.Array


class SqueezeExcite(nn.Module):
    """Weigh each channel by a gate in [0, 1] that all positions decide together.

    `features` is the number of hidden units, usually a fraction of the channels.
    """

    features: int
    activation: Callable[[Array], Array] = nn.relu
    gate: Callable[[Array], Array] = nn.sigmoid
    dtype: Any = jnp.float32
    names: tuple[str, str] = ("fc1", "fc2")

    @nn.compact
    def __call__(self, x_BxHxWxC: Array) -> Array:
        squeezed = x_BxHxWxC.mean((1, 2), keepdims=True)
        hidden = Conv(
            self.features, kernel_size=1, dtype=self.dtype, name=self.names[0]
        )(squeezed)
        gate = Conv(
            x_BxHxWxC.shape[-1], kernel_size=1, dtype=self.dtype, name=self.names[1]
        )(self.activation(hidden))
        return x_BxHxWxC * self.gate(gate)
