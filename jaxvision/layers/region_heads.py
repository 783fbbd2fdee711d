"""The heads of two-stage detectors: what is said of regions that were cut out of maps.

Each maps regions [R,S,S,C] to numbers of each region, and has the layers of
torchvision, whose names say where they are in a `Sequential`.  Batch normalisation in
training is by the regions that are `counted`, bool [R]; None: by all.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.up_conv import ConvTranspose
from jaxvision.ops.activation import relu
from jaxvision.ops.upsample import upsample

Array = jax.Array

_dense = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""PyTorch's, of dense layers."""


class BoxHead(nn.Module):
    """`cls_score` [R,num_classes] and `bbox_pred` [R,num_classes,4], float32.

    Ren et al. 2015, https://arxiv.org/abs/1506.01497: two dense layers.  With `convs`
    it is four convolutions and one dense layer, as in Wu and He 2018,
    https://arxiv.org/abs/1803.08494, section 4.2.
    """

    num_classes: int
    units: int = 1024
    convs: int = 0
    normalised: bool = False
    """Whether batch normalisation follows each convolution."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, regions: Array, counted: Array | None = None, *, train: bool
    ) -> tuple[Array, Array]:
        norm = _norm(self, counted, train)
        x = _convolved(regions, self.convs, regions.shape[-1], norm, self.dtype)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=_dense)
        first, *others = ("fc6", "fc7") if not self.convs else (f"{self.convs + 1}",)
        x = relu(_DenseOfMaps(self.units, dtype=self.dtype, name=first)(x))
        for name in others:
            x = relu(dense(self.units, name=name)(x))
        scores = dense(self.num_classes, name="cls_score")(x)
        codes = dense(4 * self.num_classes, name="bbox_pred")(x)
        codes = codes.reshape(len(codes), self.num_classes, 4)
        return scores.astype(jnp.float32), codes.astype(jnp.float32)


class _DenseOfMaps(nn.Module):
    """A dense layer on maps [R,S,S,C], whose kernel has the rows of PyTorch's, channels
    first.

    The kernel is turned and not the maps, which are up to eight times as large.
    """

    units: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        *sides, channels = maps.shape[1:]
        x = maps.reshape(len(maps), -1)
        kernel = self.param("kernel", _dense, (x.shape[1], self.units))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.units,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        rows = kernel.reshape(channels, *sides, self.units).transpose(1, 2, 0, 3)
        return x @ rows.reshape(kernel.shape) + bias[None]


class MaskHead(nn.Module):
    """float32 [R,2S,2S,num_classes]: the logits of each class for each pixel.

    He et al. 2017, https://arxiv.org/abs/1703.06870, figure 4.
    """

    num_classes: int
    convs: int = 4
    normalised: bool = False
    """Whether batch normalisation follows each convolution."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, regions: Array, counted: Array | None = None, *, train: bool
    ) -> Array:
        channels, norm = regions.shape[-1], _norm(self, counted, train)
        x = _convolved(regions, self.convs, channels, norm, self.dtype)
        enlarge = ConvTranspose(
            channels,
            kernel_size=2,
            dtype=self.dtype,
            kernel_init=he_fan_out,
            name="conv5_mask",
        )
        end = Conv(
            self.num_classes,
            1,
            dtype=self.dtype,
            kernel_init=he_fan_out,
            name="mask_fcn_logits",
        )
        return end(relu(enlarge(x))).astype(jnp.float32)


class KeypointHead(nn.Module):
    """float32 [R,4S,4S,keypoints]: of each keypoint, how likely it is where.

    He et al. 2017, https://arxiv.org/abs/1703.06870, section 5: the softmax over the
    places is the probability of each.
    """

    keypoints: int
    convs: int = 8
    channels: int = 512
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, regions: Array) -> Array:
        x = _convolved(
            regions,
            self.convs,
            self.channels,
            None,
            self.dtype,
            name=lambda i: f"{2 * i}",
        )
        x = ConvTranspose(
            self.keypoints,
            kernel_size=4,
            padding=1,
            dtype=self.dtype,
            kernel_init=he_fan_out,
            name="kps_score_lowres",
        )(x)
        return upsample(x, "bilinear").astype(jnp.float32)


def _norm(
    head: BoxHead | MaskHead, counted: Array | None, train: bool
) -> Callable[[Array, str], Array] | None:
    if not head.normalised:
        return None
    norm = batch_norm(train=train, dtype=head.dtype)
    return lambda x, name: norm(name=name)(x, counted)


def _convolved(
    x: Array,
    count: int,
    channels: int,
    norm: Callable[[Array, str], Array] | None,
    dtype: Any,
    name: Callable[[int], str] = lambda i: f"{i}.0",
) -> Array:
    """`x` after so many 3×3 convolutions, each with a rectifier."""
    for i in range(count):
        x = Conv(
            channels,
            use_bias=norm is None,
            dtype=dtype,
            kernel_init=he_fan_out,
            name=name(i),
        )(x)
        x = relu(x if norm is None else norm(x, f"{i}.1"))
    return x
