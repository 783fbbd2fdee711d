"""RetinaNet: a class and a box for every anchor of a feature pyramid.

    images → encoder → feature pyramid of five maps, at 1/8 … 1/128 of the image's size
           → two heads of four 3×3 convolutions each, the same for all maps
           → scores of the classes, and codes of the boxes

Lin et al. 2017, https://arxiv.org/abs/1708.02002, figure 3.  The second version (Zhang
et al. 2020, https://arxiv.org/abs/1912.02424) normalises in its heads, and makes the
coarsest maps of the encoder's last one.  What anchors, losses and decoding are is said
by `tasks.retinanet`.
"""

from collections.abc import Mapping
from functools import partial

import flax.linen as nn

from jaxvision.layers.dense_head import DenseHead, by_anchor
from jaxvision.layers.feature_pyramid import pyramid, two_coarser
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.variant import Rules, Variant

STRIDES = (8, 16, 32)
"""Of the encoder's maps."""


class RetinaNet(OnEncoder):
    """Outputs: the encoder's maps of 1/8 … 1/32 of the image's size by their names,
    `p3` … `p7` of the pyramid, at 1/8 … 1/128 of its size, `class_logits`
    [B,A,num_classes] and `box_codes` [B,A,4], both float32.  The A anchors go through
    the maps, the rows, the columns, and those of a place.

    Any image size.
    """

    encoder: Encoder = "resnet50"
    num_classes: int = 91
    """As many as COCO's numbers, the first of which is not used; 0: there are no heads.
    Background is no class."""
    anchors_per_place: int = 9
    pyramid_channels: int = 256
    groups: int | None = None
    """Of the group normalisation in the heads; None: there is none."""
    coarser_from_encoder: bool = False
    """Whether `p6` is made of the encoder's last map, and not of `p5`."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = self._encode(images, STRIDES, train=train)
        maps = list(outputs.values())
        options = dict(name="fpn", dtype=self.dtype)
        levels = pyramid(maps, self.pyramid_channels, **options)
        last = maps[-1] if self.coarser_from_encoder else levels[-1]
        levels += two_coarser(last, self.pyramid_channels, **options)
        outputs |= {f"p{i}": level for i, level in enumerate(levels, 3)}
        if not self.num_classes:
            return outputs
        head = partial(
            DenseHead,
            groups=self.groups,
            use_bias=self.groups is None,
            dtype=self.dtype,
        )
        k = self.anchors_per_place
        boxes = head({"bbox_reg": 4 * k}, name="head.regression_head")(*levels)
        classes = head(
            {"cls_logits": k * self.num_classes},
            prior=("cls_logits",),
            name="head.classification_head",
        )(*levels)
        outputs["box_codes"] = by_anchor(boxes["bbox_reg"], 4)
        outputs["class_logits"] = by_anchor(classes["cls_logits"], self.num_classes)
        return outputs


PAPER = "Lin et al. 2017, https://arxiv.org/abs/1708.02002"
PAPER_V2 = "Zhang et al. 2020, https://arxiv.org/abs/1912.02424"

_RULES: Rules = ((r"^backbone\.", "backbone.body."), (r"^fpn\.", "backbone.fpn."))

TORCHVISION: Mapping[str, Rules] = {
    "torchvision": _RULES,
    "torchvision before 0.13": (
        *_RULES,
        (r"_blocks\.(\d)\.0\.", r"_blocks.\1."),
        # Where there is no normalisation, rectifiers were counted among the layers.
        (r"\.conv\.(\d)\.0\.", lambda found: f".conv.{2 * int(found[1])}."),
    ),
}
"""There the pyramid is a part of the backbone.  Older files have names of their own."""

VARIANTS = {
    "retinanet_resnet50_fpn": Variant(RetinaNet, PAPER, (800, 800, 3), TORCHVISION),
    "retinanet_resnet50_fpn_v2": Variant(
        partial(RetinaNet, groups=32, coarser_from_encoder=True),
        PAPER_V2,
        (800, 800, 3),
        TORCHVISION,
    ),
}
