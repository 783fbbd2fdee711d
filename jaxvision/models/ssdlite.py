"""SSDLite: SSD whose convolutions are depthwise, on a small encoder.

    images → encoder, of which two maps → four smaller maps
           → a depthwise and a 1×1 convolution on each of the six: scores and codes

Sandler et al. 2018, https://arxiv.org/abs/1801.04381, section 6.2; Howard et al. 2019,
https://arxiv.org/abs/1905.02244, section 6.3.  What default boxes, losses and decoding
are is said by `tasks.ssdlite`.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn

from jaxvision.layers.conv import Conv
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.dense_head import by_anchor
from jaxvision.layers.imagenet import HALVES
from jaxvision.layers.norm import batch_norm
from jaxvision.models.encoder import Encoder, OnEncoder, has_option
from jaxvision.models.variant import OURS, Rules, Variant

EXTRA = (512, 256, 256, 128)
"""Channels of the smaller maps."""

EPSILON, MOMENTUM = 1e-3, 0.97
"""Of batch normalisation."""

_small = nn.initializers.normal(0.03)


class SSDLite(OnEncoder):
    """Outputs: the encoder's two maps by their names, `map1` … `map6` from fine to
    coarse, `class_logits` [B,A,num_classes], whose first column is the background, and
    `box_codes` [B,A,4], both float32.  The A default boxes go through the maps, the
    rows, the columns, and those of a place.

    Any image size; 320×320 in the paper.
    """

    encoder: Encoder = "mobilenet_v3_large"
    fine_from: str = "stage4_expanded"
    """The activation of the encoder that is the first map."""
    coarse_from: str = "last"
    """The one that is the second."""
    num_classes: int = 91
    """With the background; 0: there are no heads."""
    anchors_per_place: int = 6

    @nn.compact
    def __call__(self, images, *, train: bool):
        small = dict(reduced_tail=True, momentum=MOMENTUM)
        outputs = self._encode(
            images,
            (self.fine_from, self.coarse_from),
            train=train,
            **{k: v for k, v in small.items() if has_option(self.encoder, k)},
        )
        maps = list(outputs.values())
        norm = batch_norm(
            train=train, dtype=self.dtype, momentum=MOMENTUM, epsilon=EPSILON
        )
        unit = partial(
            conv_norm,
            norm=norm,
            activation=nn.relu6,
            dtype=self.dtype,
            kernel_init=_small,
        )
        x = maps[-1]
        for i, channels in enumerate(EXTRA):
            first, second, third = (
                (f"extra.{i}.{j}.0", f"extra.{i}.{j}.1") for j in range(3)
            )
            half = channels // 2
            x = unit(x, half, 1, names=first)
            x = unit(x, half, 3, strides=2, groups=half, names=second)
            maps.append(x := unit(x, channels, 1, names=third))
        outputs |= {f"map{i}": each for i, each in enumerate(maps, 1)}
        if not self.num_classes:
            return outputs
        for output, head, columns in (
            ("box_codes", "regression_head", 4),
            ("class_logits", "classification_head", self.num_classes),
        ):
            found = []
            for i, x in enumerate(maps):
                name = f"head.{head}.module_list.{i}"
                channels = x.shape[-1]
                names = (f"{name}.0.0", f"{name}.0.1")
                x = unit(x, channels, 3, groups=channels, names=names)
                found.append(
                    Conv(
                        columns * self.anchors_per_place,
                        1,
                        dtype=self.dtype,
                        kernel_init=_small,
                        name=f"{name}.1",
                    )(x)
                )
            outputs[output] = by_anchor(found, columns)
        return outputs


PAPER = "Howard et al. 2019, https://arxiv.org/abs/1905.02244"

CUT = 13
"""The block of MobileNetV3 that torchvision cuts behind its expansion."""


def sources(encoder: Encoder = "mobilenet_v3_large", **_: Any) -> Mapping[str, Rules]:
    """Who publishes weights of SSDLite on this encoder: see `Variant.sources`."""
    if encoder != "mobilenet_v3_large":
        return OURS

    def cut(found: re.Match[str]) -> str:
        place, rest = int(found[1]), found[2]
        if place != CUT:
            half = int(place > CUT)
            return f"backbone.features.{half}.{place - half * CUT}.{rest}"
        rest = rest.removeprefix("block.")
        if rest.startswith("0."):
            return f"backbone.features.0.{CUT}.{rest.removeprefix('0.')}"
        return f"backbone.features.1.0.{rest}"

    rules: Rules = (
        (r"^backbone\.features\.(\d+)\.(.*)", cut),
        (r"^extra\.", "backbone.extra."),
    )
    return {"torchvision": rules}


VARIANTS = {
    "ssdlite320_mobilenet_v3_large": Variant(
        SSDLite, PAPER, (320, 320, 3), sources, normalisation=HALVES
    )
}
