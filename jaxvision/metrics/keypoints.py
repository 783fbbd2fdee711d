"""Object keypoint similarity (OKS): how near found keypoints are to true ones.

What IoU is to boxes and masks, for keypoints: the mean of exp(-d²/2s²k²) over the
labelled keypoints of the object, where d is the distance, s² the area of the object and
k = 2σ of each keypoint (https://cocodataset.org/#keypoints-eval).
"""

from collections.abc import Sequence

import numpy as np

from jaxvision.skeletons import PERSON, check_sigmas

COCO_SIGMAS = PERSON.sigmas
"""Of the 17 keypoints of COCO's people."""


def similarity(
    found: np.ndarray,
    true: np.ndarray,
    boxes: np.ndarray,
    area: np.ndarray,
    sigmas: Sequence[float],
) -> np.ndarray:
    """OKS of pairs, float64 [p], from 0 to 1.

    Of an object without a labelled keypoint, it is by how far the found keypoints are
    outside of its box, made three times as wide and high: nothing is known but that
    they may well be inside.

    Args:
      found: [p,K,2] or more columns, x and y.
      true: [p,K,3], x, y and 0 where the keypoint is not labelled.
      boxes: [p,4] of the objects.
      area: [p] of the objects, in pixels.
      sigmas: K.

    Raises `UsageError` unless there is a sigma for each keypoint.
    """
    check_sigmas(sigmas, true.shape[-2])
    found, true = found[..., :2].astype(np.float64), true.astype(np.float64)
    labelled = true[..., 2] > 0
    some = labelled.any(-1, keepdims=True)
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    low, high = low - (high - low), high + (high - low)
    outside = np.maximum(low - found, 0) + np.maximum(found - high, 0)
    apart = np.where(some[..., None], found - true[..., :2], outside)
    scale = (2 * np.asarray(sigmas, np.float64)) ** 2
    distance = (apart**2).sum(-1) / scale / (area[:, None] + np.spacing(1)) / 2
    counts = labelled | ~some
    return (np.exp(-distance) * counts).sum(-1) / counts.sum(-1)


def extent(keypoints: np.ndarray) -> np.ndarray:
    """The area [n] of the boxes around all keypoints [n,K,2] or more columns."""
    places = keypoints[..., :2].astype(np.float64)
    return np.prod(places.max(-2) - places.min(-2), axis=-1)
