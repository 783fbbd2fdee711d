"""Metrics of semantic segmentation, from one confusion matrix of all pixels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.types import Sums

Array = jax.Array


def confusion(
    predicted: Array, labels: Array, counts: Array, num_classes: int
) -> Array:
    """int32 [C,C]: pixels by true class (row) and predicted class (column).

    All arguments are [B,H,W]; `counts` is bool and tells which pixels do.
    """

    def of_image(predicted, labels, counts):
        # Pixels that do not count go to a cell behind the others.
        cell = labels.astype(jnp.int32) * num_classes + predicted.astype(jnp.int32)
        cell = jnp.where(counts, cell, num_classes**2).ravel()
        return jnp.zeros(num_classes**2 + 1, jnp.int32).at[cell].add(1)

    cells = jnp.sum(jax.vmap(of_image)(predicted, labels, counts), axis=0)
    return cells[:-1].reshape(num_classes, num_classes)


def compute(sums: Sums) -> dict[str, Any]:
    """Sums of one or many batches as numbers; what was not summed is left out.

    `loss` is the mean over pixels.  Of the confusion matrix n, with n_ij pixels of
    class i that were taken for class j (Long et al. 2015,
    https://arxiv.org/abs/1411.4038, section 5): `pixel_accuracy` Σ n_ii / Σ n_ij,
    `mean_accuracy` the mean of n_ii / Σ_j n_ij over the classes that are there,
    `mean_iou` the mean of n_ii / (Σ_j n_ij + Σ_j n_ji − n_ii) over those that are there
    or were predicted, and `per_class_iou` [C], NaN for the others.
    """
    if "confusion" not in sums:
        pixels = float(sums["pixels"])
        if pixels == 0:
            return {"loss": float("nan"), "pixel_accuracy": float("nan")}
        return {
            "loss": float(sums["loss"]) / pixels,
            "pixel_accuracy": float(sums["correct"]) / pixels,
        }
    matrix = np.asarray(sums["confusion"]).astype(np.int64)
    pixels = int(matrix.sum())
    if pixels == 0:
        raise ValueError("no pixels were summed: the data is empty or all unknown")
    correct, true, found = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = correct / (true + found - correct)
        recall = correct / true
    return {
        "loss": float(sums["loss"]) / pixels,
        "mean_iou": float(np.nanmean(iou)),
        "pixel_accuracy": int(correct.sum()) / pixels,
        "mean_accuracy": float(np.nanmean(recall)),
        "per_class_iou": iou,
        "confusion": matrix,
    }
