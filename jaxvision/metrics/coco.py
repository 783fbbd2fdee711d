"""Average precision and recall as COCO measures them, in all of their variants.

The numbers are those of the COCO API (Lin et al. 2014, https://arxiv.org/abs/1405.0312,
and the "Detection Evaluation" of the data set), and are computed for all images,
thresholds and sizes at once:

- In each image and for each class, found boxes choose in falling order of their scores.
  Each takes the true box with the highest IoU that is free and reaches the threshold,
  of equal ones the last; only where there is none, one that does not count.
- Crowds and objects of other sizes do not count: whoever takes one is no mistake.  A
  crowd can be taken by many.  A box of another size that takes nothing is no mistake.
- An object without a labelled keypoint does not count where keypoints are measured;
  it can be taken once.
- Precision at a recall is the highest at that recall or more, averaged over 101
  recalls from 0 to 1, over ten thresholds of IoU, and over the classes that are there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvision.errors import check
from jaxvision.metrics.detection import (
    KEYPOINTS,
    MASKS,
    Found,
    Pairs,
    Set,
    from_rows,
    in_order,
    keypoints_from_rows,
    masks_from_rows,
    pairs,
    ranks,
)

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
SIZES = {
    "": (0.0, 1e10),
    "_small": (0.0, 32.0**2),
    "_medium": (32.0**2, 96.0**2),
    "_large": (96.0**2, 1e10),
}
"""Names of sizes, as metrics end, and their areas in pixels; both ends belong to it."""
MOST = (1, 10, 100)
"""How many found boxes of a class and an image count, for each average recall.  Average
precision counts the last."""


class Limits(NamedTuple):
    """What of the found and the true counts."""

    sizes: Mapping[str, tuple[float, float]] = SIZES
    """Areas by name, all of them first."""
    most: Sequence[int] = MOST
    """Found ones of a class and an image."""


OF_KEYPOINTS = Limits({k: v for k, v in SIZES.items() if k != "_small"}, (20,))
"""In COCO no small object has labelled keypoints; of an image, 20 found ones count."""
OF_AREAS = Limits()
"""Those of boxes and masks."""


def compute(rows: Mapping[str, np.ndarray], num_classes: int) -> dict[str, Any]:
    """Metrics of the rows of an evaluation, see `detection.from_rows` and `measure`."""
    return measure(from_rows(rows), num_classes)


def compute_others(
    rows: Mapping[str, np.ndarray],
    num_classes: int,
    *,
    sigmas: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What rows tell beside boxes: `measure` of masks, where they have them, as
    `mask_ap`, `mask_ap50`, …, and of keypoints as `keypoint_ap`, `keypoint_ap50`, ….

    sigmas: of each keypoint, see `skeletons.Skeleton`.

    Raises `UsageError` for keypoints without sigmas.
    """
    measured: dict[str, Any] = {}
    if {*MASKS} <= rows.keys():
        masks = measure(masks_from_rows(rows), num_classes)
        measured |= {_prefixed("mask", name): value for name, value in masks.items()}
    if {*KEYPOINTS} <= rows.keys():
        check(
            (
                sigmas is not None,
                "keypoints are measured with a sigma for each: give those of the set, "
                "`source.skeleton.sigmas`",
            )
        )
        assert sigmas is not None
        of = keypoints_from_rows(rows, sigmas)
        points = measure(of, num_classes, OF_KEYPOINTS)
        measured |= {_prefixed("keypoint", k): value for k, value in points.items()}
    return measured


def measure(of: Set, num_classes: int, limits: Limits = OF_AREAS) -> dict[str, Any]:
    """The numbers of COCO's tables, and those of each class.

    `ap`, `ap50`, `ap75`, `ap_small`, `ap_medium`, `ap_large`; `ar_1`, `ar_10`,
    `ar_100`, `ar50`, `ar75`, `ar_small`, `ar_medium`, `ar_large`, floats, NaN where
    nothing is to be found (COCO prints -1).  `per_class_ap`, `per_class_ap50` and
    `per_class_ar_100` are [K], NaN for classes that are not there.
    `per_class_precision` [K,101] is the precision at IoU 0.5 for each of the recalls 0,
    0.01, …, 1.

    Of keypoints (`OF_KEYPOINTS`) there is no `_small` one, and recall is `ar_20`.

    Raises `UsageError` for classes outside of 0 to `num_classes` - 1.
    """
    precision, recall = curves(of, num_classes, limits)
    whole, last = precision[0], limits.most[-1]
    means = {f"ap{name}": _mean(precision[s]) for s, name in enumerate(limits.sizes)}
    means |= {"ap50": _mean(whole[:, 0]), "ap75": _mean(whole[:, 5])}
    means |= {f"ar_{most}": _mean(recall[0, m]) for m, most in enumerate(limits.most)}
    means |= {"ar50": _mean(recall[0, -1, :, 0]), "ar75": _mean(recall[0, -1, :, 5])}
    means |= {f"ar{n}": _mean(recall[s, -1]) for s, n in enumerate(limits.sizes) if n}
    return means | {
        "per_class_ap": whole.mean((1, 2)),
        "per_class_ap50": whole[:, 0].mean(1),
        f"per_class_ar_{last}": recall[0, -1].mean(1),
        "per_class_precision": whole[:, 0],
    }


def curves(
    of: Set, num_classes: int, limits: Limits = OF_AREAS
) -> tuple[np.ndarray, np.ndarray]:
    """Precision [S,K,T,R] and recall [S,L,K,T], float64.

    By size, limit of found boxes, class, threshold and recall; NaN for classes
    that have no object of the size.
    """
    check_classes(of, num_classes)
    found, rank = that_count(of.found, limits.most[-1])
    sizes = np.array([*limits.sizes.values()])
    ignored = of.truth.ignored | _outside(of.truth.area, sizes)
    strange = _outside(found.area, sizes)

    # Each [S,T,n].  A box may be right, wrong, or neither, which does not count.
    shape = (len(sizes), len(THRESHOLDS), len(rank))
    right, neither = np.zeros(shape, bool), np.repeat(strange[:, None], shape[1], 1)
    for taken in matches(of._replace(found=found), ignored, THRESHOLDS):
        idle = ignored[taken.size, taken.true]
        right[taken.size, taken.threshold, taken.found] = ~idle
        neither[taken.size, taken.threshold, taken.found] = idle
    order = np.lexsort((-found.score, found.boxes.cls))
    right, rank = right[..., order], rank[order]
    wrong = ~right & ~neither[..., order]

    ends = np.searchsorted(found.boxes.cls[order], np.arange(num_classes + 1))
    kinds = (num_classes, len(THRESHOLDS))
    precision = np.full((len(sizes), *kinds, len(RECALLS)), np.nan)
    recall = np.full((len(sizes), len(limits.most), *kinds), np.nan)
    objects = np.stack(
        [
            np.bincount(of.truth.boxes.cls[~idle], minlength=num_classes)
            for idle in ignored
        ]
    )
    for size, k in np.argwhere(objects):
        here, count = slice(ends[k], ends[k + 1]), objects[size, k]
        hits = right[size, :, here]
        mistakes = np.cumsum(wrong[size, :, here], axis=-1, dtype=np.int32)
        for place, most in enumerate(limits.most):
            recall[size, place, k] = hits[:, rank[here] < most].sum(1) / count
        for t in range(len(THRESHOLDS)):
            precision[size, k, t] = interpolated(hits[t], mistakes[t], count)
    return precision, recall


def that_count(found: Found, most: int = MOST[-1]) -> tuple[Found, np.ndarray]:
    """Found boxes by image, class and falling score, the first so many of each image
    and class, and their place among these [n]."""
    found = found.taken(in_order(found))
    rank = ranks(found.boxes.image, found.boxes.cls)
    first = np.flatnonzero(rank < most)
    return found.taken(first), rank[first]


class Taken(NamedTuple):
    """Some of the found boxes that took a true one, each array [p]."""

    size: np.ndarray
    """By which row of `ignored`."""
    threshold: np.ndarray
    """At which threshold."""
    found: np.ndarray
    true: np.ndarray


def matches(of: Set, ignored: np.ndarray, thresholds: np.ndarray) -> Iterator[Taken]:
    """The true box that each found one takes, by the rules above.

    Goes through the boxes of all images side by side: in each turn every image and
    class has at most one box that chooses.  Those that reach no threshold do not.

    Args:
      of: with `found` in the order of `that_count`.
      ignored: bool [S,m], which of it does not count, in S ways.
      thresholds: of the IoU, [T], rising.
    """
    found, truth = of.found, of.truth
    limits = np.minimum(thresholds, 1 - 1e-10)[:, None]
    free = np.ones((len(ignored), len(limits), len(truth.crowd)), bool)
    near = pairs(found, truth, of.meet)
    near = near.where(near.iou >= limits[0])
    for turn in _turns(near, found):
        # Of each box the pair with the highest IoU, the last of equal ones, is last.
        turn = turn.where(np.lexsort((turn.true, turn.iou, turn.found)))
        f, t = turn.found, turn.true
        starts = np.flatnonzero(np.diff(f, prepend=-1))
        allowed = (turn.iou >= limits) & (free[..., t] | truth.crowd[t])
        # A pair is worth its place, and more than all others if its object counts.
        worth = np.arange(1, len(f) + 1) + len(f) * ~ignored[:, None, t]
        best = np.maximum.reduceat(np.where(allowed, worth, 0), starts, axis=-1)
        size, threshold, box = np.nonzero(best)
        chosen = t[(best[size, threshold, box] - 1) % len(f)]
        free[size, threshold, chosen] = False
        yield Taken(size, threshold, f[starts[box]], chosen)


def interpolated(
    right: np.ndarray, mistakes: np.ndarray, count: int, at: np.ndarray = RECALLS
) -> np.ndarray:
    """The highest precision at each recall of `at` or more; 0 where it is not reached.

    Args:
      right: bool [n], of boxes in falling order of their scores.
      mistakes: int [n], how many there were so far.
      count: the number of objects to be found.
    """
    # Precision is highest, and recall rises, where a box is right: others are skipped.
    hits = np.flatnonzero(right)
    rising = np.arange(1, len(hits) + 1, dtype=np.float64)
    precision = rising / (mistakes[hits] + rising + np.spacing(1))
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(rising / count, at, side="left")
    return np.append(highest, 0.0)[reached]


def check_classes(of: Set, num_classes: int) -> None:
    """Raises `UsageError` for a class that is not among `num_classes`."""
    highest = max(
        of.found.boxes.cls.max(initial=-1), of.truth.boxes.cls.max(initial=-1)
    )
    check(
        (
            highest < num_classes,
            f"a box has class {highest}, and num_classes is {num_classes}: classes "
            "are from 0 to num_classes - 1",
        )
    )


def _turns(near: Pairs, found: Found) -> list[Pairs]:
    """The pairs of the first box of each image and class, of the second, and so on."""
    if not len(near.found):
        return []
    boxes, back = np.unique(near.found, return_inverse=True)
    turn = ranks(found.boxes.image[boxes], found.boxes.cls[boxes])[back]
    order = np.argsort(turn, kind="stable")
    ends = np.flatnonzero(np.diff(turn[order])) + 1
    return [near.where(part) for part in np.split(order, ends)]


def _outside(area: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Bool [S,n]: which areas are of another size."""
    return (area < limits[:, :1]) | (area > limits[:, 1:])


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


def _prefixed(kind: str, name: str) -> str:
    """`mask_ap` of `ap`, and `per_class_mask_ap` of `per_class_ap`."""
    of_class = "per_class_" if name.startswith("per_class_") else ""
    return f"{of_class}{kind}_{name.removeprefix(of_class)}"
