"""Boxes as arrays [..., 4]: x_min, y_min, x_max, y_max in continuous pixels.

Shapes are fixed, so that all of it runs under `jit`, `vmap` and `grad` and can be
sharded: what there is none of is told by a mask and not by a length.  Every function
is for one image; a batch is `jax.vmap`.

- how boxes lie to each other: `area`, `intersection`, `coverage`, `iou`, `giou`,
  `diou`, `ciou`, element by element, and `pairwise` of any of them
- where they are: `clip`, `clip_to`, `centre_form`, `corner_form`
- what a network predicts of them: `encodings`
- what it predicts them from: `anchors`
- which of them stay: `suppression`
- all of this, from scores and codes to what an image has: `detections`

Which object each of them is to find is decided in `ops.matching`, and what a network
sees inside of them is `ops.roi_align`.
"""

from jaxvision.ops.boxes.detections import (
    Detections,
    best_of_anchors,
    best_of_classes,
    best_of_levels,
    best_of_regions,
    proposals_of_levels,
)
from jaxvision.ops.boxes.encodings import Encoding, deltas, distances, yolox
from jaxvision.ops.boxes.forms import centre_form, clip, clip_to, corner_form
from jaxvision.ops.boxes.overlap import (
    area,
    ciou,
    coverage,
    diou,
    giou,
    intersection,
    iou,
    pairwise,
)
from jaxvision.ops.boxes.suppression import Kept, nms, nms_of_classes, soft_nms

__all__ = [
    "Detections",
    "Encoding",
    "Kept",
    "area",
    "best_of_anchors",
    "best_of_classes",
    "best_of_levels",
    "best_of_regions",
    "centre_form",
    "ciou",
    "clip",
    "clip_to",
    "corner_form",
    "coverage",
    "deltas",
    "diou",
    "distances",
    "giou",
    "intersection",
    "iou",
    "nms",
    "nms_of_classes",
    "pairwise",
    "proposals_of_levels",
    "soft_nms",
    "yolox",
]
