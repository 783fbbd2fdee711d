"""Metrics of single-label classification, as sums that add up exactly.

Counts are integers, so that the accuracy over a test set is a count divided by a count,
whatever the batch size and the number of devices.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.types import Sums

Array = jax.Array


def loss_and_accuracy(logits: Array, labels: Array, losses: Array, mask: Array) -> Sums:
    """The sums of a training log.  `logits` [B,C]; the others [B]; `mask` is bool."""
    correct = jnp.argmax(logits, axis=-1) == labels
    return {
        "count": jnp.sum(mask, dtype=jnp.int32),
        "correct": jnp.sum(correct & mask, dtype=jnp.int32),
        "loss": jnp.sum(jnp.where(mask, losses, 0.0)),
    }


def top_k_correct(logits: Array, labels: Array, mask: Array, k: int) -> Array:
    """How many labels are among the `k` highest scores.  Ties count against us."""
    of_label = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    classes = jnp.arange(logits.shape[-1])[None, :]
    ahead = jnp.sum((logits >= of_label) & (classes != labels[:, None]), axis=-1)
    return jnp.sum((ahead < k) & mask, dtype=jnp.int32)


def confusion(logits: Array, labels: Array, mask: Array) -> Array:
    """Counts [C,C]: row by true class, column by predicted class."""
    counts = jnp.zeros((logits.shape[-1],) * 2, jnp.int32)
    return counts.at[labels, jnp.argmax(logits, axis=-1)].add(mask.astype(jnp.int32))


def calibration(logits: Array, labels: Array, mask: Array, bins: int) -> Sums:
    """Examples by the confidence of their prediction, in `bins` equal intervals.

    Each [bins]: the number of examples, of correct ones, and the sum of confidences.
    """
    confidence = jnp.max(jax.nn.softmax(logits), axis=-1)
    correct = jnp.argmax(logits, axis=-1) == labels
    # Intervals are open on the left, as in the paper: (0, 1/M], …, ((M-1)/M, 1].
    index = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
    member = (index[:, None] == jnp.arange(bins)[None, :]) & mask[:, None]
    return {
        "count": jnp.sum(member, axis=0, dtype=jnp.int32),
        "correct": jnp.sum(member & correct[:, None], axis=0, dtype=jnp.int32),
        # A dense sum, not a scatter: the order of additions is fixed on every device.
        "confidence": jnp.sum(jnp.where(member, confidence[:, None], 0.0), axis=0),
    }


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """`precision`, `recall` and `f1` [C] of a confusion matrix, counts [C,C].

    Of class k they are n_kk / Σ_i n_ik, n_kk / Σ_j n_kj, and their harmonic mean, which
    is 2 n_kk / (Σ_i n_ik + Σ_j n_kj).  NaN stands for a quotient of nothing: precision
    of a class that was never predicted, recall of one without examples.
    """
    correct, true, found = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return {
            "precision": correct / found,
            "recall": correct / true,
            "f1": 2 * correct / (true + found),
        }


def compute(sums: Sums) -> dict[str, Any]:
    """Sums of one or many batches as numbers; what was not summed is left out.

    `loss`, `accuracy`, `top<k>_accuracy` and `calibration_error` (expected calibration
    error, Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3) are floats.
    `confusion` [C,C] are counts, `per_class_precision`, `per_class_recall` and
    `per_class_f1` [C] as in `per_class`.  `bin_count`, `bin_confidence` and
    `bin_accuracy` [M] describe the bins of the calibration error: the examples in each,
    and the means over them, NaN where there are none.
    """
    sums = jax.tree.map(np.asarray, sums)
    count = int(sums["count"])
    if count == 0:
        raise ValueError("no examples were summed: the data is empty or all masked")
    metrics: dict[str, Any] = {
        "loss": float(sums["loss"]) / count,
        "accuracy": int(sums["correct"]) / count,
    }
    for k, correct in sums.get("top_k", {}).items():
        metrics[f"top{k}_accuracy"] = int(correct) / count
    if "calibration" in sums:
        bins = sums["calibration"]
        confidence = bins["confidence"].astype(np.float64)
        gaps = np.abs(bins["correct"] - confidence)
        metrics["calibration_error"] = float(gaps.sum() / count)
        metrics["bin_count"] = bins["count"]
        with np.errstate(invalid="ignore"):
            metrics["bin_confidence"] = confidence / bins["count"]
            metrics["bin_accuracy"] = bins["correct"] / bins["count"]
    if "confusion" in sums:
        matrix = sums["confusion"]
        metrics["confusion"] = matrix
        of_classes = per_class(matrix).items()
        metrics |= {f"per_class_{name}": values for name, values in of_classes}
    return metrics
