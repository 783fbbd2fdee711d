"""What kinds of mistakes a detector makes, and what each costs.

Bolya et al. 2020, TIDE, https://arxiv.org/abs/2008.08115.  A wrong box overlaps a true
one at least a little (0.1) or well (0.5), of its own class or of another, and the first
of these that holds is its kind:

- `location`: a little, an object of its class, and none well;
- `class`: well, an object of another class;
- `duplicate`: well, an object of its class, which a better box has taken;
- `background`: no object, not even a little;
- `both`: the rest, a little an object of another class.

An object is `missed` if no box took it, and none would if its location or class were
right.  The cost of a kind is by how much AP50 rises when an oracle mends its mistakes:
the first box that is off by its location or class becomes right, if its object is free,
and other mistakes disappear; objects that are missed are no longer asked for.  Costs do
not add up to what AP lacks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxvision.metrics import coco
from jaxvision.metrics.detection import Found, Pairs, Set, from_rows, pairs

WRONG = ("location", "class", "duplicate", "background", "both")
"""Kinds of wrong boxes, in the order in which they are tried."""
KINDS = (*WRONG, "missed")


class Errors(NamedTuple):
    """The boxes of a set and what is wrong with them."""

    found: Found
    """Those that count, see `coco.that_count`."""
    right: np.ndarray
    """bool [n]."""
    kind: np.ndarray
    """int8 [n]: the kind of mistake by its place in `WRONG`; -1 for none, that is a
    box that is right or took a crowd."""
    target: np.ndarray
    """int64 [n]: of a mistake in location or class the object that it should have
    found; of a box that is right, its object; else -1."""
    missed: np.ndarray
    """bool [m]."""


def compute(rows: Mapping[str, np.ndarray], num_classes: int) -> dict[str, Any]:
    """Metrics of the rows of an evaluation, see `detection.from_rows` and `measure`."""
    return measure(from_rows(rows), num_classes)


def measure(of: Set, num_classes: int) -> dict[str, Any]:
    """`ap50`, and of each kind `<kind>_errors`, an int, and `<kind>_cost`, a float.

    Raises `UsageError` for classes outside of 0 to `num_classes` - 1.
    """
    coco.check_classes(of, num_classes)
    errors = classify(of)
    cls = of.truth.boxes.cls
    objects = np.bincount(cls[~of.truth.crowd], minlength=num_classes)
    there = np.flatnonzero(objects)
    taken = errors.target[errors.right]

    def ap50(mended: str | None) -> float:
        classes, right = errors.found.boxes.cls.copy(), errors.right.copy()
        wrong, asked = errors.kind >= 0, objects
        if mended == "missed":
            asked = objects - np.bincount(cls[errors.missed], minlength=num_classes)
        elif mended is not None:
            these = errors.kind == WRONG.index(mended)
            wrong = wrong & ~these
            mendable = np.flatnonzero(these & (errors.target >= 0))
            mendable = mendable[~np.isin(errors.target[mendable], taken)]
            best = mendable[np.argsort(-errors.found.score[mendable], kind="stable")]
            _, first = np.unique(errors.target[best], return_index=True)
            right[best[first]] = True
            classes[best[first]] = cls[errors.target[best[first]]]
        order = np.lexsort((-errors.found.score, classes))
        ends = np.searchsorted(classes[order], np.arange(num_classes + 1))
        total = 0.0
        for k in there[asked[there] > 0]:
            here = order[ends[k] : ends[k + 1]]
            mistakes = np.cumsum(wrong[here])
            total += coco.interpolated(right[here], mistakes, asked[k]).mean()
        return total / len(there) if len(there) else float("nan")

    whole = ap50(None)
    counts = {name: int((errors.kind == k).sum()) for k, name in enumerate(WRONG)}
    counts["missed"] = int(errors.missed.sum())
    return {
        "ap50": whole,
        **{f"{kind}_errors": counts[kind] for kind in KINDS},
        **{f"{kind}_cost": ap50(kind) - whole for kind in KINDS},
    }


def classify(of: Set, *, well: float = 0.5, little: float = 0.1) -> Errors:
    """The kind of each mistake; `well` and `little` are the thresholds of IoU."""
    found, _ = coco.that_count(of.found)
    truth = of.truth
    match = np.full(len(found.score), -1)
    for taken in coco.matches(
        of._replace(found=found), truth.crowd[None], np.array([well])
    ):
        match[taken.found] = taken.true
    crowd = np.append(truth.crowd, False)[match]
    right, wrong = (match >= 0) & ~crowd, match < 0

    near = pairs(found, truth, of.meet, of_class=False)
    near = near.where(wrong[near.found] & ~truth.crowd[near.true])
    same = found.boxes.cls[near.found] == truth.boxes.cls[near.true]
    own, mine = _nearest(near.where(same), len(match))
    other, theirs = _nearest(near.where(~same), len(match))
    conditions = (
        (own >= little) & (own < well),
        other >= well,
        own >= well,
        np.maximum(own, other) < little,
        np.ones(len(match), bool),
    )
    kind = np.where(wrong, np.select(conditions, range(len(WRONG))), -1)
    target = np.where(right, match, -1)
    target = np.where(kind == WRONG.index("location"), mine, target)
    target = np.where(kind == WRONG.index("class"), theirs, target)
    missed = ~truth.crowd
    missed[target[target >= 0]] = False
    return Errors(found, right, kind.astype(np.int8), target, missed)


def _nearest(near: Pairs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The highest IoU of each found box, and with which object, the first of equal
    ones; 0 and -1 where there is none."""
    near = near.where(np.lexsort((-near.true, near.iou, near.found)))
    highest, which = np.zeros(count), np.full(count, -1)
    # The last of what is written to one place stays.
    highest[near.found], which[near.found] = near.iou, near.true
    return highest, which
