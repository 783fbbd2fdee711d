"""Convolution, normalisation, activation: the unit of most networks since 2015."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import BatchNorm, batch_norm
from jaxvision.ops.activation import relu
from jaxvision.ops.convolution import Padding, Pair, pair

Array = jax.Array

he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv_norm(
    x: Array,
    features: int,
    kernel_size: Pair = 3,
    *,
    names: tuple[str, str],
    strides: int = 1,
    padding: Padding | None = None,
    dilation: int = 1,
    groups: int = 1,
    norm: Callable[..., nn.Module] = BatchNorm,
    activation: Callable[[Array], Array] | None = relu,
    dtype: Any = jnp.float32,
    kernel_init: Callable[..., Array] = he_fan_out,
) -> Array:
    """[B,H,W,C] -> [B,H',W',features], by two layers called `names`.

    `padding=None` pads both sides by half the (dilated) kernel, so that only strides
    change the size of the map.  `activation=None` leaves the output linear.
    """
    if padding is None:
        halves = [k // 2 * dilation for k in pair("kernel_size", kernel_size)]
        padding = [(half, half) for half in halves]
    x = Conv(
        features,
        kernel_size,
        strides,
        padding,
        dilation,
        groups=groups,
        use_bias=False,
        dtype=dtype,
        kernel_init=kernel_init,
        name=names[0],
    )(x)
    x = norm(name=names[1])(x)
    return x if activation is None else activation(x)


def conv_norm_by_group(
    x: Array, features: int, kernel_size: Pair = 3, *, groups: int = 1, **options: Any
) -> Array:
    """`conv_norm` whose kernels are drawn for the outputs of one group.

    So do TensorFlow and timm, where torchvision, and `conv_norm`, count those of all
    groups.  A depthwise convolution of C channels then has maps with C times the
    variance, which matters to running averages that move slowly: what is left of their
    first value, 1, must be small beside it.
    """
    init = nn.initializers.variance_scaling(2.0 * groups, "fan_out", "normal")
    return conv_norm(
        x, features, kernel_size, groups=groups, kernel_init=init, **options
    )


class ConvNorm(nn.Module):
    """`conv_norm` as a module of its own, which contains the two layers."""

    features: int
    kernel_size: Pair = 3
    strides: int = 1
    padding: Padding | None = None
    dilation: int = 1
    groups: int = 1
    norm: Callable[..., nn.Module] = BatchNorm
    activation: Callable[[Array], Array] | None = relu
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Array] = he_fan_out
    names: tuple[str, str] = ("0", "1")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return conv_norm(
            x,
            self.features,
            self.kernel_size,
            names=self.names,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            norm=self.norm,
            activation=self.activation,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
        )


def basic_conv(*, train: bool, dtype: Any = jnp.float32):
    """`ConvNorm` with the settings and layer names of the Inception networks."""
    return partial(
        ConvNorm,
        norm=batch_norm(train=train, dtype=dtype, epsilon=1e-3),
        dtype=dtype,
        kernel_init=nn.initializers.truncated_normal(0.1),
        names=("conv", "bn"),
    )
