"""Metrics of predicted numbers, on the host, in float64 from all examples."""

from typing import Any

import numpy as np

POINTS = 2000
"""Examples, spread evenly over the set, that are kept for a scatter plot."""


def compute(predicted: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Metrics of N examples with T numbers each, both arrays [N,T].

    `mae`, the mean absolute error, and `rmse`, the root of the mean squared error, are
    means over examples and numbers.  `r2` is the coefficient of determination,
    `1 - Σ (t - p)² / Σ (t - mean t)²`, averaged over the numbers that are not the same
    in all examples; NaN if all are.  `per_number_mae` and `per_number_r2` are [T];
    `points` [2,n,T] are the predicted and the true numbers of n examples.
    """
    predicted, true = (np.asarray(each, np.float64) for each in (predicted, true))
    errors = predicted - true
    squares = np.sum(errors**2, axis=0)
    spread = np.sum((true - true.mean(axis=0)) ** 2, axis=0)
    r2 = np.where(spread > 0, 1 - squares / np.where(spread > 0, spread, 1), np.nan)
    which = np.linspace(0, len(true) - 1, min(POINTS, len(true))).round().astype(int)
    return {
        "mae": float(np.mean(np.abs(errors))),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "r2": float(np.nanmean(r2)) if np.isfinite(r2).any() else float("nan"),
        "per_number_mae": np.mean(np.abs(errors), axis=0),
        "per_number_r2": r2,
        "points": np.stack([predicted[which], true[which]]),
    }
