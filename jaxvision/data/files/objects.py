"""Objects in images: from annotation files to the arrays of a batch.

Boxes may reach up to a pixel beyond their image, because of rounding or of counting
from 1, and are clipped to it.  A box that reaches further belongs to another image, or
to one that was resized or rotated, and is an error, as is a box without area.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvision import run_lengths
from jaxvision.data.files import classes, fields
from jaxvision.data.files.image_files import Annotated
from jaxvision.data.files.problems import refuse

TOLERANCE = 1.0
"""Pixels by which a box or a visible keypoint may lie beyond the image."""


class Object(NamedTuple):
    """One object as it is annotated."""

    where: str
    """Where in the annotations it is, for messages: `annotation 7` or `line 2`."""
    category: int
    box: tuple[float, float, float, float]
    """x_min, y_min, x_max, y_max, as `types.Batch` has them."""
    crowd: bool = False
    outline: Any = None
    """Polygons `[[x, y, x, y, …], …]` in the same coordinates, or a run-length encoding
    `{"size": [H, W], "counts": …}` as COCO has it; None for neither."""
    keypoints: Sequence[float] = ()
    """x, y and visibility (0, 1 or 2) of each, one after the other."""


def box_around(keypoints: Sequence[float]) -> tuple[float, float, float, float] | None:
    """The box of an object that has but keypoints: around those that are labelled, and
    half a pixel larger on every side, so that one point has a box as well; None where
    there is none.

    keypoints: as those of an `Object`.
    """
    points = np.reshape(np.array(keypoints, float), (-1, 3))
    points = points[points[:, 2] > 0, :2]
    if not len(points):
        return None
    x_min, y_min, x_max, y_max = [*(points.min(0) - 0.5), *(points.max(0) + 0.5)]
    return float(x_min), float(y_min), float(x_max), float(y_max)


class Listed(NamedTuple):
    """The images of a split, and the objects in each."""

    paths: tuple[str, ...]
    shapes: np.ndarray
    """Height, width and channels, int32 [N,3]."""
    objects: Sequence[Sequence[Object]]


Outline = tuple[np.ndarray, ...] | np.ndarray
"""Polygons float32 [2P], or lengths of runs of zeros and ones in turn, down columns."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """`Source.maps` of outlines, filled when an image is asked for."""

    outlines: tuple[tuple[Outline, ...], ...]
    sizes: np.ndarray
    """Height and width of each image, int32 [N,2]."""
    most: int

    def __call__(self, i: int) -> dict[str, np.ndarray]:
        height, width = self.sizes[i].tolist()
        instances = np.zeros((self.most, height, width), np.uint8)
        for instance, outline in zip(instances, self.outlines[i], strict=False):
            instance[:] = _fill(outline, height, width)
        return {"instances": instances}


def annotate(
    root: Path, names: tuple[str, ...], splits: Sequence[Listed], problems: list[str]
) -> list[Annotated]:
    """Boxes, classes, crowd, and keypoints and instances where there are any.

    M is the largest number of objects in an image of any split.  There are instances if
    every object has an outline; if only some have one, a warning says so.

    Raises one `UsageError` about `root` for `problems` and what is found here.
    """
    flat = [_Flat.of(split) for split in splits]
    for one in flat:
        one.check(problems)
    refuse(root, problems)

    counts = [np.bincount(one.category, minlength=len(names)) for one in flat]
    if not counts[0].any():
        problems.append("no object in the images of the training split")
    else:
        problems += classes.check_used(names, counts)
    refuse(root, problems)

    most = max(int(one.counts.max(initial=0)) for one in flat)
    keypoints = max(len(found.keypoints) for one in flat for found in one.objects) // 3
    maps = _outlines(root, flat, most, problems)
    refuse(root, problems)
    return [
        Annotated(
            one.listed.paths,
            one.targets(most, keypoints),
            one_maps,
            one.listed.shapes,
        )
        for one, one_maps in zip(flat, maps, strict=True)
    ]


class _Flat(NamedTuple):
    """All objects of a split one after the other, T of them."""

    listed: Listed
    objects: list[Object]
    counts: np.ndarray
    """Objects of each image, int [N]."""
    image: np.ndarray
    """The image of each object, int [T]."""
    category: np.ndarray
    box: np.ndarray
    """float64 [T,4]."""

    @classmethod
    def of(cls, listed: Listed) -> "_Flat":
        objects = [found for each in listed.objects for found in each]
        counts = np.array([len(each) for each in listed.objects], np.int64)
        return cls(
            listed=listed,
            objects=objects,
            counts=counts,
            image=np.repeat(np.arange(len(counts)), counts),
            category=np.array([found.category for found in objects], np.int64),
            box=np.array([found.box for found in objects], float).reshape(-1, 4),
        )

    def where(self, t: int) -> str:
        return f"{self.listed.paths[self.image[t]]}, {self.objects[t].where}"

    def limits(self) -> np.ndarray:
        """Width and height of each object's image, int [T,2]."""
        return self.listed.shapes[self.image][:, 1::-1]

    def check(self, problems: list[str]) -> None:
        """Add what is wrong with boxes and keypoints."""
        low, high, limit = self.box[:, :2], self.box[:, 2:], self.limits()
        finite = np.isfinite(self.box).all(axis=1)
        empty = (high <= low).any(axis=1)
        beyond = (low < -TOLERANCE).any(1) | (high > limit + TOLERANCE).any(1)
        # What the tolerance lets pass may still lie beside the image.
        beyond |= (low >= limit).any(1) | (high <= 0).any(1)
        for t in np.flatnonzero(~finite | empty | beyond).tolist():
            corners = " ".join(f"{value:g}" for value in self.box[t])
            width, height = limit[t]
            if not finite[t]:
                what = "is not four finite numbers"
            elif empty[t]:
                what = "has no area"
            else:
                what = f"is not inside its image, {height}×{width} (height × width)"
            problems.append(
                f"{self.where(t)}: the box {corners} (x_min y_min x_max y_max) {what}"
            )
        for t, found in enumerate(self.objects):
            if found.keypoints and (wrong := _wrong_keypoints(found, limit[t])):
                problems.append(f"{self.where(t)}: {wrong}")

    def targets(self, most: int, keypoints: int) -> dict[str, np.ndarray]:
        count = len(self.counts)
        first = np.cumsum(self.counts) - self.counts
        slot = np.arange(len(self.objects)) - first[self.image]
        limit = np.tile(self.limits(), 2)
        targets: dict[str, np.ndarray] = {
            "boxes": np.zeros((count, most, 4), np.float32),
            "classes": np.full((count, most), -1, np.int32),
            "crowd": np.zeros((count, most), np.uint8),
        }
        targets["boxes"][self.image, slot] = np.clip(self.box, 0, limit)
        targets["classes"][self.image, slot] = self.category
        targets["crowd"][self.image, slot] = [found.crowd for found in self.objects]
        if keypoints:
            points = np.zeros((count, most, keypoints, 3), np.float32)
            for i, m, found in zip(self.image, slot, self.objects, strict=True):
                each = np.reshape(np.array(found.keypoints, np.float32), (-1, 3))
                points[i, m, : len(each)] = np.where(each[:, 2:] > 0, each, 0)
            targets["keypoints"] = points
        return targets


def _wrong_keypoints(found: Object, limit: np.ndarray) -> str:
    if len(found.keypoints) % 3:
        return (
            f"{len(found.keypoints)} numbers are not keypoints, which are x, y, "
            "visibility each"
        )
    points = np.reshape(np.array(found.keypoints, float), (-1, 3))
    if not (np.abs(points) < np.finfo(np.float32).max).all():
        return "the numbers of a keypoint are not finite"
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        return "the visibility of a keypoint must be 0, 1 or 2"
    seen = points[points[:, 2] == 2, :2]  # hidden ones may lie where nothing is seen
    inside = (seen >= -TOLERANCE) & (seen <= limit + TOLERANCE)
    if not inside.all():
        return f"a visible keypoint is not inside its image, {limit[1]}×{limit[0]}"
    return ""


def _outlines(
    root: Path, splits: Sequence[_Flat], most: int, problems: list[str]
) -> Sequence[Outlines | None]:
    have = sum(found.outline is not None for one in splits for found in one.objects)
    total = sum(len(one.objects) for one in splits)
    if 0 < have < total:
        warnings.warn(
            f"{root}: {total - have} of {total} objects have a box but no outline, so "
            "that the outlines of the others are not used",
            stacklevel=2,
        )
    if have < total:
        return [None] * len(splits)
    return [_outlines_of(one, most, problems) for one in splits]


def _outlines_of(one: _Flat, most: int, problems: list[str]) -> Outlines:
    sizes = np.ascontiguousarray(one.listed.shapes[:, :2])
    found: list[list[Outline]] = [[] for _ in one.counts]
    for t, (i, each) in enumerate(zip(one.image.tolist(), one.objects, strict=True)):
        try:
            found[i].append(_checked(each.outline, *sizes[i].tolist()))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            problems.append(f"{one.where(t)}: its outline is invalid: {error}")
    return Outlines(tuple(map(tuple, found)), sizes, most)


def _checked(outline: Any, height: int, width: int) -> Outline:
    """Raises `ValueError` or similar for an invalid outline."""
    if isinstance(outline, Mapping):
        size = [*map(fields.whole, outline["size"])]
        if size != [height, width]:
            raise ValueError(f"it is for an image of {size} and not {[height, width]}")
        lengths = outline["counts"]
        if isinstance(lengths, list):
            lengths = np.array(lengths, np.float64)
        else:
            lengths = run_lengths.decompressed(lengths)
        fits = (lengths >= 0) & (lengths <= height * width)
        if not (fits & (lengths == np.floor(lengths))).all() or lengths.ndim != 1:
            raise ValueError("one of its run lengths is no number of its pixels")
        if lengths.sum() != height * width:
            raise ValueError(f"its run lengths add up to {lengths.sum():g} pixels")
        return lengths.astype(np.int64)
    polygons = tuple(np.array(polygon, np.float64) for polygon in outline)
    for polygon in polygons:
        if polygon.ndim != 1 or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(
                "a polygon must be x, y, x, y, … with three corners or more"
            )
        # pycocotools cuts off what is outside, and takes memory for all of it before.
        x, y = polygon[::2], polygon[1::2]
        if not ((abs(x) <= 2 * width).all() and (abs(y) <= 2 * height).all()):
            raise ValueError("a corner is not finite, or far outside the image")
    return tuple(polygon.astype(np.float32) for polygon in polygons)


def _fill(outline: Outline, height: int, width: int) -> np.ndarray:
    """uint8 [H,W], 1 inside."""
    if isinstance(outline, tuple):
        from pycocotools import mask

        polygons = [polygon.tolist() for polygon in outline]
        encoded = mask.merge(mask.frPyObjects(polygons, height, width))
        # Not `mask.decode`, which NumPy 2 warns of.
        outline = run_lengths.decompressed(encoded["counts"])
    return run_lengths.mask(outline, height, width)
