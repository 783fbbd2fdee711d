"""How much two boxes overlap, and how far they are from each other.

Each function takes boxes a and b of the same rank, [..., 4], broadcasts them and
returns [...].  `pairwise(iou)` compares all boxes of one set with all of another.

A quotient of nothing is 0 here: two boxes without area have an IoU of 0, and nothing
becomes NaN, neither in values nor in gradients.  `eps` is added to each denominator,
as losses of other libraries do.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops.boxes.forms import corners

Array = jax.Array


def pairwise(measure: Callable[..., Array]) -> Callable[..., Array]:
    """`(a [..., N, 4], b [..., M, 4]) -> [..., N, M]` of a measure of two boxes."""

    @functools.wraps(measure)
    def of_all(a: Array, b: Array, **options) -> Array:
        return measure(a[..., :, None, :], b[..., None, :, :], **options)

    return of_all


def area(boxes: Array) -> Array:
    """Width times height of [..., 4]; 0 where corners are in the wrong order."""
    x_min, y_min, x_max, y_max = corners(boxes)
    return jnp.maximum(x_max - x_min, 0) * jnp.maximum(y_max - y_min, 0)


def intersection(a: Array, b: Array) -> Array:
    """The area that both boxes cover."""
    ax_min, ay_min, ax_max, ay_max = corners(a)
    bx_min, by_min, bx_max, by_max = corners(b)
    width = jnp.minimum(ax_max, bx_max) - jnp.maximum(ax_min, bx_min)
    height = jnp.minimum(ay_max, by_max) - jnp.maximum(ay_min, by_min)
    return jnp.maximum(width, 0) * jnp.maximum(height, 0)


def coverage(a: Array, b: Array) -> Array:
    """The share of a that b covers: what counts against a crowd b in COCO."""
    return _quotient(intersection(a, b), area(a))


def iou(a: Array, b: Array, *, eps: float = 0.0) -> Array:
    """Intersection over union, from 0 to 1 (Jaccard)."""
    return _iou_and_union(a, b, eps)[0]


def giou(a: Array, b: Array, *, eps: float = 0.0) -> Array:
    """IoU less the empty share of the smallest box around both, from -1 to 1.

    Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630, algorithm 1.
    """
    overlap, union = _iou_and_union(a, b, eps)
    width, height = _surrounding(a, b)
    around = width * height
    return overlap - _quotient(around - union, around + eps)


def diou(a: Array, b: Array, *, eps: float = 0.0) -> Array:
    """IoU less the squared distance of the centres, by the diagonal around both.

    Zheng et al. 2020, https://arxiv.org/abs/1911.08287, equation 7.
    """
    width, height = _surrounding(a, b)
    ax_min, ay_min, ax_max, ay_max = corners(a)
    bx_min, by_min, bx_max, by_max = corners(b)
    dx, dy = (ax_min + ax_max - bx_min - bx_max), (ay_min + ay_max - by_min - by_max)
    apart = (dx**2 + dy**2) / 4
    return iou(a, b, eps=eps) - _quotient(apart, width**2 + height**2 + eps)


def ciou(a: Array, b: Array, *, eps: float = 0.0) -> Array:
    """`diou` less α v, where v tells how different the shapes of the boxes are.

    v = 4/π² (arctan w_a/h_a - arctan w_b/h_b)²; its weight α = v / (1 - IoU + v) is a
    constant to the gradient.  Zheng et al. 2020, https://arxiv.org/abs/1911.08287,
    equations 8 to 11.
    """
    v = 4 / math.pi**2 * (_slant(a) - _slant(b)) ** 2
    weight = _quotient(v, 1 - iou(a, b, eps=eps) + v + eps)
    return diou(a, b, eps=eps) - lax.stop_gradient(weight) * v


def _iou_and_union(a: Array, b: Array, eps: float) -> tuple[Array, Array]:
    both = intersection(a, b)
    union = area(a) + area(b) - both
    return _quotient(both, union + eps), union


def _surrounding(a: Array, b: Array) -> tuple[Array, Array]:
    """Width and height of the smallest box that holds both."""
    ax_min, ay_min, ax_max, ay_max = corners(a)
    bx_min, by_min, bx_max, by_max = corners(b)
    return (
        jnp.maximum(ax_max, bx_max) - jnp.minimum(ax_min, bx_min),
        jnp.maximum(ay_max, by_max) - jnp.minimum(ay_min, by_min),
    )


def _slant(boxes: Array) -> Array:
    """The arc tangent of width over height; of a box without height, π/2 or 0."""
    x_min, y_min, x_max, y_max = corners(boxes)
    width, height = x_max - x_min, y_max - y_min
    flat = height == 0
    limit = jnp.where(width > 0, math.pi / 2, 0.0).astype(boxes.dtype)
    return jnp.where(flat, limit, jnp.arctan(width / jnp.where(flat, 1, height)))


def _quotient(part: Array, whole: Array) -> Array:
    some = whole > 0
    return jnp.where(some, part / jnp.where(some, whole, 1), 0)
