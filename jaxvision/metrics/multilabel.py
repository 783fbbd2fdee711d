"""Metrics of several yes-or-no answers for each example, on the host."""

from typing import Any

import numpy as np


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Σ_n (R_n − R_{n−1}) P_n over the distinct scores in falling order.

    `scores` [N] rank the examples, `relevant` bool [N] says which are to be found; NaN
    if none is.  Equal scores count as one step, so that their order changes nothing;
    nothing is interpolated: scikit-learn's `average_precision_score`.
    """
    if not relevant.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(relevant[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def compute(scores: np.ndarray, presence: np.ndarray, cut: float) -> dict[str, Any]:
    """Metrics of `scores` [N,C] for `presence` [N,C]; a class is found from `cut` on.

    `mean_ap` and `per_class_ap` [C]: average precision; classes that no example has are
    NaN and left out of the mean.  `f1_micro` 2·tp / (2·tp + fp + fn) over all answers,
    `f1_macro` the mean of that of each class that was there or was found.
    `exact_match`: the share of examples whose answers are all right.
    """
    relevant, found = np.asarray(presence) > 0, np.asarray(scores) >= cut
    each = np.array(
        [
            average_precision(np.asarray(scores[:, k]), relevant[:, k])
            for k in range(relevant.shape[1])
        ]
    )
    hits = (relevant & found).sum(axis=0)
    answers = np.add(relevant.sum(axis=0), found.sum(axis=0))
    return {
        "mean_ap": float(np.nanmean(each)) if np.isfinite(each).any() else float("nan"),
        "per_class_ap": each,
        "f1_micro": float(2 * hits.sum() / max(int(answers.sum()), 1)),
        "f1_macro": float(np.mean(2 * hits[answers > 0] / answers[answers > 0]))
        if answers.any()
        else float("nan"),
        "exact_match": float((relevant == found).all(axis=1).mean()),
    }
