"""The heads of one-stage detectors: numbers for every anchor of every map."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.norm import GroupNorm
from jaxvision.ops.activation import relu

Array = jax.Array

PRIOR = 0.01
"""The probability that a class is anywhere, which new weights give it: Lin et al. 2017,
https://arxiv.org/abs/1708.02002, section 3.3."""

rare = nn.initializers.constant(-math.log((1 - PRIOR) / PRIOR))
"""Of a bias: it gives every class this probability."""

_small = nn.initializers.normal(0.01)


class DenseHead(nn.Module):
    """3×3 convolutions that see each map of a pyramid alike, and outputs at their end.

    `maps [B,h,w,C], … -> {name: [[B,h,w,channels], …]}`, a list with one for each map.
    """

    outputs: Mapping[str, int]
    """Layers at the end, by name, and their channels."""
    prior: Sequence[str] = ()
    """Those that begin with the probability `PRIOR` everywhere."""
    depth: int = 4
    """Convolutions before, each with as many channels as the maps."""
    groups: int | None = None
    """Of the group normalisation after each of them; None: there is none."""
    use_bias: bool = True
    """Of the convolutions before."""
    names: Callable[[int], tuple[str, str]] = lambda i: (f"conv.{i}.0", f"conv.{i}.1")
    """Of the i-th convolution and its normalisation."""
    end_size: int = 3
    """Rows and columns of the kernels at the end."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *maps: Array) -> dict[str, list[Array]]:
        conv = partial(Conv, dtype=self.dtype, kernel_init=_small)
        layers: list[Callable[[Array], Array]] = []
        for i in range(self.depth):
            name, norm = self.names(i)
            channels = maps[0].shape[-1]
            layers.append(conv(channels, use_bias=self.use_bias, name=name))
            if self.groups is not None:
                layers.append(GroupNorm(self.groups, dtype=self.dtype, name=norm))
            layers.append(relu)
        ends = {
            name: conv(
                channels,
                self.end_size,
                bias_init=rare if name in self.prior else nn.initializers.zeros,
                name=name,
            )
            for name, channels in self.outputs.items()
        }
        found: dict[str, list[Array]] = {name: [] for name in ends}
        for x in maps:
            for layer in layers:
                x = layer(x)
            for name, end in ends.items():
                found[name].append(end(x))
        return found


def by_anchor(maps: Sequence[Array], columns: int) -> Array:
    """[B,h,w,k·columns], … -> float32 [B,A,columns]: the k anchors of each place, place
    after place in rows, and map after map, as `ops.boxes.anchors` orders them."""
    flat = [x.reshape(x.shape[0], -1, columns).astype(jnp.float32) for x in maps]
    return jnp.concatenate(flat, axis=1)
