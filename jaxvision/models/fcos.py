"""FCOS: a class, a box and how central it is, for every place of a feature pyramid.

    images → encoder → feature pyramid of five maps, at 1/8 … 1/128 of the image's size
           → two heads of four 3×3 convolutions each, the same for all maps
           → scores of the classes | distances to the sides of the box, centredness

Tian et al. 2019, https://arxiv.org/abs/1904.01355, figure 2, with centredness beside
the distances (https://arxiv.org/abs/2006.09214).  What places, losses and decoding are
is said by `tasks.fcos`.
"""

from functools import partial

import flax.linen as nn

from jaxvision.layers.dense_head import DenseHead, by_anchor
from jaxvision.layers.feature_pyramid import pyramid, two_coarser
from jaxvision.models.encoder import Encoder, OnEncoder
from jaxvision.models.retinanet import STRIDES, TORCHVISION
from jaxvision.models.variant import Variant
from jaxvision.ops.activation import relu


class FCOS(OnEncoder):
    """Outputs: the encoder's maps of 1/8 … 1/32 of the image's size by their names,
    `p3` … `p7` of the pyramid, at 1/8 … 1/128 of its size, and float32
    `class_logits` [B,A,num_classes], `box_codes` [B,A,4], which are not negative, and
    `centredness` [B,A], logits.  The A places go through the maps, the rows and the
    columns.

    Any image size.
    """

    encoder: Encoder = "resnet50"
    num_classes: int = 91
    """As many as COCO's numbers, the first of which is not used; 0: there are no heads.
    Background is no class."""
    pyramid_channels: int = 256
    """A multiple of 32, the groups of the normalisation."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        outputs = self._encode(images, STRIDES, train=train)
        options = dict(name="fpn", dtype=self.dtype)
        levels = pyramid(list(outputs.values()), self.pyramid_channels, **options)
        levels += two_coarser(levels[-1], self.pyramid_channels, **options)
        outputs |= {f"p{i}": level for i, level in enumerate(levels, 3)}
        if not self.num_classes:
            return outputs
        head = partial(
            DenseHead,
            groups=32,
            names=lambda i: (f"conv.{3 * i}", f"conv.{3 * i + 1}"),
            dtype=self.dtype,
        )
        boxes = head({"bbox_reg": 4, "bbox_ctrness": 1}, name="head.regression_head")(
            *levels
        )
        classes = head(
            {"cls_logits": self.num_classes},
            prior=("cls_logits",),
            name="head.classification_head",
        )(*levels)
        outputs["box_codes"] = relu(by_anchor(boxes["bbox_reg"], 4))
        outputs["centredness"] = by_anchor(boxes["bbox_ctrness"], 1)[..., 0]
        outputs["class_logits"] = by_anchor(classes["cls_logits"], self.num_classes)
        return outputs


PAPER = "Tian et al. 2019, https://arxiv.org/abs/1904.01355"

VARIANTS = {"fcos_resnet50_fpn": Variant(FCOS, PAPER, (800, 800, 3), TORCHVISION)}
