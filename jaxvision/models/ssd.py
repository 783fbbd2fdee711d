"""SSD: a class and a box for default boxes on maps of six sizes.

    images → encoder, of which two maps, the finer one normalised in each place
           → 1024 channels → four smaller maps
           → a 3×3 convolution on each of the six: scores of the classes, codes of boxes

Liu et al. 2016, https://arxiv.org/abs/1512.02325, figure 2.  What default boxes, losses
and decoding are is said by `tasks.ssd`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.layers.conv import Conv
from jaxvision.layers.dense_head import by_anchor
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import OURS, Rules, Variant
from jaxvision.ops.activation import relu
from jaxvision.ops.pooling import max_pool
from jaxvision.ops.precision import at_least_float32

EXTRA = ((256, 512, 2), (128, 256, 2), (128, 256, 1), (128, 256, 1))
"""Of each smaller map the channels of its 1×1 and of its 3×3 convolution, and the
strides of this one; without strides it is not padded, and the map 2 places smaller."""

_xavier = nn.initializers.xavier_uniform()


class SSD(OnEncoder):
    """Outputs: the encoder's two maps by their names, `map1` … `map6` from fine to
    coarse, `class_logits` [B,A,num_classes], whose first column is the background, and
    `box_codes` [B,A,4], both float32.  The A default boxes go through the maps, the
    rows, the columns, and those of a place.

    Images from about 272×272 on; 300×300 in the paper.
    """

    encoder: Encoder = "vgg16"
    """A VGG."""
    num_classes: int = 91
    """With the background; 0: there are no heads."""
    anchors_per_place: Sequence[int] = (4, 6, 6, 6, 4, 4)
    """On each map."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = self._encode(images, ("conv4", "conv5"), train=train, ceil_mode=True)
        fine, x = outputs.values()
        conv = partial(Conv, dtype=self.dtype, kernel_init=_xavier)
        length = self.param(
            "scale_weight", nn.initializers.constant(20.0), fine.shape[-1:]
        )
        maps = [_of_length(fine, length)]
        # The dense layers of the classifier as convolutions, the first one thinned out.
        x = max_pool(x, 3, 1, padding=1)
        x = relu(conv(1024, dilation=6, padding=6, name="extra.0.fc.1")(x))
        x = relu(conv(1024, 1, name="extra.0.fc.3")(x))
        maps.append(x)
        for i, (inner, outer, strides) in enumerate(EXTRA, 1):
            x = relu(conv(inner, 1, name=f"extra.{i}.0")(x))
            padding = 1 if strides > 1 else 0
            x = conv(outer, 3, strides, padding, name=f"extra.{i}.2")(x)
            maps.append(x := relu(x))
        outputs |= {f"map{i}": each for i, each in enumerate(maps, 1)}
        if not self.num_classes:
            return outputs
        for output, head, columns in (
            ("box_codes", "regression_head", 4),
            ("class_logits", "classification_head", self.num_classes),
        ):
            found = [
                conv(k * columns, name=f"head.{head}.module_list.{i}")(each)
                for i, (each, k) in enumerate(
                    zip(maps, self.anchors_per_place, strict=True)
                )
            ]
            outputs[output] = by_anchor(found, columns)
        return outputs


def _of_length(x, length):
    """The channels of each place as a vector of length 1, times `length` [C]."""
    wide = x.astype(at_least_float32(x.dtype))
    squared = jnp.sum(jnp.square(wide), axis=-1, keepdims=True)
    # At 0, where a root has no slope, the vector stays 0.
    norm = jnp.sqrt(jnp.maximum(squared, 1e-24))
    return (wide / norm * length[None, None, None, :]).astype(x.dtype)


PAPER = "Liu et al. 2016, https://arxiv.org/abs/1512.02325"

FOURTH_POOLING = 23
"""Its place among the layers of VGG-16, which torchvision cuts there."""


def sources(encoder: Encoder = "vgg16", **_: Any) -> Mapping[str, Rules]:
    """Who publishes weights of SSD on this encoder: see `Variant.sources`."""
    if encoder != "vgg16":
        return OURS

    def cut(found: re.Match[str]) -> str:
        place = int(found[1])
        if place < FOURTH_POOLING:
            return f"backbone.features.{place}."
        return f"backbone.extra.0.{place - FOURTH_POOLING}."

    rules: Rules = (
        (r"^backbone\.features\.(\d+)\.", cut),
        (r"^extra\.0\.fc\.", "backbone.extra.0.7."),
        (r"^(extra\.|scale_weight$)", r"backbone.\1"),
    )
    return {"torchvision": rules}


VARIANTS = {
    "ssd300_vgg16": Variant(
        SSD,
        PAPER,
        (300, 300, 3),
        sources,
        # Pixels from 0 to 255, less the mean of ImageNet, as Caffe had them.
        normalisation=((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
    )
}
