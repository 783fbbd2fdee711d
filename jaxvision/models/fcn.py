"""Fully convolutional networks.  Long et al. 2015, https://arxiv.org/abs/1411.4038

    images → the trunk of VGG16 or AlexNet → its dense layers as convolutions
           → class scores of stride 32 → up-sampled to the image

`fcn16s` and `fcn8s` bring the scores to stride 16 and 8 first, and add those that
further 1×1 convolutions make of the trunk's maps of these strides.

Up-sampling is by transposed convolutions that begin as bilinear interpolation, and
learn like all else unless `optim.groups([("^upscore", None)], …)` freezes them: the
authors' do not learn.  The layers of scores begin with zeros.  All others have the
names of the classifier's, so that published weights of it serve as they are:

    pretrained.load("fcn32s", "vgg16-397923af.pth", num_classes=21)

Those of a run are turned by `models.dense_as_convolutions`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.errors import unknown
from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import he_fan_out
from jaxvision.layers.up_conv import ConvTranspose, bilinear
from jaxvision.models import alexnet, vgg
from jaxvision.models.variant import OURS, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import max_pool

PAPER = "Long et al. 2015, https://arxiv.org/abs/1411.4038"

PADDINGS = ("image", "maps")


class Base(NamedTuple):
    """The classifier that a network is made of."""

    trunk: Callable[..., dict[str, jax.Array]]
    """`(images, features, train=, dtype=) -> maps`, the last of stride 32."""
    features: Sequence[int]
    """Channels of the trunk's stages, or layers."""
    layers: tuple[str, str, str]
    """Names of the classifier's dense layers."""
    window: int
    """Positions along a side of the map that the first of them sees."""
    centre: float
    """The pixel, from 0, that the first position of that map is around."""
    margin: int
    """Zeros around the images, besides those of the first convolution: together 100."""


# Windows at the border that are not whole count, as in the authors' Caffe: without them
# some images would have no scores at their ends.


def _trunk_of_vgg16(images, features, *, train, dtype):
    pool = partial(max_pool, window=2, ceil_mode=True)
    return vgg.trunk(
        images, vgg.DEPTHS[16], features, train=train, pool=pool, dtype=dtype
    )


def _trunk_of_alexnet(images, features, *, train, dtype):
    del train
    pool = partial(max_pool, window=3, strides=2, ceil_mode=True)
    return alexnet.trunk(images, features, pool=pool, dtype=dtype)


VGG16 = Base(
    _trunk_of_vgg16,
    vgg.FEATURES,
    ("classifier.0", "classifier.3", "classifier.6"),
    window=7,
    centre=15.5,
    margin=99,
)
ALEXNET = Base(
    _trunk_of_alexnet,
    alexnet.FEATURES,
    ("classifier.1", "classifier.4", "classifier.6"),
    window=6,
    centre=31,
    margin=98,
)


class Placed(NamedTuple):
    """Maps, and where in the image their positions are."""

    maps: jax.Array
    stride: int
    centre: float
    """The pixel, from 0, that the first position is around, along both axes."""

    def before(self, centre: float) -> int:
        """Positions before the one around the pixel."""
        return round((centre - self.centre) / self.stride)

    def cut(self, centre: float, size: Sequence[int]) -> jax.Array:
        """Maps of `size` (rows, columns) whose first position is around the pixel."""
        first = self.before(centre)
        rows, columns = (slice(first, first + n) for n in size)
        return self.maps[:, rows, columns]


def _sum(one: Placed, two: Placed) -> Placed:
    """Maps of the same stride, added where both have positions."""
    centre = max(one.centre, two.centre)
    sizes = [
        [n - each.before(centre) for n in each.maps.shape[1:3]] for each in (one, two)
    ]
    size = [min(pair) for pair in zip(*sizes, strict=True)]
    added = one.cut(centre, size) + two.cut(centre, size)
    return Placed(added, one.stride, centre)


class FCN(nn.Module):
    """Outputs: those of the trunk (`conv1`, `stage1` and so on), `pre_logits`
    [B,h,w,hidden] and `scores` [B,h,w,num_classes] before the last up-sampling, of
    stride 32, 16 or 8, and `logits` [B,H,W,num_classes], float32.

    Images of any size.  `padding` says where zeros are added, so that there are scores
    up to the borders:

      image: 100 around the image and none before the dense layers, as in the authors'
        networks, whose crops follow.  An image of 128² is computed as one of 326².
      maps: half a window around the map that the dense layers slide over, and none
        around the image: a sixth to compute at 128².

    Weights are for both; scores differ, near borders the most.
    """

    base: Base
    upscores: Sequence[str]
    """Names of the transposed convolutions."""
    skips: Sequence[int] = ()
    """Stages whose maps are scored as well, the deepest first."""
    num_classes: int = 21
    padding: Literal["image", "maps"] = "image"
    features: Sequence[int] | None = None
    """Channels of the trunk; None: those of the classifier."""
    hidden: int = 4096
    """Channels of the layers that were dense."""
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        if self.padding not in PADDINGS:
            raise unknown("padding of FCN", self.padding, PADDINGS)
        base = self.base
        window, around_image = base.window, self.padding == "image"
        inner, outer = (0, base.margin) if around_image else (window // 2, 0)
        padded = jnp.pad(images, ((0, 0), (outer, outer), (outer, outer), (0, 0)))
        features = self.features or base.features
        outputs = base.trunk(padded, features, train=train, dtype=self.dtype)

        conv = partial(Conv, dtype=self.dtype)
        slide = partial(conv, self.hidden, kernel_init=he_fan_out)
        score = partial(conv, self.num_classes, 1, kernel_init=nn.initializers.zeros)
        dropped = nn.Dropout(self.dropout, deterministic=not train)
        first, second, last = base.layers
        x = list(outputs.values())[-1]
        x = dropped(relu(slide(window, padding=inner, name=first)(x)))
        x = outputs["pre_logits"] = relu(slide(1, name=second)(x))
        if not self.num_classes:
            return outputs
        scores = Placed(
            score(name=last)(dropped(x)),
            stride=32,
            centre=base.centre + 32 * ((window - 1) / 2 - inner) - outer,
        )
        *upscores, end = self.upscores
        for stage, name in zip(self.skips, upscores, strict=True):
            stride = 2**stage
            skip = Placed(
                score(name=f"score_pool{stage}")(outputs[f"stage{stage}"]),
                stride,
                centre=(stride - 1) / 2 - outer,
            )
            scores = _sum(skip, self._upsampled(scores, stride, skip.centre, name))
        outputs["scores"] = scores.maps
        logits = self._upsampled(scores, 1, 0, end).cut(0, images.shape[1:3])
        return {**outputs, "logits": logits.astype(jnp.float32)}

    def _upsampled(self, scores: Placed, stride: int, target: float, name: str):
        """The scores at another stride, with a position around the pixel `target`."""
        factor = scores.stride // stride
        sizes = {
            size: scores.centre - (size - 1) / 2 * stride
            for size in (2 * factor, 2 * factor - 1)
        }
        size, centre = next(
            (size, centre)
            for size, centre in sizes.items()
            if (target - centre) % stride == 0
        )
        layer = ConvTranspose(
            self.num_classes,
            factor,
            size,
            padding=0,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=bilinear,
            name=name,
        )
        return Placed(layer(scores.maps), stride, centre)


def _variant(base: Base, *upscores: str, skips: Sequence[int] = ()) -> Variant:
    return Variant(partial(FCN, base, upscores, skips), PAPER, (500, 500, 3), OURS)


VARIANTS = {
    "fcn32s": _variant(VGG16, "upscore"),
    "fcn16s": _variant(VGG16, "upscore2", "upscore16", skips=(4,)),
    "fcn8s": _variant(VGG16, "upscore2", "upscore_pool4", "upscore8", skips=(4, 3)),
    "fcn32s_alexnet": _variant(ALEXNET, "upscore"),
}
