"""How often the classes are there, for losses that weigh them.

One pass over the annotations, example by example; no image is decoded where its
annotations are apart from it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from jaxvision.data.source import Source
from jaxvision.errors import UsageError
from jaxvision.types import UNKNOWN


class PixelCounts(NamedTuple):
    """Of the pixels that count, in a split with `segmentation`."""

    pixels: np.ndarray
    """int64 [K]: those of each class."""
    around: np.ndarray
    """int64 [K]: those of the images that show the class."""


class LabelCounts(NamedTuple):
    """Of the examples of a split with `label` or `presence`."""

    positives: np.ndarray
    """int64 [K]: how many show each class."""
    known: np.ndarray
    """int64 [K]: of how many it is known whether they do."""


def pixel_counts(source: Source) -> PixelCounts:
    """Counts of all masks of a split.

    Raises `UsageError` for a split without masks, and as reading it does.
    """
    classes = len(source.class_names)
    pixels, around = np.zeros((2, classes), np.int64)
    for mask in _masks(source):
        counts = np.bincount(mask.ravel(), minlength=UNKNOWN + 1)[:classes]
        pixels += counts
        around += np.where(counts > 0, counts.sum(), 0)
    return PixelCounts(pixels, around)


def label_counts(source: Source) -> LabelCounts:
    """Counts of all labels of a split.

    Raises `UsageError` for a split without `label` and `presence`.
    """
    classes = len(source.class_names)
    targets = (source.targets or source.read)()
    if "presence" in targets:
        presence = targets["presence"]
        known = presence != UNKNOWN
        return LabelCounts((known & (presence > 0)).sum(axis=0), known.sum(axis=0))
    if "label" not in targets:
        raise UsageError(
            f"the examples of {source.name} have {', '.join(sorted(targets))} and no "
            "label or presence to count"
        )
    positives = np.bincount(targets["label"], minlength=classes).astype(np.int64)
    return LabelCounts(positives, np.full(classes, source.size, np.int64))


def _masks(source: Source) -> Iterator[np.ndarray]:
    if source.maps is None:
        arrays = source.read()
        if "segmentation" not in arrays:
            raise UsageError(
                f"the examples of {source.name} have {', '.join(sorted(arrays))} and "
                "no segmentation to count"
            )
        yield from arrays["segmentation"]
        return
    maps = source.maps
    with ThreadPoolExecutor() as pool:
        # Blocks, since a pool takes all that it is given at once.
        for start in range(0, source.size, 64):
            block = range(start, min(start + 64, source.size))
            for found in pool.map(maps, block):
                if "segmentation" not in found:
                    raise UsageError(
                        f"the examples of {source.name} have {', '.join(found)} and "
                        "no segmentation to count"
                    )
                yield found["segmentation"]
