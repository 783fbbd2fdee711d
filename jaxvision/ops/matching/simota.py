"""SimOTA: each object is found by the predictions that cost least, as many as fit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops.boxes.forms import centre_form, corners
from jaxvision.ops.boxes.overlap import iou, pairwise
from jaxvision.ops.matching.matches import BACKGROUND, best, settled

Array = jax.Array

OUTSIDE = 1e5
"""What a place costs that is not both in the box and near its centre."""


class SimOTA(NamedTuple):
    matches: Array
    """int32 [N], see `ops.matching`."""
    overlap: Array
    """[N]: the IoU of a prediction with the object it is to find, which scales the
    target of its class; 0 for background."""


def simota(
    predicted: Array,
    logits: Array,
    objectness: Array,
    cells: Array,
    boxes: Array,
    classes: Array,
    valid: Array,
    *,
    radius: float = 2.5,
    in_boxes: bool = True,
    most: int = 10,
    box_weight: float = 3.0,
) -> SimOTA:
    """The matcher of YOLOX, which looks at predictions; no gradient goes through it.

    Ge et al. 2021, https://arxiv.org/abs/2107.08430, section 2.1, "SimOTA".  Candidates
    are the cells whose centre is in an object or near its centre.  An object is found
    by the k candidates of least cost, where k is the sum of its IoU with the
    predictions that overlap it most, rounded down, and at least 1.  The cost is the
    cross-entropy of the classes, with √(σ(logit) σ(objectness)) as probabilities, plus
    `box_weight` times -log IoU, and `OUTSIDE` where the centre of the cell is not both
    in this object and near its centre.  A prediction that several objects want is left
    to the one that pays least.

    Args:
      predicted: boxes [N,4] as the network has them now.
      logits: [N,C], of the classes.
      objectness: [N], logits.
      cells: [N,4], see `ops.boxes.anchors.cells`.
      boxes, classes, valid: [M,4], int [M] and bool [M]: the objects.
      radius: near is less than so many cells from the centre, along both axes.
      in_boxes: whether it matters that the centre is in the object; False: only that it
        is near, as in the authors' code since 2022, whose radius is 1.5.
      most: predictions whose IoU is added, and so the largest k.
      box_weight: see above.
    """
    count, objects = len(predicted), len(boxes)
    if not objects:
        return SimOTA(jnp.full(count, BACKGROUND, jnp.int32), jnp.zeros(count))
    predicted, logits, objectness = lax.stop_gradient((predicted, logits, objectness))
    x, y, side, _ = (each[None] for each in corners(centre_form(cells)))
    gx, gy, _, _ = (each[:, None] for each in corners(centre_form(boxes)))
    x_min, y_min, x_max, y_max = (each[:, None] for each in corners(boxes))
    near = jnp.maximum(jnp.abs(x - gx), jnp.abs(y - gy)) < radius * side
    inside = (x > x_min) & (x < x_max) & (y > y_min) & (y < y_max) if in_boxes else near
    candidate = jnp.any((inside | near) & valid[:, None], axis=0)

    overlap = pairwise(iou)(boxes, predicted)
    cost = _class_cost(logits, objectness, jnp.where(valid, classes, 0))
    cost += box_weight * -jnp.log(overlap + 1e-8)
    cost += jnp.where(inside & near, 0.0, OUTSIDE)
    allowed = candidate[None] & valid[:, None]
    cost = settled(jnp.where(allowed, cost, jnp.inf))

    largest, _ = lax.top_k(jnp.where(allowed, overlap, 0), min(most, count))
    wanted = jnp.maximum(jnp.floor(jnp.sum(largest, axis=1)).astype(jnp.int32), 1)
    cheap, places = lax.top_k(-cost, min(most, count))
    taken = (jnp.arange(cheap.shape[1])[None] < wanted[:, None]) & (cheap > -jnp.inf)
    rows = jnp.broadcast_to(jnp.arange(objects)[:, None], places.shape)
    claims = jnp.zeros(cost.shape, bool).at[rows, places].set(taken)

    # Among several claims the least cost of all objects decides, as in the authors'
    # code, even if its object did not claim the prediction.
    contested = jnp.sum(claims, axis=0) > 1
    _, cheapest = best(-cost, axis=0)
    _, first = best(claims.astype(jnp.int32), axis=0)
    owner = jnp.where(contested, cheapest, first)
    found = jnp.any(claims, axis=0)
    share = jnp.take_along_axis(overlap, owner[None], axis=0)[0]
    return SimOTA(jnp.where(found, owner, BACKGROUND), jnp.where(found, share, 0))


def _class_cost(logits: Array, objectness: Array, classes: Array) -> Array:
    """[M,N]: binary cross-entropies over all classes, for each object as the truth.

    That of object m is the sum of -log(1 - p) over all classes, but with -log p for its
    own: computed once for all objects.  Logarithms end at -100, as PyTorch's do.
    """
    p = jnp.sqrt(jax.nn.sigmoid(logits) * jax.nn.sigmoid(objectness)[:, None])
    absent, present = -jnp.log1p(-p), -jnp.log(p)
    absent, present = jnp.minimum(absent, 100), jnp.minimum(present, 100)
    return jnp.sum(absent, axis=1)[None] + (present - absent)[:, classes].T
