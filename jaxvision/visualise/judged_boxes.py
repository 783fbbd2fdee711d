"""Boxes of a gallery held against what is there: which are right, and what is wrong."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxvision.metrics import detection as metrics
from jaxvision.metrics import tide
from jaxvision.ops import masks
from jaxvision.visualise.galleries import Shown, as_seen

Arrays = Mapping[str, np.ndarray]
Limbs = Sequence[tuple[int, int]]
"""Pairs of keypoints, see `skeletons.Skeleton`."""

AROUND = 2.5
"""How much larger than a box what is shown of it is, at least."""
LEAST = 48
"""Pixels of its side, at least."""


class Judged(NamedTuple):
    """An example of a gallery, in the frame of its prediction, without padding."""

    caption: str
    truth: Arrays
    """`image`, `boxes` [m,4], `classes` [m] and, where there are any, `crowd` [m],
    `instances` and `keypoints`, as in `types.Batch`."""
    missed: np.ndarray
    """bool [m]: what is to be found and was not."""
    found: Arrays
    """`image`, `boxes` [n,4], `classes` [n], `scores` [n] and, where they were found,
    `instances` and `keypoints`, the surest last."""
    notes: Sequence[str]
    """Of each, its score, and its IoU with its object or what kind of mistake it is."""
    mistakes: Sequence[str]
    """The same of mistakes; empty for what is right."""


def judged(one: Shown, least: float) -> Judged:
    """Holds the boxes with scores of `least` or more against what is there."""
    moved = not np.array_equal(one.example["boxes"], one.input["boxes"])
    example, prediction = as_seen(one, moved=moved), one.prediction
    there = example["classes"] >= 0
    height, width = example["image"].shape[:2]
    # Of boxes alone, masks and keypoints would hide what there is to compare.
    names = (*TRUE, *(SHAPES[name] for name in SHAPES if name in prediction))
    truth = {k: example[k][there] for k in names if k in example}
    if "instances" in truth:  # of a canvas the image is a part
        truth["instances"] = truth["instances"][:, :height, :width]
    sure = (prediction["classes"] >= 0) & (prediction["scores"] >= least)
    said = {k: prediction[k][sure] for k in metrics.FOUND}
    errors = tide.classify(metrics.from_images([said], [truth]))

    taken = errors.target[errors.right]
    missed = np.ones(len(truth["classes"]), bool)
    missed[taken] = False
    if "crowd" in truth:
        missed &= truth["crowd"] == 0
    order = np.argsort(errors.found.score, kind="stable")
    found = {
        "image": example["image"],
        "boxes": errors.found.boxes.box[order],
        "classes": errors.found.boxes.cls[order],
        "scores": errors.found.score[order],
        **shapes(
            prediction, np.flatnonzero(sure)[errors.found.slot[order]], (height, width)
        ),
    }
    notes, mistakes = [], []
    for i in order:
        what = "crowd"
        if errors.right[i]:
            box, own = errors.found.boxes.box[i], truth["boxes"][errors.target[i]]
            iou = metrics.overlap(box[None], own[None].astype(float), np.zeros(1, bool))
            what = f"IoU {iou[0]:.2f}"
        elif errors.kind[i] >= 0:
            what = tide.WRONG[errors.kind[i]]
        notes.append(f"{errors.found.score[i]:.2f} {what}")
        mistakes.append(notes[-1] if errors.kind[i] >= 0 else "")
    truth["image"] = example["image"]
    return Judged(one.caption, truth, missed, found, notes, mistakes)


TRUE = ("boxes", "classes", "crowd")
SHAPES = {"masks": "instances", "keypoints": "keypoints"}
"""What else a network may find, and what a batch calls it."""


def shapes(prediction: Arrays, places: np.ndarray, size: tuple[int, int]) -> Arrays:
    """`instances` and `keypoints` of what was found at these places, where a network
    finds them, as an annotation of an image of that size has them."""
    found = {}
    if "masks" in prediction:
        found["instances"] = masks.paste_on_host(
            prediction["masks"][places], prediction["boxes"][places], size
        )
    if "keypoints" in prediction:
        found["keypoints"] = prediction["keypoints"][places].copy()
        found["keypoints"][..., 2] = 2
    return found


def misses(
    examples: Sequence[Judged], classes: Sequence[str], limbs: Limbs = ()
) -> list[tuple[str, list[np.ndarray]]]:
    """What was missed, the largest first: in words, and what is there beside what was
    found there."""
    places = [
        (_area(one.truth["boxes"][m]), one, m)
        for one in _distinct(examples)
        for m in np.flatnonzero(one.missed).tolist()
    ]
    places.sort(key=lambda place: -place[0])
    return [
        (
            f"{classes[one.truth['classes'][m]]} missed, {_image(one)}",
            _closer(one, one.truth["boxes"][m], classes, limbs, truth=m),
        )
        for _, one, m in places
    ]


def false_alarms(
    examples: Sequence[Judged], classes: Sequence[str], limbs: Limbs = ()
) -> list[tuple[str, list[np.ndarray]]]:
    """Boxes that are wrong, the surest first, as `misses`."""
    places = [
        (one.found["scores"][n], one, n)
        for one in _distinct(examples)
        for n, note in enumerate(one.mistakes)
        if note
    ]
    places.sort(key=lambda place: -place[0])
    return [
        (
            f"{classes[one.found['classes'][n]]} {one.mistakes[n]}, {_image(one)}",
            _closer(one, one.found["boxes"][n], classes, limbs, found=n),
        )
        for _, one, n in places
    ]


def _distinct(examples: Sequence[Judged]) -> Sequence[Judged]:
    """An image may be among the worst, and in the sample."""
    return list({_image(one): one for one in examples}.values())


def _image(one: Judged) -> str:
    return one.caption.rpartition(": ")[2]


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _closer(
    one: Judged,
    box: np.ndarray,
    classes: Sequence[str],
    limbs: Limbs,
    *,
    truth: int | None = None,
    found: int | None = None,
) -> list[np.ndarray]:
    """What is around a box, as it is and as it was found; the one that it is about is
    written at."""
    from jaxvision import visualise

    height, width = one.truth["image"].shape[:2]
    side = max(AROUND * max(box[2] - box[0], box[3] - box[1]), LEAST)
    left, right = _stretch((box[0] + box[2]) / 2, side, width)
    top, bottom = _stretch((box[1] + box[3]) / 2, side, height)
    drawn = []
    for arrays, chosen, note in (
        (one.truth, truth, "missed"),
        (one.found, found, "" if found is None else one.notes[found]),
    ):
        boxes = np.clip(arrays["boxes"], (left, top) * 2, (right, bottom) * 2)
        seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        notes = ["" if i != chosen else note for i in np.flatnonzero(seen)]
        part = {
            k: arrays[k][seen] for k in ("classes", "crowd") if k in arrays
        } | {
            "image": arrays["image"][top:bottom, left:right],
            "boxes": boxes[seen] - (left, top) * 2,
        }  # fmt: skip
        if "instances" in arrays:
            part["instances"] = arrays["instances"][seen, top:bottom, left:right]
        if "keypoints" in arrays:
            part["keypoints"] = arrays["keypoints"][seen] - np.array([left, top, 0])
        drawn.append(visualise.overlay(part, classes, notes=notes, limbs=limbs))
    return drawn


def _stretch(centre: float, length: float, limit: int) -> tuple[int, int]:
    """Where so many pixels around a place begin and end, within the image."""
    low = int(max(np.floor(centre - length / 2), 0))
    return low, max(min(int(np.ceil(centre + length / 2)), limit), low + 1)
