"""`objects:NAME`: the objects of the set NAME, each as an example of its own.

What is called top-down: an object has been found, and is looked at by itself.  The
image of an example is the whole one that the object is in, annotated with this object
alone; `data.object_crop` is the crop around it.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxvision.data.carving import train_and_validation
from jaxvision.data.rows import take
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError

VALIDATION = 0.1
"""Share of the training images whose objects choose the best checkpoint, where the set
declares no validation split."""

OF_OBJECTS = ("boxes", "classes", "crowd", "keypoints", "instances", "area")
"""What a batch holds of each object, in the axis after that of the examples."""

ORIGIN = "origin"
"""What is added: the number of the image that the object is in."""


def splits(name: str, whole: Splits) -> Splits:
    """The objects of all splits of a set.

    Where no validation split is declared, the objects of a tenth of the training images
    are one: if they were carved out of the objects, two of one image could be in both.
    """
    if whole.validation is None:
        train, validation = train_and_validation(whole, VALIDATION)
        whole = Splits(train, whole.test, validation)
    return Splits(
        **{
            split: each_object(source, f"{name}:{split}")
            for split, source in whole.there().items()
        }
    )


def each_object(source: Source, name: str | None = None) -> Source:
    """The objects of a source, in the order of its images.

    Crowds are left out, and where there are keypoints so are objects that have no
    labelled one.  An example has the arrays of its object, [1,…] each, what else its
    image has, and `origin`, the number of this image in the source.

    Raises `UsageError` for a source without objects.
    """
    targets = source.targets or _without_pixels(source)
    found = targets()
    if "classes" not in found or "boxes" not in found:
        raise UsageError(
            f"{source.name} has no objects with boxes, only "
            f"{', '.join(sorted(found)) or 'images'}: objects:NAME is for sets that "
            "have them, such as coco:PATH"
        )
    there = found["classes"] >= 0
    if "crowd" in found:
        there &= found["crowd"] == 0
    if "keypoints" in found:
        there &= (found["keypoints"][..., 2] > 0).any(axis=-1)
    images, slots = np.nonzero(there)
    if not len(images):
        raise UsageError(
            f"{source.name} has no object"
            + " with a labelled keypoint" * ("keypoints" in found)
            + ": choose a set that has some"
        )
    called = name or f"{source.name}/objects"
    taken = take(source, lambda: images, name=called, size=len(images))
    alone = functools.partial(_alone, images=images, slots=slots)
    read, of_rows, maps = taken.read, taken.targets, taken.maps
    return taken._replace(
        read=lambda: alone(read()),
        targets=of_rows and (lambda: alone(of_rows())),
        maps=maps and _MapsOfOne(maps, slots),
    )


def _without_pixels(source: Source) -> Callable[[], dict[str, np.ndarray]]:
    def targets() -> dict[str, np.ndarray]:
        return {name: array for name, array in source.read().items() if name != "image"}

    return targets


def _alone(
    arrays: Mapping[str, np.ndarray], images: np.ndarray, slots: np.ndarray
) -> dict[str, np.ndarray]:
    """Of the arrays of the image of each object, those of the object."""
    rows = np.arange(len(slots))
    return {
        name: array[rows, slots][:, None] if name in OF_OBJECTS else array
        for name, array in arrays.items()
    } | {ORIGIN: images.astype(np.int32)}


@dataclass(frozen=True)
class _MapsOfOne:
    """`Source.maps` with the mask of the object alone."""

    maps: Callable[[int], dict[str, Any]]
    slots: np.ndarray

    def __call__(self, i: int) -> dict[str, Any]:
        slot = int(self.slots[i])
        return {
            name: array[slot : slot + 1] if name in OF_OBJECTS else array
            for name, array in self.maps(i).items()
        }
