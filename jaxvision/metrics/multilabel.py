"""Metrics of several yes-or-no answers for each example, on the host.

`scores` [N,C] rank the answers, and `presence` [N,C] has the true ones: 0, 1, or
`UNKNOWN` for those that count nowhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxvision.types import UNKNOWN

POINTS = 200
"""Of each precision-recall curve, evenly spread over the recall."""


class _Ranked:
    """What is found and what is right of the answers from each distinct score on."""

    def __init__(self, scores: np.ndarray, relevant: np.ndarray):
        order = np.argsort(-scores, kind="stable")
        ranked, hits = scores[order], np.cumsum(relevant[order])
        # Equal scores are one step, so that their order changes nothing.
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        self.scores, self.hits = ranked[last], hits[last]
        self.found = last + 1
        self.relevant = int(hits[-1])

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall, in rising recall."""
        return self.hits / self.found, self.hits / self.relevant


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Σ_n (R_n − R_{n−1}) P_n over the distinct scores in falling order.

    `scores` [N] rank the examples, `relevant` bool [N] says which are to be found; NaN
    if none is.  Equal scores count as one step, so that their order changes nothing;
    nothing is interpolated: scikit-learn's `average_precision_score`.
    """
    if not relevant.any():
        return float("nan")
    precision, recall = _Ranked(scores, relevant).curve()
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def best_cut(scores: np.ndarray, relevant: np.ndarray) -> float | None:
    """The score from which on answers are yes where F1 is highest: in the middle
    between the last score that is one and the next; of equally good ones the highest.
    None if nothing is to be found."""
    if not relevant.any():
        return None
    ranked = _Ranked(scores, relevant)
    f1 = 2 * ranked.hits / (ranked.found + ranked.relevant)
    best = int(np.argmax(f1))
    if best + 1 == len(ranked.scores):
        return float(ranked.scores[best]) - 1.0  # all are yes
    return float(ranked.scores[best : best + 2].mean(dtype=np.float64))


def best_cuts(
    scores: np.ndarray, presence: np.ndarray, *, each: bool
) -> list[float | None]:
    """`best_cut` of all answers together, or of those of each class."""
    known = presence != UNKNOWN
    if not each:
        return [best_cut(scores[known], presence[known] > 0)]
    return [
        best_cut(scores[known[:, k], k], presence[known[:, k], k] > 0)
        for k in range(presence.shape[1])
    ]


def compute(
    scores: np.ndarray, presence: np.ndarray, cut: float | Sequence[float]
) -> dict[str, Any]:
    """Metrics of `scores` for `presence`; a class is found from `cut` on, one for all
    or one for each.  What is not known counts in none.

    `mean_ap` and `per_class_ap` [C]: average precision; classes that no example has are
    NaN and left out of the mean.  `micro_ap`: that of all answers in one ranking.
    `f1_micro` 2·tp / (2·tp + fp + fn) over all answers, `f1_macro` the mean of
    `per_class_f1` [C], NaN for classes that neither were there nor were found.
    `exact_match`: the share of examples whose answers are all right, of those of which
    any is known.  `curves` [C,POINTS]: the precision of each class at a recall of
    1/POINTS … 1, the highest at that recall or above, NaN as its average precision.
    """
    scores, presence = np.asarray(scores), np.asarray(presence)
    # In the scores' own precision, as predictions compare them.
    known, found = presence != UNKNOWN, scores >= np.asarray(cut).astype(scores.dtype)
    relevant = known & (presence > 0)
    classes = range(relevant.shape[1])
    parts = [(scores[known[:, k], k], relevant[known[:, k], k]) for k in classes]
    each = np.array([average_precision(*part) for part in parts])
    hits = (relevant & found).sum(axis=0)
    answers = np.add(relevant.sum(axis=0), (known & found).sum(axis=0))
    with np.errstate(invalid="ignore"):
        f1 = 2 * hits / answers
    told = known.any(axis=1)
    right = ((relevant == found) | ~known).all(axis=1)
    nothing = float("nan")
    return {
        "mean_ap": float(np.nanmean(each)) if np.isfinite(each).any() else nothing,
        "micro_ap": average_precision(scores[known], relevant[known]),
        "f1_micro": float(2 * hits.sum() / max(int(answers.sum()), 1)),
        "f1_macro": float(np.nanmean(f1)) if answers.any() else nothing,
        "exact_match": float(right[told].mean()) if told.any() else nothing,
        "per_class_ap": each,
        "per_class_f1": f1,
        "curves": np.stack([_curve(*part) for part in parts]),
    }


def _curve(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    if not relevant.any():
        return np.full(POINTS, np.nan)
    precision, recall = _Ranked(scores, relevant).curve()
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    levels = np.arange(1, POINTS + 1) / POINTS
    # A recall of 1 is reached; rounding may not hide it.
    places = np.searchsorted(recall, levels - 1e-12)
    return highest[np.minimum(places, len(recall) - 1)]
