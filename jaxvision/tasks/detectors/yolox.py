"""YOLOX around its network.  Ge et al. 2021, https://arxiv.org/abs/2107.08430"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.errors import check
from jaxvision.losses import squared_iou_loss
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.ops.boxes import anchors as anchor_ops
from jaxvision.recipes import DETECTORS
from jaxvision.tasks.detectors.detector import (
    Detector,
    boxes_to_find,
    check_decoding,
    joined,
)

LEVELS = ("p3", "p4", "p5")
STRIDES = (8, 16, 32)


@DETECTORS.recorded
def yolox(
    *,
    strides: Sequence[int] = STRIDES,
    radius: float = 2.5,
    in_boxes: bool = True,
    box_weight: float = 5.0,
    l1_from: int | None = None,
    least_score: float = 0.01,
    candidates: int = 1000,
    overlap: float = 0.65,
    most: int = 100,
) -> Detector:
    """That of `yolox_nano` … `yolox_x`.

    The losses are those of the authors' code: sums by the number of places that have an
    object, over the whole batch.  A batch without any teaches nothing; there it is as
    if there were one.  The target of a class is the IoU of the box with its object.
    Nothing is learned where there is a crowd.

    Args:
      strides: of each map, in pixels.
      radius, in_boxes: see `matching.simota`; the defaults are those of the paper and
        of the published weights.
      box_weight: of the loss `1 - IoU²` of boxes.
      l1_from: the step from which the L1 loss of the codes is added, for the last
        epochs, whose images are not mixed; None: it never is.
      least_score, candidates, overlap, most: see `ops.boxes.best_of_anchors`; a score
        is the class's times the objectness.
    """
    check_decoding(
        least_score=least_score, candidates=candidates, overlap=overlap, most=most
    )
    check(
        (radius > 0, f"radius must be positive, in cells, got {radius}"),
        (box_weight >= 0, f"box_weight must be at least 0, got {box_weight}"),
        (
            l1_from is None or l1_from >= 0,
            f"l1_from must be a step from 0 on, or None, got {l1_from}",
        ),
    )
    coder = box_ops.yolox()

    def anchors(image, maps):
        del image
        return anchor_ops.cells(maps, strides)

    def match(outputs, levels, objects):
        cells = joined(levels)
        return matching.simota(
            coder.decode(outputs["box_codes"], cells),
            outputs["class_logits"],
            outputs["objectness"],
            cells,
            objects.boxes,
            objects.classes,
            objects.valid,
            radius=radius,
            in_boxes=in_boxes,
        ).matches

    def losses(outputs, levels, objects, matches, step):
        logits, codes = outputs["class_logits"], outputs["box_codes"]
        cells = joined(levels)
        positive = matches >= 0
        found = positive.astype(jnp.float32)
        boxes = boxes_to_find(objects, matches, cells)
        codes = jnp.where(positive[:, None], codes, 0)
        predicted = coder.decode(codes, cells)
        errors = squared_iou_loss(predicted, boxes, eps=1e-16)
        share = lax.stop_gradient(box_ops.iou(predicted, boxes))
        classes = matching.gather(objects.classes, matches, -1)
        targets = jax.nn.one_hot(classes, logits.shape[-1]) * share[:, None]
        entropy = optax.sigmoid_binary_cross_entropy(logits, targets)
        there = optax.sigmoid_binary_cross_entropy(outputs["objectness"], found)
        totals = {
            "classification": jnp.sum(entropy * found[:, None]),
            "boxes": box_weight * jnp.sum(errors * found),
            "objectness": jnp.sum(jnp.where(matches != matching.IGNORED, there, 0)),
        }
        if l1_from is not None:
            off = jnp.abs(codes - coder.encode(boxes, cells)) * found[:, None]
            totals["l1"] = jnp.where(step >= l1_from, jnp.sum(off), 0)
        return totals, jnp.sum(found)

    def scores(outputs):
        there = jax.nn.sigmoid(outputs["objectness"])[:, None]
        return jax.nn.sigmoid(outputs["class_logits"]) * there

    def boxes(outputs, references):
        return coder.decode(outputs["box_codes"], references)

    def decode(outputs, levels, frame):
        return box_ops.best_of_anchors(
            scores(outputs),
            boxes(outputs, joined(levels)),
            frame,
            least=least_score,
            candidates=candidates,
            threshold=overlap,
            outputs=most,
        )

    return Detector(
        LEVELS,
        anchors,
        match,
        losses,
        decode,
        scores=scores,
        boxes=boxes,
        judged=("class_logits", "objectness"),
    )
