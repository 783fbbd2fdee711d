"""R-CNNs around their networks: proposals, and what is said of each of them.

Ren et al. 2015, Faster R-CNN, https://arxiv.org/abs/1506.01497
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import check
from jaxvision.losses import smooth_l1
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.recipes import DETECTORS
from jaxvision.tasks.detectors.detector import (
    Detector,
    Objects,
    RegionHead,
    Regions,
    boxes_to_find,
    check_decoding,
    joined,
    of_class,
    without_crowds,
)
from jaxvision.tasks.detectors.grid import anchors_of_grid, match_by_overlap
from jaxvision.types import Array, Outputs

SIZES = ((32,), (64,), (128,), (256,), (512,))
"""Sides of anchors in pixels on each map of the pyramid."""

MOBILE_SIZES = ((32, 64, 128, 256, 512),) * 3

BETA = 1 / 9
"""Of the loss of codes, see `losses.smooth_l1`."""

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of the codes of regions, see `boxes.deltas`."""


@DETECTORS.recorded
def faster_rcnn(
    *,
    sizes: Sequence[Sequence[float]] = SIZES,
    scale: float = 1.0,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    high: float = 0.7,
    low: float = 0.3,
    drawn: int = 256,
    drawn_share: float = 0.5,
    candidates: int = 1000,
    proposals: int = 1000,
    candidates_in_training: int = 2000,
    proposals_in_training: int = 2000,
    least_proposal: float = 0.0,
    proposal_overlap: float = 0.7,
    fits: float = 0.5,
    regions: int = 512,
    regions_share: float = 0.25,
    least_score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> Detector:
    """That of `fasterrcnn_resnet50_fpn` and its second version.

    The losses are those of torchvision.  Anchors: the cross-entropy of being an object
    (`objectness`) and the error of codes (`proposals`), by the number of those drawn in
    the batch.  Regions: the cross-entropy of the class, to be nothing included
    (`classification`), and the error of the codes of that class (`boxes`), by the
    number of regions drawn.  The boxes of all objects are proposals in training.  An
    evaluation draws by the keys of its examples.

    Args:
      sizes: of each map, the sides in pixels of anchors that are squares.
      scale: by which all sizes are multiplied.
      ratios: height over width; a place has an anchor of each ratio and size.
      high, low: thresholds of the IoU of anchors, see `matching.max_iou`.
      drawn, drawn_share: anchors of an image that teach, and the largest share of those
        with an object, see `matching.balanced_sample`.
      candidates, proposals: boxes of a map before, and of an image after suppression,
        and the same in training.
      least_proposal, proposal_overlap: see `ops.boxes.proposals_of_levels`.
      fits: from this IoU on a region shows its object; below it is background.
      regions, regions_share: of an image that teach, and the largest share of those
        with an object.
      least_score, overlap, most: see `ops.boxes.best_of_regions`.
    """
    check(
        (
            1 <= proposals and 1 <= proposals_in_training,
            "proposals must be at least 1, got "
            f"{proposals} and {proposals_in_training} in training",
        ),
    )
    check_decoding(
        least_score=least_proposal,
        candidates=min(candidates, candidates_in_training),
        overlap=proposal_overlap,
        most=most,
    )
    anchors = anchors_of_grid(sizes, ratios, scale=scale)
    match = match_by_overlap(high, low)
    coder = box_ops.deltas()

    def draw(key, matches):
        sample = matching.balanced_sample(key, matches, size=drawn, share=drawn_share)
        # Those that were not drawn are written to no place.
        places = jnp.where(sample.valid, sample.indices, len(matches))
        chosen = jnp.zeros(len(matches), bool).at[places].set(True, mode="drop")
        return jnp.where(chosen, matches, matching.IGNORED)

    def losses(outputs, levels, objects, matches, step):
        del step
        references, positive = joined(levels), matches >= 0
        counts = matches != matching.IGNORED
        entropy = optax.sigmoid_binary_cross_entropy(
            outputs["class_logits"][:, 0], positive.astype(jnp.float32)
        )
        codes = coder.encode(boxes_to_find(objects, matches, references), references)
        errors = jnp.sum(smooth_l1(outputs["box_codes"], codes, beta=BETA), axis=-1)
        totals = {
            "objectness": jnp.sum(jnp.where(counts, entropy, 0)),
            "proposals": jnp.sum(jnp.where(positive, errors, 0)),
        }
        return totals, jnp.sum(counts, dtype=jnp.float32)

    def proposed(candidates, outputs_):
        def decode(outputs, levels, frame):
            return box_ops.proposals_of_levels(
                outputs["class_logits"][:, 0],
                outputs["box_codes"],
                levels,
                coder.decode,
                frame,
                least=least_proposal,
                candidates=candidates,
                threshold=proposal_overlap,
                outputs=outputs_,
            )

        return decode

    head = box_head(
        fits=fits,
        regions=regions,
        share=regions_share,
        least_score=least_score,
        overlap=overlap,
        most=most,
    )
    return Detector(
        tuple(f"level{i}" for i in range(1, 1 + len(sizes))),
        anchors,
        match,
        losses,
        proposed(candidates, proposals),
        background=1,
        close=fits,
        draw=draw,
        heads=(head,),
        propose=proposed(candidates_in_training, proposals_in_training),
    )


@DETECTORS.recorded
def faster_rcnn_mobile(*, small: bool = False) -> Detector:
    """That of `fasterrcnn_mobilenet_v3_large_fpn`; `small`: of `…_320_fpn`, which has
    150 proposals of an image."""
    count = 150 if small else 1000
    return faster_rcnn(
        sizes=MOBILE_SIZES, least_proposal=0.05, candidates=count, proposals=count
    )


@DETECTORS.recorded
def fast_rcnn(
    *,
    given: str = "proposals",
    levels: int = 5,
    fits: float = 0.5,
    regions: int = 512,
    regions_share: float = 0.25,
    least_score: float = 0.05,
    overlap: float = 0.5,
    most: int = 100,
) -> Detector:
    """Fast R-CNN: proposals come with the image, from whatever looks for objects.

    Girshick 2015, https://arxiv.org/abs/1504.08083, on a pyramid, for the models of
    `faster_rcnn` with `anchors_per_place=0`.  Nothing but the head of regions learns.

    Args:
      given: the array of the batch with the proposals, [B,P,4] in pixels of what the
        network sees, zeros where there is none.
      levels: maps of the pyramid, the last half of the one before included; 1: all
        regions are of one map, or of the image itself (R-CNN).
      fits, regions, regions_share, least_score, overlap, most: see `faster_rcnn`.
    """
    check((levels >= 1, f"levels must be at least 1, got {levels}"))
    head = box_head(
        fits=fits,
        regions=regions,
        share=regions_share,
        least_score=least_score,
        overlap=overlap,
        most=most,
    )

    def decode(outputs, levels, frame):
        del levels
        boxes = box_ops.clip_to(outputs[given], frame)
        there = box_ops.area(boxes) > 0
        return box_ops.Detections(
            jnp.where(there[:, None], boxes, 0),
            there.astype(jnp.float32),
            jnp.where(there, 0, -1).astype(jnp.int32),
        )

    return Detector(
        tuple(f"level{i}" for i in range(1, 1 + levels)),
        anchors=lambda image, maps: [],
        match=lambda outputs, levels, objects: jnp.zeros(0, jnp.int32),
        losses=lambda *_: ({}, jnp.zeros((), jnp.float32)),
        decode=decode,
        background=1,
        heads=(head,),
        given=given,
    )


def box_head(
    *,
    fits: float,
    regions: int,
    share: float,
    least_score: float,
    overlap: float,
    most: int,
) -> RegionHead:
    """The class of each region and its box: Girshick 2015, Fast R-CNN,
    https://arxiv.org/abs/1504.08083.  Arguments: see `faster_rcnn`."""
    check(
        (0 < fits <= 1, f"fits must be an IoU above 0, at most 1, got {fits}"),
        (regions >= 1, f"regions must be at least 1, got {regions}"),
        (0 <= share <= 1, f"regions_share must be from 0 to 1, got {share}"),
    )
    check_decoding(
        least_score=least_score, candidates=regions, overlap=overlap, most=most
    )
    coder = box_ops.deltas(WEIGHTS)

    def choose(key: Array, proposals: Regions, objects: Objects) -> Regions:
        boxes = jnp.concatenate([proposals.boxes, objects.boxes])
        there = jnp.concatenate([proposals.matches != matching.IGNORED, objects.valid])
        overlaps = box_ops.pairwise(box_ops.iou)(objects.boxes, boxes)
        matches = matching.max_iou(overlaps, objects.valid, high=fits, low=fits)
        matches = without_crowds(matches, boxes, objects)
        matches = jnp.where(there, matches, matching.IGNORED)
        sample = matching.balanced_sample(key, matches, size=regions, share=share)
        chosen = matches[sample.indices]
        return Regions(
            boxes[sample.indices],
            jnp.where(sample.valid, chosen, matching.IGNORED),
        )

    def losses(outputs: Outputs, regions: Regions, objects: Objects):
        matches, positive = regions.matches, regions.matches >= 0
        counts = matches != matching.IGNORED
        classes = matching.gather(objects.classes + 1, matches)
        entropy = optax.softmax_cross_entropy_with_integer_labels(
            outputs["class_logits"], classes
        )
        codes = coder.encode(
            boxes_to_find(objects, matches, regions.boxes), regions.boxes
        )
        errors = smooth_l1(of_class(outputs["box_codes"], classes), codes, beta=BETA)
        totals = {
            "classification": jnp.sum(jnp.where(counts, entropy, 0)),
            "boxes": jnp.sum(jnp.where(positive[:, None], errors, 0)),
        }
        return totals, jnp.sum(counts, dtype=jnp.float32)

    def decode(outputs: Outputs, found: Mapping[str, Array], frame: Array):
        boxes = coder.decode(outputs["box_codes"], found["boxes"][:, None])
        best = box_ops.best_of_regions(
            jax.nn.softmax(outputs["class_logits"])[:, 1:],
            box_ops.clip_to(boxes, frame)[:, 1:],
            found["classes"] >= 0,
            least=least_score,
            threshold=overlap,
            outputs=most,
        )
        return best._asdict()

    return RegionHead("boxes", choose, losses, decode, of_classes="class_logits")
