"""From scores and codes of all anchors to the few boxes that an image is said to have.

Each function is for one image, in fixed shapes, and does what the reference of its
detector does, torchvision's `postprocess_detections` or YOLOX's `postprocess`: it
leaves out low scores, keeps so many of the best, and lets boxes suppress others of
their class.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.ops.boxes.forms import clip_to, corners
from jaxvision.ops.boxes.suppression import nms

Array = jax.Array


class Detections(NamedTuple):
    """What was found, in falling order of the scores, and then padding of zeros."""

    boxes: Array
    """float32 [D,4]."""
    scores: Array
    """float32 [D]."""
    classes: Array
    """int32 [D]; -1 in the padding."""


def best_of_levels(
    scores: Array,
    codes: Array,
    levels: Sequence[np.ndarray],
    decode: Callable[[Array, Array], Array],
    frame: Array,
    *,
    least: float,
    candidates: int,
    threshold: float,
    outputs: int,
) -> Detections:
    """RetinaNet's and FCOS's: the best of each level, of all classes together.

    Args:
      scores: [A,K].
      codes: [A,4].
      levels: the references [n,4] of each level, A altogether.
      decode: `(codes, references) -> boxes`, see `Encoding`.
      frame: [4], the box to which boxes are clipped.
      least: only what has a higher score is found.
      candidates: of a level, at most, before suppression.
      threshold: see `nms`.
      outputs: D.
    """
    boxes, best, number, _ = _of_levels(
        scores, codes, levels, decode, frame, candidates
    )
    return _kept(boxes, best, number, best > least, threshold, outputs)


def proposals_of_levels(
    logits: Array,
    codes: Array,
    levels: Sequence[np.ndarray],
    decode: Callable[[Array, Array], Array],
    frame: Array,
    *,
    least: float,
    candidates: int,
    threshold: float,
    outputs: int,
    smallest: float = 1e-3,
) -> Detections:
    """Faster R-CNN's proposals: boxes that show any object, which suppress those of
    their level.  Their class is 0.

    Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3.3, as torchvision's
    RegionProposalNetwork.

    Args:
      logits: [A], of the score.
      least: only what has this score at least is proposed.
      smallest: so are only boxes with sides of at least so many pixels.
      codes, levels, decode, frame, candidates, threshold, outputs: see
        `best_of_levels`.
    """
    boxes, best, _, level = _of_levels(
        logits[:, None], codes, levels, decode, frame, candidates
    )
    scores = jax.nn.sigmoid(best)
    valid = (scores >= least) & _as_large(boxes, smallest)
    kept = _kept(boxes, scores, level, valid, threshold, outputs)
    return kept._replace(classes=jnp.minimum(kept.classes, 0))


def best_of_regions(
    scores: Array,
    boxes: Array,
    valid: Array,
    *,
    least: float,
    threshold: float,
    outputs: int,
    smallest: float = 1e-2,
) -> Detections:
    """Fast R-CNN's: a region may be an object of each class, with a box for each.

    Girshick 2015, https://arxiv.org/abs/1504.08083, section 2.3.

    Args:
      scores: [R,K].
      boxes: [R,K,4], clipped.
      valid: bool [R]: which regions there are.
      smallest: boxes with a side of fewer pixels are left out.
      least, threshold, outputs: see `best_of_levels`.
    """
    regions, classes = scores.shape
    number = jnp.arange(classes, dtype=jnp.int32)[None]
    number = jnp.broadcast_to(number, (regions, classes)).ravel()
    boxes, scores = boxes.reshape(-1, 4), scores.ravel()
    there = (scores > least) & jnp.repeat(valid, classes) & _as_large(boxes, smallest)
    return _kept(boxes, scores, number, there, threshold, outputs)


def best_of_classes(
    scores: Array,
    boxes: Array,
    *,
    least: float,
    candidates: int,
    threshold: float,
    outputs: int,
) -> Detections:
    """SSD's: the best of each class.

    Args:
      scores: [A,K].
      boxes: [A,4], clipped.
      candidates: of a class, at most, before suppression.
      least, threshold, outputs: see `best_of_levels`.
    """
    anchors, classes = scores.shape
    best, places = lax.top_k(scores.T, min(candidates, anchors))
    number = jnp.arange(classes, dtype=jnp.int32)[:, None]
    number = jnp.broadcast_to(number, places.shape).ravel()
    boxes, best = boxes[places.ravel()], best.ravel()
    return _kept(boxes, best, number, best > least, threshold, outputs)


def best_of_anchors(
    scores: Array,
    boxes: Array,
    frame: Array,
    *,
    least: float,
    candidates: int,
    threshold: float,
    outputs: int,
) -> Detections:
    """YOLOX's: every anchor may be of the class that has its highest score alone.

    Boxes suppress others as they are, and are clipped to the frame afterwards.

    Args:
      scores: [A,K].
      boxes: [A,4].
      candidates: of an image, at most, before suppression.
      frame, least, threshold, outputs: see `best_of_levels`.
    """
    highest, classes = jnp.max(scores, axis=1), jnp.argmax(scores, axis=1)
    best, places = lax.top_k(highest, min(candidates, len(highest)))
    boxes, valid = boxes[places], best > least
    found = _kept(boxes, best, classes[places], valid, threshold, outputs)
    clipped = clip_to(found.boxes, frame)
    there = (found.classes >= 0)[:, None]
    return found._replace(boxes=jnp.where(there, clipped, 0))


def _of_levels(
    scores: Array,
    codes: Array,
    levels: Sequence[np.ndarray],
    decode: Callable[[Array, Array], Array],
    frame: Array,
    candidates: int,
) -> tuple[Array, Array, Array, Array]:
    """The highest scores [A,K] of each level: their boxes, clipped, the scores, and the
    numbers of their classes and levels."""
    classes = scores.shape[1]
    found: list[tuple[Array, Array, Array, Array]] = []
    start = 0
    for level, references in enumerate(levels):
        own = slice(start, start + len(references))
        start = own.stop
        each = scores[own].ravel()
        best, places = lax.top_k(each, min(candidates, len(each)))
        anchors = places // classes
        boxes = clip_to(
            decode(codes[own][anchors], jnp.asarray(references)[anchors]), frame
        )
        found.append((boxes, best, places % classes, jnp.full_like(places, level)))
    boxes, best, number, level_of = (
        jnp.concatenate(part) for part in zip(*found, strict=True)
    )
    return boxes, best, number, level_of


def _kept(
    boxes: Array,
    scores: Array,
    classes: Array,
    valid: Array,
    threshold: float,
    outputs: int,
) -> Detections:
    kept = nms(boxes, scores, threshold, outputs=outputs, classes=classes, valid=valid)
    chosen = jnp.where(kept.valid[:, None], boxes[kept.indices], 0)
    numbers = jnp.where(kept.valid, classes[kept.indices].astype(jnp.int32), -1)
    return Detections(chosen, kept.scores, numbers)


def _as_large(boxes: Array, side: float) -> Array:
    """Bool [N]: which boxes have no shorter side."""
    x_min, y_min, x_max, y_max = corners(boxes)
    return (x_max - x_min >= side) & (y_max - y_min >= side)
