"""Adaptive training sample selection: a threshold of IoU for each object."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.boxes.forms import centre_form, corners
from jaxvision.ops.boxes.overlap import iou, pairwise
from jaxvision.ops.matching.matches import BACKGROUND, best, settled

Array = jax.Array


def atss(
    references: Array,
    levels: Sequence[int],
    boxes: Array,
    valid: Array,
    *,
    nearest: int = 9,
) -> Array:
    """Each object is found by those of the nearest references that overlap it well.

    Zhang et al. 2020, https://arxiv.org/abs/1912.02424, algorithm 1: candidates are on
    each level the references whose centres are nearest to that of the object; those
    are positive whose IoU is at least the mean plus the standard deviation (of a
    sample, as in the authors' code) over all its candidates, and whose centre lies in
    the object, more than 0.01 pixels from its edge.  A reference that would find
    several objects finds the one it overlaps most.

    Args:
      references: [N,4], level after level.
      levels: how many of them are on each level.
      boxes: [M,4].
      valid: bool [M]: which objects there are.
      nearest: k, candidates of an object on each level; fewer where a level has fewer.

    Returns int32 [N], see `ops.matching`.

    Raises `UsageError` where the levels do not add up to N, or have one candidate.
    """
    ends = np.cumsum(levels)
    candidates = sum(min(nearest, count) for count in levels)
    check(
        (
            ends[-1] == len(references),
            f"levels hold {ends[-1]} references, and there are {len(references)}",
        ),
        (
            candidates > 1,
            f"an object must have two candidates or more, got {candidates}: a sample "
            "of one has no standard deviation",
        ),
    )
    if not len(boxes):
        return jnp.full(len(references), BACKGROUND, jnp.int32)
    references, boxes = jnp.asarray(references), jnp.asarray(boxes)
    x, y, _, _ = corners(centre_form(references))
    gx, gy, _, _ = corners(centre_form(boxes))
    apart = (gx[:, None] - x[None]) ** 2 + (gy[:, None] - y[None]) ** 2
    places = []
    for start, end in zip(ends - np.asarray(levels), ends, strict=True):
        count = min(nearest, int(end - start))
        _, near = lax.top_k(-apart[:, start:end], count)
        places.append(near + start)
    near = jnp.concatenate(places, axis=1)
    overlap = iou(references[near], boxes[:, None])
    threshold = jnp.mean(overlap, 1) + jnp.std(overlap, 1, ddof=1)
    x_min, y_min, x_max, y_max = (each[:, None] for each in corners(boxes))
    px, py = x[near], y[near]
    margins = (px - x_min, py - y_min, x_max - px, y_max - py)
    inside = jnp.minimum(
        jnp.minimum(margins[0], margins[1]), jnp.minimum(margins[2], margins[3])
    )
    positive = (overlap >= threshold[:, None]) & (inside > 0.01) & valid[:, None]

    rows = jnp.broadcast_to(jnp.arange(len(boxes))[:, None], near.shape)
    chosen = jnp.zeros(apart.shape, bool).at[rows, near].set(positive)
    quality = settled(jnp.where(chosen, pairwise(iou)(boxes, references), -1))
    _, found = best(quality, axis=0)
    return jnp.where(jnp.any(chosen, axis=0), found, BACKGROUND)
