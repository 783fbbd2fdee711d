"""Squeeze and excitation.  Hu et al. 2018, https://arxiv.org/abs/1709.01507"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax

from jaxvision.layers.conv import Conv
from jaxvision.ops.activation import relu

Array = jax.Array


class SqueezeExcite(nn.Module):
    """Multiply each channel by a gate in [0, 1], computed from the means of all.

    `features` is the number of hidden units, usually a fraction of the channels.
    """

    features: int
    activation: Callable[[Array], Array] = relu
    gate: Callable[[Array], Array] = nn.sigmoid

    @nn.compact
    def __call__(self, x_BxHxWxC: Array) -> Array:
        squeezed = x_BxHxWxC.mean((1, 2), keepdims=True)
        conv = partial(Conv, kernel_size=1, dtype=x_BxHxWxC.dtype)
        hidden = conv(self.features, name="fc1")(squeezed)
        gate = conv(x_BxHxWxC.shape[-1], name="fc2")(self.activation(hidden))
        return x_BxHxWxC * self.gate(gate)
