"""SSD around its network.  Liu et al. 2016, https://arxiv.org/abs/1512.02325"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import check
from jaxvision.losses import smooth_l1
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

MAPS = ("map1", "map2", "map3", "map4", "map5", "map6")

RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
STEPS = (8, 16, 32, 64, 100, 300)
"""Of default boxes for images of 300×300, see `anchors.default_boxes`."""

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of the codes, see `boxes.deltas`."""


@DETECTORS.recorded
def ssd(
    *,
    ratios: Sequence[Sequence[float]] = RATIOS,
    scales: Sequence[float] | None = SCALES,
    range_of_scales: tuple[float, float] = (0.15, 0.9),
    steps: Sequence[float] | None = STEPS,
    threshold: float = 0.5,
    negatives: float = 3.0,
    least_score: float = 0.01,
    candidates: int = 400,
    overlap: float = 0.45,
    most: int = 200,
) -> Detector:
    """That of `ssd300_vgg16`, whose first class is the background.

    The losses are sums by the number of default boxes that have an object, over the
    whole batch, as in the paper and in torchvision; a batch without any teaches
    nothing.

    Args:
      ratios, scales, range_of_scales, steps: of the default boxes, see
        `ops.boxes.anchors.default_boxes`.
      threshold: see `matching.best_and_above`.
      negatives: background for each default box that has an object, see
        `matching.hard_negatives`.
      least_score, candidates, overlap, most: see `ops.boxes.best_of_classes`.
    """
    check(
        (
            0 < threshold <= 1,
            f"threshold must be an IoU above 0, at most 1, got {threshold}",
        ),
        (negatives >= 0, f"negatives must not be negative, got {negatives}"),
    )
    check_decoding(
        least_score=least_score, candidates=candidates, overlap=overlap, most=most
    )
    coder = box_ops.deltas(WEIGHTS)

    def anchors(image, maps):
        return anchor_ops.default_boxes(
            image,
            maps,
            ratios,
            scales=scales,
            range_of_scales=range_of_scales,
            steps=steps,
        )

    def match(outputs, levels, objects):
        del outputs
        references = joined(levels)
        overlaps = box_ops.pairwise(box_ops.iou)(objects.boxes, references)
        return matching.best_and_above(overlaps, objects.valid, threshold=threshold)

    def losses(outputs, levels, objects, matches, step):
        del step
        references = joined(levels)
        positive = matches >= 0
        classes = matching.gather(objects.classes + 1, matches)
        entropy = optax.softmax_cross_entropy_with_integer_labels(
            outputs["class_logits"], classes
        )
        hard = matching.hard_negatives(
            jax.lax.stop_gradient(entropy), matches, ratio=negatives
        )
        boxes = boxes_to_find(objects, matches, references)
        errors = smooth_l1(outputs["box_codes"], coder.encode(boxes, references))
        totals = {
            "classification": jnp.sum(jnp.where(positive | hard, entropy, 0)),
            "boxes": jnp.sum(jnp.where(positive[:, None], errors, 0)),
        }
        return totals, jnp.sum(positive, dtype=jnp.float32)

    def scores(outputs):
        return jax.nn.softmax(outputs["class_logits"])[:, 1:]

    def boxes(outputs, references):
        return coder.decode(outputs["box_codes"], references)

    def decode(outputs, levels, frame):
        return box_ops.best_of_classes(
            scores(outputs),
            box_ops.clip_to(boxes(outputs, joined(levels)), frame),
            least=least_score,
            candidates=candidates,
            threshold=overlap,
            outputs=most,
        )

    return Detector(
        MAPS,
        anchors,
        match,
        losses,
        decode,
        scores=scores,
        boxes=boxes,
        background=1,
        close=threshold,
    )


@DETECTORS.recorded
def ssdlite(*, range_of_scales: tuple[float, float] = (0.2, 0.95)) -> Detector:
    """That of `ssdlite320_mobilenet_v3_large`: `ssd` with evenly spaced scales, and
    other thresholds.

    range_of_scales: of the default boxes, see `ops.boxes.anchors.default_boxes`.
    """
    return ssd(
        ratios=((2, 3),) * len(MAPS),
        scales=None,
        range_of_scales=range_of_scales,
        steps=None,
        least_score=0.001,
        candidates=300,
        overlap=0.55,
        most=300,
    )
