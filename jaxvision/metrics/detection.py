"""Found and true boxes of a whole set on the host, flat, and which of them meet.

The metrics of finding objects (`coco`, `voc`, `tide`) are computed from the rows of an
evaluation, which have a fixed number of boxes for each image.  `Boxes` has all boxes of
all images behind each other, and what is computed of them is computed for all at once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.types import Batch, Rows

Array = jax.Array

FOUND = ("boxes", "scores", "classes")
TRUE = ("boxes", "classes", "crowd", "area")


class Boxes(NamedTuple):
    """Boxes of a set, image after image."""

    image: np.ndarray
    """int64 [n]: which image, from 0."""
    box: np.ndarray
    """float64 [n,4]: x_min, y_min, x_max, y_max in pixels."""
    cls: np.ndarray
    """int64 [n]: from 0."""

    def area(self) -> np.ndarray:
        """float64 [n]."""
        return (self.box[:, 2] - self.box[:, 0]) * (self.box[:, 3] - self.box[:, 1])

    def taken(self, places: np.ndarray) -> "Boxes":
        """A choice of them, in that order."""
        return Boxes(*(array[places] for array in self))


class Found(NamedTuple):
    """What a detector says."""

    boxes: Boxes
    score: np.ndarray
    """float64 [n]."""

    def taken(self, places: np.ndarray) -> "Found":
        return Found(self.boxes.taken(places), self.score[places])


class Truth(NamedTuple):
    """What there is."""

    boxes: Boxes
    crowd: np.ndarray
    """bool [m]: neither to be found nor a mistake if it is."""
    area: np.ndarray
    """float64 [m]: the pixels of the object, by which it is small or large."""

    def taken(self, places: np.ndarray) -> "Truth":
        return Truth(self.boxes.taken(places), self.crowd[places], self.area[places])


class Set(NamedTuple):
    """An evaluated set: what was found in it, and what there is to be found."""

    found: Found
    truth: Truth
    num_images: int


def rows(found: Mapping[str, Array], batch: Batch) -> Rows:
    """What `Task.update` keeps of a batch, under jit.

    Args:
      found: `boxes` [B,D,4], `scores` [B,D] and `classes` [B,D], -1 where there is
        none, in the pixels of the batch's boxes.
      batch: with `boxes`, `classes` and, where a set has them, `crowd` and `area`.
    """
    true = {name: batch[name] for name in TRUE if name in batch}
    return {f"found_{name}": found[name] for name in FOUND} | true


def from_rows(rows: Mapping[str, np.ndarray]) -> Set:
    """A set from the rows of an evaluation, in the order of its N images.

    Args:
      rows: those of `rows`.  `area` [N,M] are the pixels of each object, where a set
        tells them (COCO counts those of its outline); else they are those of its box.

    Raises `UsageError` for rows that are missing, or differ in their number of images.
    """
    for name in (*(f"found_{name}" for name in FOUND), "boxes", "classes"):
        if name not in rows:
            raise unknown("row", name, rows)
    lengths = {name: len(array) for name, array in rows.items()}
    check(
        (
            len(set(lengths.values())) == 1,
            f"rows must be of the same images, got so many of each: {lengths}",
        )
    )

    def flat(boxes, classes):
        there = np.asarray(classes) >= 0
        image, _ = np.nonzero(there)
        box = np.asarray(boxes)[there].astype(np.float64)
        return there, Boxes(image, box, np.asarray(classes)[there].astype(np.int64))

    there, boxes = flat(rows["found_boxes"], rows["found_classes"])
    score = np.asarray(rows["found_scores"])[there].astype(np.float64)
    there, true = flat(rows["boxes"], rows["classes"])
    crowd, area = np.zeros(len(true.cls), bool), true.area()
    if "crowd" in rows:
        crowd = np.asarray(rows["crowd"])[there] == 1
    if "area" in rows:
        area = np.asarray(rows["area"])[there].astype(np.float64)
    return Set(Found(boxes, score), Truth(true, crowd, area), len(rows["classes"]))


def from_images(
    found: Sequence[Mapping[str, np.ndarray]], truth: Sequence[Mapping[str, np.ndarray]]
) -> Set:
    """A set from the arrays of each image, without padding.

    Args:
      found: of each image, `boxes` [n,4], `scores` [n] and `classes` [n].
      truth: of each image, `boxes` [m,4], `classes` [m] and, where there are any,
        `crowd` [m] and `area` [m].

    Raises `UsageError` where the two differ in their number of images.
    """
    check(
        (
            len(found) == len(truth),
            f"found is of {len(found)} images and truth of {len(truth)}",
        )
    )

    def flat(images):
        lengths = [len(image["classes"]) for image in images]
        boxes = [np.asarray(image["boxes"]).reshape(-1, 4) for image in images]
        return Boxes(
            np.repeat(np.arange(len(images)), lengths),
            _joined(boxes, np.zeros((0, 4))),
            _joined([image["classes"] for image in images], np.zeros(0, np.int64)),
        )

    boxes, true = flat(found), flat(truth)
    score = _joined([image["scores"] for image in found], np.zeros(0))
    crowd = [i.get("crowd", np.zeros(len(i["classes"]))) for i in truth]
    crowd = _joined(crowd, np.zeros(0)) == 1
    areas = [
        image.get("area", np.full(len(image["classes"]), np.nan)) for image in truth
    ]
    area = _joined(areas, np.zeros(0))
    area = np.where(np.isnan(area), true.area(), area)
    return Set(Found(boxes, score), Truth(true, crowd, area), len(found))


def in_order(found: Found) -> np.ndarray:
    """The order of `found` by image, by class within it, and by falling score."""
    return np.lexsort((-found.score, found.boxes.cls, found.boxes.image))


def ranks(*keys: np.ndarray) -> np.ndarray:
    """int64 [n]: the place of each in its run of equal keys."""
    count = len(keys[0])
    starts = np.zeros(count, np.int64)
    if count:
        new = np.any([np.diff(key) != 0 for key in keys], axis=0)
        starts[1:] = np.where(new, np.arange(1, count), 0)
    return np.arange(count) - np.maximum.accumulate(starts)


class Pairs(NamedTuple):
    """Found and true boxes of the same image, in the order of the found ones."""

    found: np.ndarray
    """int64 [p]: the place of the found box."""
    true: np.ndarray
    """int64 [p]: the place of the true one, rising for each found box."""
    iou: np.ndarray
    """float64 [p]: of a crowd, the share of the found box that lies in it."""

    def where(self, which: np.ndarray) -> "Pairs":
        return Pairs(*(array[which] for array in self))


def pairs(found: Boxes, truth: Truth, *, of_class: bool = True) -> Pairs:
    """All pairs in each image, or those of the same class."""
    true = truth.boxes
    there, wanted = true.image, found.image
    if of_class:
        classes = 1 + max(true.cls.max(initial=0), found.cls.max(initial=0))
        there = there * classes + true.cls
        wanted = wanted * classes + found.cls
    order = np.argsort(there, kind="stable")
    first = np.searchsorted(there[order], wanted, side="left")
    counts = np.searchsorted(there[order], wanted, side="right") - first
    f = np.repeat(np.arange(len(wanted)), counts)
    t = np.arange(len(f)) - np.repeat(np.cumsum(counts) - counts, counts)
    t = order[t + np.repeat(first, counts)]
    return Pairs(f, t, overlap(found.box[f], true.box[t], truth.crowd[t]))


def overlap(found: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU of boxes [p,4], as COCO defines it: over the found area alone for crowds."""
    width = np.minimum(found[:, 2], true[:, 2]) - np.maximum(found[:, 0], true[:, 0])
    height = np.minimum(found[:, 3], true[:, 3]) - np.maximum(found[:, 1], true[:, 1])
    both = width.clip(0) * height.clip(0)
    mine = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    theirs = (true[:, 2] - true[:, 0]) * (true[:, 3] - true[:, 1])
    whole = np.where(crowd, mine, mine + theirs - both)
    return np.divide(both, whole, out=np.zeros_like(both), where=both > 0)


def _joined(arrays: Sequence[np.ndarray], nothing: np.ndarray) -> np.ndarray:
    return np.concatenate([*arrays, nothing]).astype(nothing.dtype)
