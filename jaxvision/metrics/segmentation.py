"""Metrics of semantic segmentation: from one confusion matrix of all pixels, and from
the boundaries in each image."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UsageError
from jaxvision.types import UNKNOWN, Array, Sums


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


BOUNDARY = ("true", "true_matched", "predicted", "predicted_matched")
"""What is counted of the boundaries of a class, in this order."""


def boundaries(
    predicted: Array,
    labels: Array,
    counts: Array,
    num_classes: int,
    tolerance: Array,
    reach: float,
) -> Array:
    """int32 [B,C,4]: pixels on the boundaries of each class, see `BOUNDARY`.

    A pixel is on the boundary of its class if one of its four neighbours counts and is
    of another class; the edge of the image is no boundary.  It is matched if the other
    map has a pixel on a boundary of the same class whose centre is at most `tolerance`
    pixels away.

    Args:
      predicted, labels, counts: [B,H,W], as in `confusion`.
      tolerance: float32 [B], of each image.
      reach: pixels that no tolerance exceeds.
    """
    true, found = (
        jnp.where(_on_boundary(each, counts), each.astype(jnp.int32), UNKNOWN)
        for each in (labels, predicted)
    )
    side = math.floor(reach)
    steps = np.arange(-side, side + 1)
    down, right = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    inside = down**2 + right**2 <= reach**2
    rows, columns = jnp.asarray(down[inside]), jnp.asarray(right[inside])
    width = ((0, 0), (side, side), (side, side))
    framed = [jnp.pad(each, width, constant_values=UNKNOWN) for each in (found, true)]
    squared = jnp.square(tolerance)[:, None, None]

    def look(i, matched):
        """At all pixels one step away, in both maps."""
        near = jnp.square(rows[i]) + jnp.square(columns[i])
        near = near.astype(jnp.float32) <= squared
        start = (0, rows[i] + side, columns[i] + side)
        return tuple(
            hits | (near & (jax.lax.dynamic_slice(other, start, own.shape) == own))
            for hits, own, other in zip(matched, (true, found), framed, strict=True)
        )

    nothing = jnp.zeros(labels.shape, bool)
    true_hits, found_hits = jax.lax.fori_loop(0, len(rows), look, (nothing, nothing))
    classes = jnp.arange(num_classes)[None, None, None]

    def counted(codes, which):
        member = (codes[..., None] == classes) & which[..., None]
        return jnp.sum(member, axis=(1, 2), dtype=jnp.int32)

    everywhere = jnp.ones(labels.shape, bool)
    return jnp.stack(
        [
            counted(true, everywhere),
            counted(true, true_hits),
            counted(found, everywhere),
            counted(found, found_hits),
        ],
        axis=-1,
    )


def _on_boundary(labels: Array, counts: Array) -> Array:
    """Bool [B,H,W], see `boundaries`."""
    edge = jnp.zeros(labels.shape, bool)
    for axis in (1, 2):
        size = labels.shape[axis]
        first, second = (
            [jax.lax.slice_in_dim(each, start, size - 1 + start, axis=axis)
             for each in (labels, counts)]
            for start in (0, 1)
        )  # fmt: skip
        differ = (first[0] != second[0]) & first[1] & second[1]
        for padding in ((0, 1), (1, 0)):
            width = [(0, 0)] * 3
            width[axis] = padding
            edge |= jnp.pad(differ, width)
    return edge


def boundary_f1(counts: np.ndarray) -> np.ndarray:
    """Of each class [C], from what `boundaries` counted in N images, [N,C,4].

    Csurka et al. 2013, https://doi.org/10.5244/C.27.32: in each image F1 is the
    harmonic mean of the shares of matched pixels on the predicted and on the true
    boundary, 0 if one of them is not there; the class has the mean over the images that
    have either.  NaN if none has.
    """
    true, true_hits, found, found_hits = np.moveaxis(counts.astype(np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = true_hits / true, found_hits / found
        scores = 2 * precision * recall / (precision + recall)
    either = (true > 0) | (found > 0)
    scores = np.where(np.isfinite(scores), scores, 0)
    with np.errstate(invalid="ignore"):
        return np.sum(scores * either, axis=0) / np.sum(either, axis=0)


def compute(sums: Sums, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Sums and rows of one or many batches as numbers; what is not there is left out.

    `loss` is the mean over what it is the mean of, see `losses.segmentation`.  Of the
    confusion matrix n, with n_ij pixels of class i that were taken for class j (Long et
    al. 2015, https://arxiv.org/abs/1411.4038, section 5): `pixel_accuracy`
    Σ n_ii / Σ n_ij, `mean_accuracy` the mean of n_ii / Σ_j n_ij over the classes that
    are there, `mean_iou` the mean of n_ii / (Σ_j n_ij + Σ_j n_ji − n_ii) over those
    that are there or were predicted, and `mean_dice` that of 2 n_ii / (Σ_j n_ij +
    Σ_j n_ji), which is the F1 of pixels.  `per_class_accuracy`, `per_class_iou` and
    `per_class_dice` [C] are NaN for the others.  `boundary_f1` is the mean over the
    classes of `per_class_boundary_f1` [C], see there.
    """
    loss = _loss(sums)
    if "confusion" not in sums:
        pixels = float(sums["pixels"])
        accuracy = float(sums["correct"]) / pixels if pixels else float("nan")
        return {"loss": loss, "pixel_accuracy": accuracy}
    matrix = np.asarray(sums["confusion"]).astype(np.int64)
    pixels = int(matrix.sum())
    if pixels == 0:
        raise UsageError(
            "no pixels were summed: the set is empty, or all of its pixels are unknown "
            f"({UNKNOWN}), so that there is nothing to measure: give it masks"
        )
    correct, true, found = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = correct / (true + found - correct)
        dice = 2 * correct / (true + found)
        recall = correct / true
    metrics = {
        "loss": loss,
        "mean_iou": float(np.nanmean(iou)),
        "pixel_accuracy": int(correct.sum()) / pixels,
        "mean_accuracy": float(np.nanmean(recall)),
        "mean_dice": float(np.nanmean(dice)),
        "per_class_iou": iou,
        "per_class_accuracy": recall,
        "per_class_dice": dice,
        "confusion": matrix,
    }
    if "boundaries" in rows:
        each = boundary_f1(np.asarray(rows["boundaries"]))
        known = np.isfinite(each).any()
        metrics["boundary_f1"] = float(np.nanmean(each)) if known else float("nan")
        metrics["per_class_boundary_f1"] = each
    return metrics


def _loss(sums: Sums) -> float:
    """The sum of the means that it is made of; NaN if one is the mean of nothing."""
    totals, weights = (jax.tree.leaves(sums[name]) for name in ("loss", "weight"))
    means = [
        float(total) / float(weight) if float(weight) else float("nan")
        for total, weight in zip(totals, weights, strict=True)
    ]
    return sum(means)
