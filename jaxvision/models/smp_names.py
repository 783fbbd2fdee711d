"""Names of parameters in networks of segmentation_models_pytorch (smp).

Its decoders have the names of ours; its encoders have those of torchvision, or where
they are timm's, called `tu-…` there, those of timm.  Two of its other encoders compute
something else than ours: its own `efficientnet-b0…7` pads as TensorFlow does for one
size of images and looks at other blocks, its DenseNets look at maps after the norm of
the transition.
"""

import re
from collections.abc import Mapping
from typing import Any

from jaxvision.models import classifiers
from jaxvision.models.variant import Rules

_AS_TORCHVISION = (
    *(f"resnet{layers}" for layers in (18, 34, 50, 101, 152)),
    "resnext50_32x4d", "resnext101_32x8d", "mobilenet_v2",
    *(f"vgg{layers}{bn}" for layers in (11, 13, 16, 19) for bn in ("", "_bn")),
)  # fmt: skip
"""Encoders that smp has of torchvision."""


def sources(encoder: Any = "resnet34", **_: Any) -> Mapping[str, Rules]:
    """Who publishes weights of a network with this encoder: see `Variant.sources`."""
    plain: Rules = ((r"^backbone\.", "encoder."),)
    if not isinstance(encoder, str) or encoder in _AS_TORCHVISION:
        return {"smp": plain}
    rules = classifiers.variant(encoder).published().get("timm")
    if rules is None:
        return {"smp": plain}

    def renamed(found: re.Match[str]) -> str:
        key = found[1]
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        return f"encoder.model.{key}"

    return {"smp": ((r"^backbone\.(.*)", renamed),)}
