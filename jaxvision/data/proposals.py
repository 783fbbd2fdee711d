"""Boxes that may show an object, by selective search, on the host.

Uijlings et al. 2013, https://doi.org/10.1007/s11263-013-0620-5, of one image in one
colour space and with the similarities of colour, size and fill; without that of
texture, and without the several runs whose boxes the paper joins.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from jaxvision.data import progress
from jaxvision.data.source import Source
from jaxvision.errors import check

BINS = 25
"""Of the histogram of a colour."""


def with_proposals(
    source: Source, most: int, *, scale: float = 100.0, least: int = 20
) -> Source:
    """The source with `proposals` float32 [N,most,4] of each image, the largest regions
    first; zeros where there are fewer.

    `scale` and `least` are those of `selective_search`.  Images are of one size, and
    are searched when the source is first read.
    """
    check((most >= 1, f"most must be at least 1 proposal, got {most}"))

    @cache
    def read() -> dict[str, np.ndarray]:
        found = source.read()
        proposals = np.zeros((source.size, most, 4), np.float32)
        work = progress.bar(found["image"], source.size, "proposing regions", least=100)
        for image, boxes in zip(work, proposals, strict=True):
            some = selective_search(image, scale=scale, least=least)[:most]
            boxes[: len(some)] = some
        return {**found, "proposals": proposals}

    def targets() -> dict[str, np.ndarray]:
        return {name: array for name, array in read().items() if name not in _PIXELS}

    return source._replace(read=read, targets=targets)


_PIXELS = ("image", "segmentation", "instances")


def selective_search(
    image: np.ndarray, *, scale: float = 100.0, least: int = 20
) -> np.ndarray:
    """Boxes float32 [P,4] of regions at all sizes, the last merged first, each once.

    The regions of `segments` are merged, the two neighbours that are most alike first,
    until one is left; each that ever was has a box.

    Args:
      image: uint8 [H,W,C].
      scale, least: see `segments`.
    """
    labels = segments(image, scale=scale, least=least)
    regions = _regions(image, labels)
    pixels = labels.size
    likeness = {
        (one, two): _likeness(regions[one], regions[two], pixels)
        for one, two in _pairs(labels)
    }
    while likeness:
        one, two = max(likeness, key=lambda pair: likeness[pair])
        merged, number = _merged(regions[one], regions[two]), len(regions)
        regions.append(merged)
        beside = {i for pair in likeness if {one, two} & {*pair} for i in pair}
        likeness = {
            pair: value for pair, value in likeness.items() if not {one, two} & {*pair}
        }
        for other in beside - {one, two}:
            likeness[other, number] = _likeness(regions[other], merged, pixels)
    boxes = np.array([region["box"] for region in reversed(regions)], np.float32)
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)]


def segments(
    image: np.ndarray, *, scale: float = 100.0, least: int = 20, sigma: float = 0.8
) -> np.ndarray:
    """The region of each pixel, int [H,W], numbered from 0.

    Felzenszwalb and Huttenlocher 2004,
    https://doi.org/10.1023/B:VISI.0000022288.19776.77, section 4: two regions are one
    unless the difference between them is larger than that inside of either.  Edges that
    close a cycle join nothing, so that those of a minimum spanning tree are enough.

    Args:
      image: uint8 [H,W,C].
      scale: k of the paper; larger values favour larger regions.
      least: pixels of a region at least; smaller ones join a neighbour.
      sigma: of the Gaussian that smooths the image before, in pixels.
    """
    import cv2
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    height, width = image.shape[:2]
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    smooth = smooth.reshape(height, width, -1)
    numbers = np.arange(height * width).reshape(height, width)
    starts, ends, apart = [], [], []
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = _window(down, across)
        there = _window(-down, -across)
        difference = np.linalg.norm(smooth[here] - smooth[there], axis=-1)
        starts.append(numbers[here].ravel())
        ends.append(numbers[there].ravel())
        apart.append(difference.ravel())
    # An edge of weight 0 would be none.
    weights = np.concatenate(apart) + 1.0
    places = np.concatenate(starts), np.concatenate(ends)
    tree = minimum_spanning_tree(coo_matrix((weights, places), (numbers.size,) * 2))
    tree = tree.tocoo()
    order = np.argsort(tree.data, kind="stable")
    edges = np.stack([tree.row, tree.col], axis=1)[order].tolist()
    differences = (tree.data[order] - 1.0).tolist()

    parents = list(range(numbers.size))
    sizes, inside = [1] * numbers.size, [scale] * numbers.size

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = i = parents[parents[i]]
        return i

    def join(wanted: Callable[[int, int, float], bool]) -> None:
        for (i, j), difference in zip(edges, differences, strict=True):
            one, two = root(i), root(j)
            if one != two and wanted(one, two, difference):
                parents[two] = one
                sizes[one] += sizes[two]
                inside[one] = difference + scale / sizes[one]

    join(lambda one, two, difference: difference <= min(inside[one], inside[two]))
    join(lambda one, two, _: min(sizes[one], sizes[two]) < least)
    roots = np.array([root(i) for i in range(numbers.size)])
    return np.unique(roots, return_inverse=True)[1].reshape(height, width)


def _window(down: int, across: int) -> tuple[slice, slice]:
    """What is left of rows and columns without so many at the end, or the beginning."""

    def cut(step: int) -> slice:
        return slice(None, -step) if step > 0 else slice(-step, None)

    return cut(down), cut(across)


def _pairs(labels: np.ndarray) -> set[tuple[int, int]]:
    """The regions that touch, the smaller number first."""
    found = set()
    for one, two in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        both = np.stack([np.minimum(one, two), np.maximum(one, two)], -1)[one != two]
        found |= {(int(i), int(j)) for i, j in np.unique(both, axis=0)}
    return found


def _regions(image: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Size, box and histogram of the colours of each region."""
    channels = image.shape[-1]
    bins = image.astype(int) * BINS // 256 + BINS * np.arange(channels)
    found = []
    for number in range(labels.max() + 1):
        mask = labels == number
        rows, columns = np.nonzero(mask)
        colours = np.bincount(bins[mask].ravel(), minlength=BINS * channels)
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        found.append(
            {
                "size": len(rows),
                "box": np.array(box),
                "colours": colours / colours.sum(),
            }
        )
    return found


def _merged(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    size = one["size"] + two["size"]
    colours = one["size"] * one["colours"] + two["size"] * two["colours"]
    return {"size": size, "box": _around(one, two), "colours": colours / size}


def _around(one: dict[str, Any], two: dict[str, Any]) -> np.ndarray:
    low = np.minimum(one["box"][:2], two["box"][:2])
    return np.concatenate([low, np.maximum(one["box"][2:], two["box"][2:])])


def _likeness(one: dict[str, Any], two: dict[str, Any], pixels: int) -> float:
    """The sum of the similarities of colour, size and fill, equations 2, 4 and 5."""
    colour = np.minimum(one["colours"], two["colours"]).sum()
    both = one["size"] + two["size"]
    left, top, right, bottom = _around(one, two)
    empty = (right - left) * (bottom - top) - both
    return float(colour + (1 - both / pixels) + (1 - empty / pixels))
