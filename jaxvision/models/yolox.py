"""YOLOX: classes, a box and whether there is any, for every place of three maps.

    images → encoder → path aggregation of the maps at 1/8, 1/16 and 1/32 of the
             image's size
           → for each map a head of two branches of two 3×3 units
           → scores of the classes | the box, and whether there is an object

Ge et al. 2021, https://arxiv.org/abs/2107.08430, figure 2.  What matching, losses and
decoding are is said by `tasks.yolox`.
"""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax

from jaxvision.layers.conv import Conv
from jaxvision.layers.cross_stage import CrossStage, DepthwiseUnit, torch_uniform, unit
from jaxvision.layers.dense_head import by_anchor, rare
from jaxvision.layers.path_aggregation import path_aggregation
from jaxvision.models import cspdarknet
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import Rules, Variant

STRIDES = (8, 16, 32)
"""Of the encoder's maps."""


class YOLOX(OnEncoder):
    """Outputs: the encoder's maps of 1/8 … 1/32 of the image's size by their names,
    `p3` … `p5` after the aggregation, and float32 `class_logits` [B,A,num_classes],
    `box_codes` [B,A,4] and `objectness` [B,A], logits.  The A places go through the
    maps, the rows and the columns.

    Any image size.
    """

    encoder: Encoder = "cspdarknet_s"
    num_classes: int = 80
    """Those of COCO; 0: there are no heads.  Background is no class."""
    channels: int = 128
    """Of `p3` and of the heads; `p4` has twice and `p5` four times as many."""
    blocks: int = 1
    """In each cross-stage block of the aggregation."""
    depthwise: bool = False
    """Whether 3×3 convolutions are of single channels, with a 1×1 after them."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = self._encode(images, STRIDES, train=train)
        make = unit(train=train, dtype=self.dtype)
        spatial = partial(DepthwiseUnit, unit=make) if self.depthwise else make
        levels = path_aggregation(
            [each.astype(self.dtype) for each in outputs.values()],
            [self.channels * times for times in (1, 2, 4)],
            unit=make,
            spatial=spatial,
            mix=partial(
                CrossStage,
                blocks=self.blocks,
                unit=make,
                spatial=spatial,
                shortcut=False,
            ),
        )
        outputs |= {f"p{i}": level for i, level in enumerate(levels, 3)}
        if not self.num_classes:
            return outputs
        score = partial(
            Conv, kernel_size=1, dtype=self.dtype, kernel_init=torch_uniform
        )
        classes, boxes, objectness = [], [], []
        for i, level in enumerate(levels):
            x = make(self.channels, 1, name=f"head.stems.{i}")(level)
            names = f"head.cls_preds.{i}", f"head.reg_preds.{i}", f"head.obj_preds.{i}"
            y = self._branch(x, spatial, f"head.reg_convs.{i}")
            boxes.append(score(4, name=names[1])(y))
            objectness.append(score(1, bias_init=rare, name=names[2])(y))
            y = self._branch(x, spatial, f"head.cls_convs.{i}")
            classes.append(score(self.num_classes, bias_init=rare, name=names[0])(y))
        outputs["box_codes"] = by_anchor(boxes, 4)
        outputs["objectness"] = by_anchor(objectness, 1)[..., 0]
        outputs["class_logits"] = by_anchor(classes, self.num_classes)
        return outputs

    def _branch(self, x: jax.Array, spatial: Callable[..., nn.Module], name: str):
        for i in range(2):
            x = spatial(self.channels, 3, name=f"{name}.{i}")(x)
        return x


RELEASE: Mapping[str, Rules] = {
    "YOLOX": ((r"^(backbone|lateral_|reduce_|bu_|C3_)", r"backbone.\1"),)
}
"""There the encoder and the aggregation are the backbone.  Files hold a dict whose
`model` these are."""

VARIANTS = {
    f"yolox_{size}": Variant(
        partial(
            YOLOX,
            encoder=f"cspdarknet_{size}",
            channels=4 * width,
            blocks=blocks,
            depthwise=size == "nano",
        ),
        cspdarknet.PAPER,
        (416, 416, 3) if size in ("nano", "tiny") else (640, 640, 3),
        RELEASE,
    )
    for size, (width, blocks) in cspdarknet.SIZES.items()
}
