"""How far found keypoints are from the true ones, on the host, in float64.

N objects with K keypoints each.  Distances are measured in a length that belongs to
each object, its *norm*: the distance between the eyes of a face, the side of a box.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.metrics import coco, detection
from jaxvision.metrics.detection import ranks
from jaxvision.recipes import NORMS

Norm = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`(keypoints [N,K,3], boxes [N,4]) -> float64 [N]`, NaN where it is not known."""

CURVE = 100
"""Steps of the curve of errors."""


@NORMS.recorded
def between(
    first: Sequence[int] | int, second: Sequence[int] | int, factor: float = 1.0
) -> Norm:
    """The distance between two keypoints, or the middles of two groups of them.

    `between((36,), (45,))` are the outer corners of the eyes of 68 landmarks
    (inter-ocular), and `between(range(36, 42), range(42, 48))` the middles of the eyes
    (inter-pupil).  Not known where one of the keypoints is not labelled.
    """
    groups = [[each] if isinstance(each, int) else [*each] for each in (first, second)]
    check(
        (
            all(groups) and min(map(min, groups)) >= 0,
            f"a norm is between keypoints by their numbers, got {first} and {second}",
        ),
        (factor > 0, f"factor of a norm must be positive, got {factor}"),
    )

    def norm(keypoints, boxes):
        del boxes
        most = max(map(max, groups))
        check(
            (
                most < keypoints.shape[1],
                f"the norm is between keypoints {first} and {second}, and there are "
                f"{keypoints.shape[1]}, counted from 0",
            )
        )
        labelled = keypoints[..., 2] > 0
        known = labelled[:, groups[0] + groups[1]].all(axis=1)
        middles = [keypoints[:, group, :2].mean(axis=1) for group in groups]
        length = factor * np.linalg.norm(middles[0] - middles[1], axis=-1)
        return np.where(known & (length > 0), length, np.nan)

    return norm


_SIZES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "longest": np.maximum,
    "diagonal": np.hypot,
    "root": lambda width, height: np.sqrt(width * height),
}


@NORMS.recorded
def box(size: Literal["longest", "diagonal", "root"] = "longest") -> Norm:
    """A size of the object's box: the longer side, the diagonal, or the root of the
    area.  Where objects have no box it is that around the labelled keypoints."""
    if size not in _SIZES:
        raise unknown("size of a box", size, _SIZES)

    def norm(keypoints, boxes):
        del keypoints
        length = _SIZES[size](boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        return np.where(length > 0, length, np.nan)

    return norm


@NORMS.recorded
def pixels(count: float = 1.0) -> Norm:
    """So many pixels, for all objects alike."""
    check((count > 0, f"the norm must be a positive number of pixels, got {count}"))
    return lambda keypoints, boxes: np.full(len(keypoints), float(count))


def boxes_around(keypoints: np.ndarray) -> np.ndarray:
    """float64 [N,4]: boxes around the labelled keypoints [N,K,3]; zeros for none."""
    points, labelled = keypoints[..., :2], keypoints[..., 2:] > 0
    low = np.where(labelled, points, np.inf).min(axis=1)
    high = np.where(labelled, points, -np.inf).max(axis=1)
    some = labelled.any(axis=1)
    return np.where(np.tile(some, 4), np.concatenate([low, high], axis=1), 0.0)


def measure(
    found: np.ndarray,
    true: np.ndarray,
    norms: np.ndarray,
    *,
    threshold: float,
    failure: float,
) -> dict[str, Any]:
    """Metrics of found keypoints [N,K,2] against true ones [N,K,3].

    Only labelled keypoints count, and objects that have one; in what is relative to the
    norm [N] only objects whose norm is known.  NaN where nothing counts.

    `mean_error`: the mean distance in pixels; `per_keypoint_error` [K].
    `pck`: the share of keypoints within `threshold` norms (Yang and Ramanan 2013,
      https://doi.org/10.1109/TPAMI.2012.261); `per_keypoint_pck` [K].
    `nme`: the mean over objects of an object's mean distance in norms.
    `failure_rate`: the share of objects whose mean distance exceeds `failure` norms.
    `auc`: the area under the curve of the share of objects against the mean distance up
      to `failure`, by that of a perfect one.
    `error_curve` [2,101]: this curve up to twice `failure`, errors and shares.
    """
    found, true = np.asarray(found, np.float64), np.asarray(true, np.float64)
    labelled = true[..., 2] > 0
    distances = np.linalg.norm(found - true[..., :2], axis=-1)
    known = labelled & np.isfinite(norms)[:, None]
    relative = distances / np.where(np.isfinite(norms), norms, 1)[:, None]
    hits = relative <= threshold
    counts = known.any(axis=1)
    errors = np.where(known, relative, 0).sum(axis=1)[counts]
    errors = np.sort(errors / known.sum(axis=1)[counts])
    grid = np.linspace(0, 2 * failure, CURVE + 1)
    shares = np.searchsorted(errors, grid, side="right") / max(len(errors), 1)
    return {
        "mean_error": _mean(distances, labelled),
        "pck": _mean(hits, known),
        "nme": _mean(errors),
        "failure_rate": _mean(errors > failure),
        "auc": _mean(np.maximum(1 - errors / failure, 0)),
        "per_keypoint_error": _mean_of_columns(distances, labelled),
        "per_keypoint_pck": _mean_of_columns(hits, known),
        "error_curve": np.stack([grid, shares]),
    }


def _mean(values: np.ndarray, counted: np.ndarray | None = None) -> float:
    kept = values if counted is None else values[counted]
    return float(kept.mean()) if kept.size else float("nan")


def _mean_of_columns(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    number = counted.sum(axis=0)
    total = np.where(counted, values, 0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def average_precision(
    rows: Mapping[str, np.ndarray], sigmas: Sequence[float]
) -> dict[str, float]:
    """COCO's average precision of the keypoints of N objects that were looked at one by
    one: `ap`, `ap50`, `ap75`, `ap_medium`, `ap_large` and `ar_20`, see `metrics.coco`.

    An object's score is the mean of those of its keypoints.

    Args:
      rows: `found` [N,K,2], `scores` [N,K], `true` [N,K,3], `boxes` [N,4]; `area` [N]
        in pixels, where it is known, else it is that of the box; and `origin` [N], the
        number of the image of each, where several are of one.
      sigmas: of each keypoint, see `metrics.keypoints`.
    """
    count = len(rows["true"])
    origin = rows["origin"] if "origin" in rows else np.arange(count)
    _, image = np.unique(origin, return_inverse=True)
    order = np.argsort(image, kind="stable")
    place = np.empty(count, np.int64)
    place[order] = ranks(image[order])
    shape = (image.max(initial=-1) + 1, place.max(initial=-1) + 1)

    def by_image(array: np.ndarray, nothing: float = 0) -> np.ndarray:
        array = np.asarray(array)
        padded = np.full((*shape, *array.shape[1:]), nothing, array.dtype)
        padded[image, place] = array
        return padded

    boxes, there = by_image(rows["boxes"]), by_image(np.zeros(count, np.int64), -1)
    of_images = {
        "found_boxes": boxes,
        "found_scores": by_image(np.mean(rows["scores"], axis=-1, dtype=np.float64)),
        "found_classes": there,
        "found_keypoints": by_image(rows["found"]),
        "boxes": boxes,
        "classes": there,
        "keypoints": by_image(rows["true"]),
    }
    if "area" in rows:
        of_images["area"] = by_image(rows["area"])
    found = coco.measure(
        detection.keypoints_from_rows(of_images, sigmas), 1, coco.OF_KEYPOINTS
    )
    return {name: value for name, value in found.items() if np.ndim(value) == 0}
