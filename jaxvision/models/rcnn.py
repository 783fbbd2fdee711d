"""Faster, Mask and Keypoint R-CNN: proposals of a pyramid, and heads on its regions.

    images → encoder → feature pyramid, and its last map at half the resolution
           → scores and codes of anchors: proposals
    regions of the pyramid → class and box | mask | keypoints

Ren et al. 2015, https://arxiv.org/abs/1506.01497, on the pyramid of Lin et al. 2017,
https://arxiv.org/abs/1612.03144; He et al. 2017, https://arxiv.org/abs/1703.06870.  The
second versions have normalisations and deeper heads (Li et al. 2021,
https://arxiv.org/abs/2111.11429).  What anchors, sampling, losses and decoding are is
said by `tasks.faster_rcnn`, `tasks.mask_rcnn` and `tasks.keypoint_rcnn`.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.layers.dense_head import DenseHead, by_anchor
from jaxvision.layers.feature_pyramid import pyramid
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.region_heads import BoxHead, KeypointHead, MaskHead
from jaxvision.models.encoder import Encoder, OnEncoder, has_option
from jaxvision.models.variant import Rules, Variant
from jaxvision.ops.boxes import area
from jaxvision.ops.roi_align import roi_align_of_levels

Array = jax.Array

STRIDES = (4, 8, 16, 32)


class RCNN(OnEncoder):
    """Outputs: the encoder's maps by their names, `level1`, … of the pyramid from fine
    to coarse, whose last has every second row and column of the one before,
    `class_logits` [B,A,1], how likely an anchor shows any object, and `box_codes`
    [B,A,4], both float32.  The A anchors go through the maps, the rows, the columns,
    and those of a place.

    Entries take boxes [B,R,4] in pixels of the images, then the maps of the pyramid:

    - `boxes`: `class_logits` [B,R,num_classes], whose first column is the background,
      and `box_codes` [B,R,num_classes,4];
    - `masks`: `mask_logits` [B,R,28,28,num_classes], within the boxes;
    - `keypoints`: `keypoint_logits` [B,R,56,56,num_keypoints], within the boxes.

    Boxes without area are padding, which batch normalisation does not count.
    Any image size.
    """

    encoder: Encoder = "resnet50"
    num_classes: int = 91
    """With the background; 0: there are no heads."""
    maps: Sequence[int | str] = STRIDES
    """Of the encoder, by strides or names, from fine to coarse."""
    pyramid_channels: int = 256
    anchors_per_place: int = 3
    """0: there are no proposals, and boxes come from elsewhere (Fast R-CNN)."""
    proposal_convs: int = 1
    """Convolutions of the head that proposes."""
    box_convs: int = 0
    """Convolutions of the head of boxes; 0: it has two dense layers instead of one."""
    box_units: int = 1024
    """Of its dense layers."""
    mask_convs: int = 0
    """Convolutions of the head of masks; 0: there is none."""
    num_keypoints: int = 0
    """Of an object; 0: there is no head of keypoints."""
    keypoint_channels: int = 512
    """Of the convolutions of the head of keypoints."""
    normalised: bool = False
    """Whether batch normalisation follows the convolutions of the pyramid and of the
    heads of boxes and masks."""
    default_epsilon: float | None = None
    """Of the batch normalisation of an encoder that has the option `epsilon`, where
    `encoder_options` do not say; None: the encoder's own."""

    def setup(self):
        if not self.num_classes:
            return
        self.box_head = BoxHead(
            self.num_classes,
            self.box_units,
            self.box_convs,
            self.normalised,
            dtype=self.dtype,
        )
        if self.mask_convs:
            self.mask_head = MaskHead(
                self.num_classes, self.mask_convs, self.normalised, dtype=self.dtype
            )
        if self.num_keypoints:
            self.keypoint_head = KeypointHead(
                self.num_keypoints, channels=self.keypoint_channels, dtype=self.dtype
            )

    @nn.compact
    def __call__(self, images, *, train: bool):
        options = self._epsilon()
        outputs = self._encode(images, self.maps, train=train, **options)
        norm = batch_norm(train=train, dtype=self.dtype) if self.normalised else None
        levels = pyramid(
            [*outputs.values()],
            self.pyramid_channels,
            name="fpn",
            norm=norm,
            dtype=self.dtype,
        )
        levels.append(levels[-1][:, ::2, ::2])
        outputs |= {f"level{i}": level for i, level in enumerate(levels, 1)}
        if not self.num_classes:
            return outputs
        if self.anchors_per_place:
            proposed = DenseHead(
                {
                    "cls_logits": self.anchors_per_place,
                    "bbox_pred": 4 * self.anchors_per_place,
                },
                depth=self.proposal_convs,
                end_size=1,
                dtype=self.dtype,
                name="rpn.head",
            )(*levels)
            outputs["box_codes"] = by_anchor(proposed["bbox_pred"], 4)
            outputs["class_logits"] = by_anchor(proposed["cls_logits"], 1)
        if self.is_initializing():  # all parameters are made here
            given = jnp.zeros((1, 1, 4)), *(level[:1] for level in levels)
            self.boxes(*given, train=train)
            if self.mask_convs:
                self.masks(*given, train=train)
            if self.num_keypoints:
                self.keypoints(*given, train=train)
        return outputs

    def boxes(self, boxes: Array, *levels: Array, train: bool) -> dict[str, Array]:
        """What class each region shows, and where its box is."""
        check((self.num_classes > 0, "this network has no heads: " + _OTHERS))
        scores, codes = self.box_head(*self._inside(boxes, levels, 7), train=train)
        return _of_images(boxes, class_logits=scores, box_codes=codes)

    def masks(self, boxes: Array, *levels: Array, train: bool) -> dict[str, Array]:
        """Which pixels of each region are the object's."""
        check((self.mask_convs > 0, "this network has no masks: " + _OTHERS))
        logits = self.mask_head(*self._inside(boxes, levels, 14), train=train)
        return _of_images(boxes, mask_logits=logits)

    def keypoints(self, boxes: Array, *levels: Array, train: bool) -> dict[str, Array]:
        """Where in each region the keypoints of its object are."""
        del train
        check((self.num_keypoints > 0, "this network has no keypoints: " + _OTHERS))
        regions, _ = self._inside(boxes, levels, 14)
        logits = self.keypoint_head(regions)
        return _of_images(boxes, keypoint_logits=logits)

    def _epsilon(self) -> dict[str, float]:
        known = has_option(self.encoder, "epsilon")
        if self.default_epsilon is None or not known:
            return {}
        return {"epsilon": self.default_epsilon}

    def _inside(
        self, boxes: Array, levels: Sequence[Array], side: int
    ) -> tuple[Array, Array]:
        """The regions [B·R,side,side,C] of the levels that come from the encoder, and
        which of them are no padding, bool [B·R]."""
        strides = self._strides(self.maps, **self._epsilon())
        align = partial(
            roi_align_of_levels, strides=strides, size=(side, side), samples=2
        )
        found = jax.vmap(align)([*levels[: len(strides)]], boxes)
        return found.reshape(-1, *found.shape[2:]), area(boxes).reshape(-1) > 0


_OTHERS = "take another model, such as maskrcnn_resnet50_fpn, or another detector"


def _of_images(boxes: Array, **outputs: Array) -> dict[str, Array]:
    """Numbers of regions [B·R,…] as [B,R,…]."""
    return {k: x.reshape(*boxes.shape[:2], *x.shape[1:]) for k, x in outputs.items()}


FASTER = "Ren et al. 2015, https://arxiv.org/abs/1506.01497"
MASK = "He et al. 2017, https://arxiv.org/abs/1703.06870"
SECOND = "Li et al. 2021, https://arxiv.org/abs/2111.11429"

_HEADS: Rules = (
    (r"^box_head\.(cls_score|bbox_pred)\.", r"roi_heads.box_predictor.\1."),
    (r"^mask_head\.(conv5_mask|mask_fcn_logits)\.", r"roi_heads.mask_predictor.\1."),
    (r"^keypoint_head\.(kps_score_lowres)\.", r"roi_heads.keypoint_predictor.\1."),
    (r"^(box|mask|keypoint)_head\.", r"roi_heads.\1_head."),
)

_RULES: Rules = (
    (r"^backbone\.(features\.)?", "backbone.body."),
    (r"^fpn\.", "backbone.fpn."),
    *_HEADS,
)

TORCHVISION: Mapping[str, Rules] = {
    "torchvision": _RULES,
    "torchvision before 0.13": (
        *_RULES,
        (r"_blocks\.(\d)\.0\.", r"_blocks.\1."),
        (r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
        (
            r"mask_head\.(\d)\.0\.",
            lambda found: f"mask_head.mask_fcn{int(found[1]) + 1}.",
        ),
    ),
}
"""There the pyramid is a part of the backbone.  Older files have names of their own."""

_SIZE = (800, 800, 3)
_SECOND = partial(RCNN, normalised=True, proposal_convs=2, box_convs=4)
_MOBILE = partial(
    RCNN,
    encoder="mobilenet_v3_large",
    maps=("stage5_first", "last"),
    anchors_per_place=15,
    default_epsilon=1e-5,
)

VARIANTS = {
    "fasterrcnn_resnet50_fpn": Variant(RCNN, FASTER, _SIZE, TORCHVISION),
    "fasterrcnn_resnet50_fpn_v2": Variant(_SECOND, SECOND, _SIZE, TORCHVISION),
    "fasterrcnn_mobilenet_v3_large_fpn": Variant(_MOBILE, FASTER, _SIZE, TORCHVISION),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Variant(
        _MOBILE, FASTER, (320, 320, 3), TORCHVISION
    ),
    "maskrcnn_resnet50_fpn": Variant(
        partial(RCNN, mask_convs=4), MASK, _SIZE, TORCHVISION
    ),
    "maskrcnn_resnet50_fpn_v2": Variant(
        partial(_SECOND, mask_convs=4), SECOND, _SIZE, TORCHVISION
    ),
    "keypointrcnn_resnet50_fpn": Variant(
        partial(RCNN, num_classes=2, num_keypoints=17), MASK, _SIZE, TORCHVISION
    ),
}
