"""What networks predict instead of boxes: codes relative to a box they begin with.

An `Encoding` is a pair of functions that are each other's inverse.  The references are
boxes, whatever the family: an anchor, a proposal, or the cell of a grid.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.boxes.forms import centre_form, corner_form, corners

Array = jax.Array

CLAMP = math.log(1000 / 16)
"""The largest logarithm of a ratio of sides that a decoder believes: from a reference
of 16 pixels to an object of 1000."""

LEAST = 1e-12
"""Sides are at least this long in divisions and logarithms, so that the codes of boxes
without area, such as the padding of a batch, are finite and may be masked."""


class Encoding(NamedTuple):
    """Boxes as numbers that a network can learn, and back."""

    encode: Callable[[Array, Array], Array]
    """`(boxes [..., 4], references [..., 4]) -> codes [..., 4]`."""
    decode: Callable[[Array, Array], Array]
    """`(codes [..., 4], references [..., 4]) -> boxes [..., 4]`."""


def deltas(
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0), *, clamp: float | None = CLAMP
) -> Encoding:
    """Shifts of the centre in units of the reference, and logarithms of the ratios.

    Girshick et al. 2014, https://arxiv.org/abs/1311.2524, appendix C: with centre
    (x, y) and size (w, h) of the reference, `(g_x - x)/w, (g_y - y)/h, log g_w/w,
    log g_h/h`, each times its weight.  Fast R-CNN weighs (10, 10, 5, 5), as does SSD,
    whose paper calls 1/weight a variance (0.1, 0.1, 0.2, 0.2); RetinaNet and proposals
    weigh nothing.

    Args:
      weights: of x, y, width and height; positive.
      clamp: the largest log ratio that is decoded; None: any.

    Raises `UsageError` for weights that are not four positive numbers.
    """
    check(
        (
            len(weights) == 4 and all(weight > 0 for weight in weights),
            f"weights must be four positive numbers, got {tuple(weights)}",
        )
    )

    def encode(boxes: Array, references: Array) -> Array:
        gx, gy, gw, gh = corners(centre_form(boxes))
        x, y, w, h = corners(centre_form(references))
        w, h = jnp.maximum(w, LEAST), jnp.maximum(h, LEAST)
        codes = (
            (gx - x) / w,
            (gy - y) / h,
            jnp.log(jnp.maximum(gw, LEAST) / w),
            jnp.log(jnp.maximum(gh, LEAST) / h),
        )
        scaled = (k * code for k, code in zip(weights, codes, strict=True))
        return jnp.stack([*scaled], axis=-1)

    def decode(codes: Array, references: Array) -> Array:
        dx, dy, dw, dh = (
            code / k for code, k in zip(corners(codes), weights, strict=True)
        )
        if clamp is not None:
            dw, dh = jnp.minimum(dw, clamp), jnp.minimum(dh, clamp)
        x, y, w, h = corners(centre_form(references))
        return corner_form(
            jnp.stack(
                [x + dx * w, y + dy * h, jnp.exp(dw) * w, jnp.exp(dh) * h], axis=-1
            )
        )

    return Encoding(encode, decode)


def distances(*, normalise: bool = True) -> Encoding:
    """From the centre of the reference to the left, top, right and bottom of the box.

    Tian et al. 2019, FCOS, https://arxiv.org/abs/1904.01355, equation 1.  All four are
    positive where the centre is inside.  `normalise` counts them in sides of the
    reference, which is the stride of its level where references are cells of a grid.
    """

    def unit(references: Array) -> Array:
        x_min, y_min, x_max, y_max = corners(references)
        width, height = x_max - x_min, y_max - y_min
        return jnp.stack([width, height, width, height], axis=-1)

    def encode(boxes: Array, references: Array) -> Array:
        x_min, y_min, x_max, y_max = corners(boxes)
        x, y, _, _ = corners(centre_form(references))
        codes = jnp.stack([x - x_min, y - y_min, x_max - x, y_max - y], axis=-1)
        return codes / jnp.maximum(unit(references), LEAST) if normalise else codes

    def decode(codes: Array, references: Array) -> Array:
        codes = codes * unit(references) if normalise else codes
        left, top, right, bottom = corners(codes)
        x, y, _, _ = corners(centre_form(references))
        return jnp.stack([x - left, y - top, x + right, y + bottom], axis=-1)

    return Encoding(encode, decode)


def yolox() -> Encoding:
    """The centre from the corner of a cell, and logarithms of the size, in cells.

    Ge et al. 2021, YOLOX, https://arxiv.org/abs/2107.08430: references are the cells of
    a level (`anchors.cells`), whose side is the stride s, and codes decode to the
    centre `corner + s (c_x, c_y)` and the size `s exp(c_w), s exp(c_h)`.
    """

    def encode(boxes: Array, references: Array) -> Array:
        gx, gy, gw, gh = corners(centre_form(boxes))
        x_min, y_min, x_max, y_max = corners(references)
        w, h = jnp.maximum(x_max - x_min, LEAST), jnp.maximum(y_max - y_min, LEAST)
        return jnp.stack(
            [
                (gx - x_min) / w,
                (gy - y_min) / h,
                jnp.log(jnp.maximum(gw, LEAST) / w),
                jnp.log(jnp.maximum(gh, LEAST) / h),
            ],
            axis=-1,
        )

    def decode(codes: Array, references: Array) -> Array:
        cx, cy, cw, ch = corners(codes)
        x_min, y_min, x_max, y_max = corners(references)
        w, h = x_max - x_min, y_max - y_min
        return corner_form(
            jnp.stack(
                [x_min + cx * w, y_min + cy * h, jnp.exp(cw) * w, jnp.exp(ch) * h],
                axis=-1,
            )
        )

    return Encoding(encode, decode)
