"""RetinaNet around its network.  Lin et al. 2017, https://arxiv.org/abs/1708.02002"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from jaxvision.errors import unknown
from jaxvision.losses import giou_loss
from jaxvision.ops import boxes as box_ops
from jaxvision.recipes import DETECTORS
from jaxvision.tasks.detectors.detector import (
    Detector,
    boxes_to_find,
    check_decoding,
    focal_of_classes,
    joined,
)
from jaxvision.tasks.detectors.grid import anchors_of_grid, match_by_overlap

LEVELS = ("p3", "p4", "p5", "p6", "p7")
"""Maps of a feature pyramid."""

SIZES = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in
              (32, 64, 128, 256, 512))  # fmt: skip
"""Sides of anchors in pixels on each map: three to an octave, rounded down."""

BOX_LOSSES = ("l1", "giou")


@DETECTORS.recorded
def retinanet(
    *,
    sizes: Sequence[Sequence[float]] = SIZES,
    scale: float = 1.0,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    box_loss: Literal["l1", "giou"] = "l1",
    alpha: float = 0.25,
    gamma: float = 2.0,
    high: float = 0.5,
    low: float = 0.4,
    least_score: float = 0.05,
    candidates: int = 1000,
    overlap: float = 0.5,
    most: int = 300,
) -> Detector:
    """That of `retinanet_resnet50_fpn`, and with the loss `giou` of its second version.

    The losses are those of torchvision: the sums of an image by the number of its
    anchors that have an object, at least 1, and the mean over images.

    Args:
      sizes: of each map, the sides in pixels of anchors that are squares.
      scale: by which all sizes are multiplied.
      ratios: height over width; a place has an anchor of each ratio and size.
      box_loss: `l1` of the codes, or `giou` of the boxes.
      alpha, gamma: of the focal loss, see `losses.sigmoid_focal`.
      high, low: thresholds of the IoU, see `matching.max_iou`.
      least_score, candidates, overlap, most: see `ops.boxes.best_of_levels`.
    """
    if box_loss not in BOX_LOSSES:
        raise unknown("loss of boxes", box_loss, BOX_LOSSES)
    check_decoding(
        least_score=least_score, candidates=candidates, overlap=overlap, most=most
    )
    anchors = anchors_of_grid(sizes, ratios, scale=scale)
    match = match_by_overlap(high, low)
    coder = box_ops.deltas()

    def losses(outputs, levels, objects, matches, step):
        del step
        logits, codes, references = (
            outputs["class_logits"],
            outputs["box_codes"],
            joined(levels),
        )
        positive = matches >= 0
        focal = focal_of_classes(logits, objects, matches, alpha=alpha, gamma=gamma)
        boxes = boxes_to_find(objects, matches, references)
        if box_loss == "l1":
            errors = jnp.sum(jnp.abs(codes - coder.encode(boxes, references)), axis=-1)
        else:
            errors = giou_loss(coder.decode(codes, references), boxes)
        count = jnp.maximum(jnp.sum(positive, dtype=jnp.float32), 1)
        totals = {
            "classification": focal / count,
            "boxes": jnp.sum(jnp.where(positive, errors, 0)) / count,
        }
        return totals, jnp.ones((), jnp.float32)

    def scores(outputs):
        return jax.nn.sigmoid(outputs["class_logits"])

    def boxes(outputs, references):
        return coder.decode(outputs["box_codes"], references)

    def decode(outputs, levels, frame):
        return box_ops.best_of_levels(
            scores(outputs),
            outputs["box_codes"],
            levels,
            coder.decode,
            frame,
            least=least_score,
            candidates=candidates,
            threshold=overlap,
            outputs=most,
        )

    return Detector(
        LEVELS, anchors, match, losses, decode, close=high, scores=scores, boxes=boxes
    )
