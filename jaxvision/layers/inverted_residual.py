"""The inverted residual block.  Sandler et al. 2018, https://arxiv.org/abs/1801.04381

    1×1 convolution (expansion) → depthwise convolution → squeeze and excitation, in
    some networks → 1×1 convolution without an activation (projection)

A shortcut joins both ends.  With squeeze and excitation it is also called MBConv.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

Array = jax.Array

Names = Callable[[str, int], tuple[str, str]]
"""`(role, place) -> names of the convolution and its normalisation`.

The role is `"expand"`, `"depthwise"`, `"squeeze"` or `"project"`; the place counts the
layers of the block from 0."""


def numbered(role: str, place: int) -> tuple[str, str]:
    """The names of torchvision, where each layer is a pair in a list called `block`."""
    layer = f"block.{place}"
    return (layer, "") if role == "squeeze" else (f"{layer}.0", f"{layer}.1")


class InvertedResidual(nn.Module):
    """[B,H,W,C] -> [B,H/strides,W/strides,features]."""

    features: int
    expanded_channels: int
    """Of the depthwise convolution; if the input has as many, nothing expands it."""
    conv_norm: Callable[..., Array]
    """`layers.conv_norm` with what is common to all layers of the network."""
    kernel_size: int = 3
    """Of the depthwise convolution."""
    strides: int = 1
    dilation: int = 1
    squeeze_excite: Callable[..., nn.Module] | None = None
    """A layer that lacks only its `name`; None: there is none."""
    drop_path: Callable[[Array], Array] | None = None
    """What training does to the branch beside a shortcut, such as stochastic depth."""
    names: Names = numbered
    with_expanded: bool = False
    """Whether it also returns what it expands its input to, [B,H,W,expanded]."""

    @nn.compact
    def __call__(self, x: Array) -> Any:
        y, place = x, 0
        if self.expanded_channels != x.shape[-1]:
            y = self.conv_norm(
                y, self.expanded_channels, 1, names=self.names("expand", place)
            )
            place += 1
        expanded = y
        y = self.conv_norm(
            y,
            self.expanded_channels,
            self.kernel_size,
            strides=self.strides,
            dilation=self.dilation,
            groups=self.expanded_channels,
            names=self.names("depthwise", place),
        )
        place += 1
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(name=self.names("squeeze", place)[0])(y)
            place += 1
        y = self.conv_norm(
            y, self.features, 1, activation=None, names=self.names("project", place)
        )
        if x.shape == y.shape:
            y = x + (y if self.drop_path is None else self.drop_path(y))
        return (y, expanded) if self.with_expanded else y
