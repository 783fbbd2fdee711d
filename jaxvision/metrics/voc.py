"""Average precision as the PASCAL VOC challenges measured it.

Everingham et al. 2010, https://doi.org/10.1007/s11263-009-0275-4, section 4.2.  Each
found box is held against the true box of its class that it overlaps most: it is right
if their IoU is at least 0.5 and it is the first to come to it, and otherwise wrong,
also where another true box would be free (COCO lets it take that one).  Whoever comes
to a difficult object (`crowd`) is neither.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from jaxvision.metrics import coco
from jaxvision.metrics.detection import Set, from_rows, pairs

Rule = Literal["area", "11 points"]
"""Under the curve, as from 2010 on; or the mean over the recalls 0, 0.1, …, 1."""


def compute(
    rows: Mapping[str, np.ndarray], num_classes: int, *, rule: Rule = "area"
) -> dict[str, Any]:
    """Metrics of the rows of an evaluation, see `detection.from_rows` and `measure`."""
    return measure(from_rows(rows), num_classes, rule=rule)


def measure(
    of: Set, num_classes: int, *, threshold: float = 0.5, rule: Rule = "area"
) -> dict[str, Any]:
    """`mean_ap`, and `per_class_ap` [K], NaN for classes without an object that counts.

    Raises `UsageError` for classes outside of 0 to `num_classes` - 1.
    """
    found, truth = of.found, of.truth
    coco.check_classes(of, num_classes)
    order = np.lexsort((-found.score, found.boxes.cls))
    found = found.taken(order)
    # Boxes of VOC overlap difficult objects as they do others.
    near = pairs(found, truth._replace(crowd=np.zeros_like(truth.crowd)))
    # The highest IoU of each box, of equal ones the first, is first.
    near = near.where(np.lexsort((near.true, -near.iou, near.found)))
    near = near.where(np.flatnonzero(np.diff(near.found, prepend=-1)))
    near = near.where(near.iou >= threshold)
    difficult = truth.crowd[near.true]
    counts = np.ones(len(found.score), bool)
    counts[near.found[difficult]] = False
    near = near.where(~difficult)
    _, first = np.unique(near.true, return_index=True)
    right = np.zeros(len(found.score), bool)
    right[near.found[first]] = True

    each = np.full(num_classes, np.nan)
    objects = np.bincount(truth.boxes.cls[~truth.crowd], minlength=num_classes)
    ends = np.searchsorted(found.boxes.cls, np.arange(num_classes + 1))
    for k in np.flatnonzero(objects):
        here = slice(ends[k], ends[k + 1])
        mistakes = np.cumsum(counts[here] & ~right[here])
        at = np.arange(1, objects[k] + 1) / objects[k]
        if rule == "11 points":
            at = np.linspace(0, 1, 11)
        each[k] = coco.interpolated(right[here], mistakes, objects[k], at).mean()
    mean = float(np.nanmean(each)) if objects.any() else float("nan")
    return {"mean_ap": mean, "per_class_ap": each}
