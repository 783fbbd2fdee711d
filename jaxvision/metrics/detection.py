"""Found and true objects of a whole set on the host, flat, and which of them meet.

The metrics of finding objects (`coco`, `voc`, `tide`) are computed from the rows of an
evaluation, which have a fixed number of objects for each image.  A `Set` has all
objects of all images behind each other, and what is computed of them is computed for
all at once.  How well two objects meet is a function of the set: of their boxes, their
masks or their keypoints.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.metrics import keypoints as similar
from jaxvision.ops import masks as mask_ops
from jaxvision.skeletons import check_sigmas
from jaxvision.types import Batch, Rows

Array = jax.Array

FOUND = ("boxes", "scores", "classes")
TRUE = ("boxes", "classes", "crowd", "area")
MASKS = ("mask_both", "found_mask_area", "mask_area")
"""Rows of masks: `mask_both` int32 [B,D,M] are the pixels that a found and a true one
have in common, and the others those of each, [B,D] and [B,M]."""
KEYPOINTS = ("found_keypoints", "keypoints")


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
    area: np.ndarray
    """float64 [n]: of the box, the mask, or the box around the keypoints."""
    slot: np.ndarray
    """int64 [n]: which of its image it is, in the rows."""

    def taken(self, places: np.ndarray) -> "Found":
        return Found(self.boxes.taken(places), *(array[places] for array in self[1:]))


class Truth(NamedTuple):
    """What there is."""

    boxes: Boxes
    crowd: np.ndarray
    """bool [m]: neither to be found nor a mistake if it is, however often."""
    ignored: np.ndarray
    """bool [m]: crowds, and what else is not to be found and no mistake if it is."""
    area: np.ndarray
    """float64 [m]: the pixels of the object, by which it is small or large."""
    slot: np.ndarray
    """int64 [m]: which of its image it is, in the rows."""

    def taken(self, places: np.ndarray) -> "Truth":
        return Truth(self.boxes.taken(places), *(array[places] for array in self[1:]))


Meet = Callable[[Found, Truth, np.ndarray, np.ndarray], np.ndarray]
"""`(found, truth, f, t) -> float64 [p]`: how well each pair of places meets, from 0 to
1; of a crowd, the share of the found one that lies in it."""


def boxes_meet(found: Found, truth: Truth, f: np.ndarray, t: np.ndarray) -> np.ndarray:
    """IoU of boxes."""
    return overlap(found.boxes.box[f], truth.boxes.box[t], truth.crowd[t])


class Set(NamedTuple):
    """An evaluated set: what was found in it, and what there is to be found."""

    found: Found
    truth: Truth
    num_images: int
    meet: Meet = boxes_meet


def rows(found: Mapping[str, Array], batch: Batch) -> Rows:
    """What `Task.update` keeps of a batch, under jit.

    Args:
      found: `boxes` [B,D,4], `scores` [B,D] and `classes` [B,D], -1 where there is
        none, in the pixels of the batch's boxes; and where the model has them, `masks`
        [B,D,S,S], probabilities within the box, and `keypoints` [B,D,K,3].
      batch: with `boxes`, `classes` and, where a set has them, `crowd` and `area`; with
        `instances` for masks and `keypoints` for keypoints.

    Masks are pasted and compared on the device, in blocks of rows: what is kept are
    counts of pixels.  Where there are masks or keypoints to be measured, `area` are the
    pixels of `instances`, unless the batch has it.
    """
    kept = {name: batch[name] for name in TRUE if name in batch}
    kept |= {f"found_{name}": found[name] for name in FOUND}
    measured = {"masks", "keypoints"} & found.keys()
    if measured and "instances" in batch:
        seen = jnp.sum(batch["instances"] > 0, axis=(2, 3), dtype=jnp.int32)
        kept.setdefault("area", seen.astype(jnp.float32))
    if "masks" in found and "instances" in batch:
        overlap = jax.vmap(mask_ops.pasted_overlap)(
            found["masks"], found["boxes"], batch["instances"], batch.get("canvas")
        )
        kept |= dict(zip(MASKS, overlap, strict=True))
    if "keypoints" in found and "keypoints" in batch:
        kept |= dict(
            zip(KEYPOINTS, (found["keypoints"], batch["keypoints"]), strict=True)
        )
    return kept


def from_rows(rows: Mapping[str, np.ndarray]) -> Set:
    """A set of boxes from the rows of an evaluation, in the order of its N images.

    Args:
      rows: those of `rows`.  `area` [N,M] are the pixels of each object, where a set
        tells them (COCO counts those of its outline); else they are those of its box.

    Raises `UsageError` for rows that are missing, or differ in their number of images.
    """
    _check_rows(rows, (*(f"found_{name}" for name in FOUND), "boxes", "classes"))

    def flat(boxes, classes):
        there = np.asarray(classes) >= 0
        image, slot = np.nonzero(there)
        box = np.asarray(boxes)[there].astype(np.float64)
        return (
            there,
            Boxes(image, box, np.asarray(classes)[there].astype(np.int64)),
            slot,
        )

    there, boxes, slot = flat(rows["found_boxes"], rows["found_classes"])
    score = np.asarray(rows["found_scores"])[there].astype(np.float64)
    found = Found(boxes, score, boxes.area(), slot)
    there, true, slot = flat(rows["boxes"], rows["classes"])
    crowd, area = np.zeros(len(true.cls), bool), true.area()
    if "crowd" in rows:
        crowd = np.asarray(rows["crowd"])[there] == 1
    if "area" in rows:
        area = np.asarray(rows["area"])[there].astype(np.float64)
    return Set(found, Truth(true, crowd, crowd, area, slot), len(rows["classes"]))


def masks_from_rows(rows: Mapping[str, np.ndarray]) -> Set:
    """A set of masks: `from_rows`, of which the masks meet."""
    _check_rows(rows, MASKS)
    of = from_rows(rows)
    both, mine, theirs = (np.asarray(rows[name]) for name in MASKS)

    def meet(found, truth, f, t):
        image = found.boxes.image[f]
        common = both[image, found.slot[f], truth.slot[t]].astype(np.float64)
        areas = mine[image, found.slot[f]], theirs[image, truth.slot[t]]
        return _share(common, *areas, truth.crowd[t])

    area = mine[of.found.boxes.image, of.found.slot].astype(np.float64)
    return of._replace(found=of.found._replace(area=area), meet=meet)


def keypoints_from_rows(rows: Mapping[str, np.ndarray], sigmas: Sequence[float]) -> Set:
    """A set of keypoints: `from_rows`, which meet by their OKS (`metrics.keypoints`).

    Objects without a labelled keypoint are ignored.

    Raises `UsageError` also unless there is one of `sigmas` for each keypoint.
    """
    _check_rows(rows, KEYPOINTS)
    of = from_rows(rows)
    said, true = (np.asarray(rows[name]) for name in KEYPOINTS)
    check(
        (
            said.shape[2] == true.shape[2],
            f"{said.shape[2]} keypoints were found of each object, and the set has "
            f"{true.shape[2]}",
        )
    )
    check_sigmas(sigmas, true.shape[2])
    image = of.found.boxes.image
    area = similar.extent(said[image, of.found.slot])
    labelled = true[of.truth.boxes.image, of.truth.slot, :, 2] > 0

    def meet(found, truth, f, t):
        image = found.boxes.image[f]
        return similar.similarity(
            said[image, found.slot[f]],
            true[image, truth.slot[t]],
            truth.boxes.box[t],
            truth.area[t],
            sigmas,
        )

    ignored = of.truth.crowd | ~labelled.any(-1)
    return of._replace(
        found=of.found._replace(area=area),
        truth=of.truth._replace(ignored=ignored),
        meet=meet,
    )


def from_images(
    found: Sequence[Mapping[str, np.ndarray]], truth: Sequence[Mapping[str, np.ndarray]]
) -> Set:
    """A set of boxes from the arrays of each image, without padding.

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
        image = np.repeat(np.arange(len(images)), lengths)
        classes = _joined([image["classes"] for image in images], np.zeros(0, np.int64))
        return Boxes(image, _joined(boxes, np.zeros((0, 4))), classes), ranks(image)

    (boxes, slot), (true, true_slot) = flat(found), flat(truth)
    score = _joined([image["scores"] for image in found], np.zeros(0))
    crowd = [i.get("crowd", np.zeros(len(i["classes"]))) for i in truth]
    crowd = _joined(crowd, np.zeros(0)) == 1
    areas = [
        image.get("area", np.full(len(image["classes"]), np.nan)) for image in truth
    ]
    area = _joined(areas, np.zeros(0))
    area = np.where(np.isnan(area), true.area(), area)
    return Set(
        Found(boxes, score, boxes.area(), slot),
        Truth(true, crowd, crowd, area, true_slot),
        len(found),
    )


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
    """float64 [p]: what `Meet` says, which is the IoU of boxes and masks."""

    def where(self, which: np.ndarray) -> "Pairs":
        return Pairs(*(array[which] for array in self))


def pairs(
    found: Found, truth: Truth, meet: Meet = boxes_meet, *, of_class: bool = True
) -> Pairs:
    """All pairs in each image, or those of the same class."""
    true = truth.boxes
    there, wanted = true.image, found.boxes.image
    if of_class:
        classes = 1 + max(true.cls.max(initial=0), found.boxes.cls.max(initial=0))
        there = there * classes + true.cls
        wanted = wanted * classes + found.boxes.cls
    order = np.argsort(there, kind="stable")
    first = np.searchsorted(there[order], wanted, side="left")
    counts = np.searchsorted(there[order], wanted, side="right") - first
    f = np.repeat(np.arange(len(wanted)), counts)
    t = np.arange(len(f)) - np.repeat(np.cumsum(counts) - counts, counts)
    t = order[t + np.repeat(first, counts)]
    return Pairs(f, t, meet(found, truth, f, t))


def overlap(found: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU of boxes [p,4], as COCO defines it: over the found area alone for crowds."""
    width = np.minimum(found[:, 2], true[:, 2]) - np.maximum(found[:, 0], true[:, 0])
    height = np.minimum(found[:, 3], true[:, 3]) - np.maximum(found[:, 1], true[:, 1])
    both = width.clip(0) * height.clip(0)
    mine = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    theirs = (true[:, 2] - true[:, 0]) * (true[:, 3] - true[:, 1])
    return _share(both, mine, theirs, crowd)


def _share(
    both: np.ndarray, mine: np.ndarray, theirs: np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    """What two areas have in common, float64 [p], by both or for crowds by mine."""
    whole = np.where(crowd, mine, mine + theirs - both)
    return np.divide(both, whole, out=np.zeros_like(both), where=both > 0)


def _check_rows(rows: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
    for name in names:
        if name not in rows:
            raise unknown("row", name, rows)
    lengths = {name: len(array) for name, array in rows.items()}
    check(
        (
            len(set(lengths.values())) == 1,
            f"rows must be of the same images, got so many of each: {lengths}",
        )
    )


def _joined(arrays: Sequence[np.ndarray], nothing: np.ndarray) -> np.ndarray:
    return np.concatenate([*arrays, nothing]).astype(nothing.dtype)
