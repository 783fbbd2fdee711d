"""A pair: two images of one scene and the transform between them."""

import math
from typing import Literal

import numpy as np

from jaxvision.data.made.scenes import drawing
from jaxvision.data.made.scenes.composition import (
    DEFAULT,
    Arrays,
    Layout,
    Stream,
    check_layout,
    compose,
    draws_of,
)
from jaxvision.errors import check


def pair(
    index: int,
    layout: Layout = DEFAULT,
    *,
    kind: Literal["affine", "homography"] = "homography",
    strength: float = 1,
    split: str = "train",
    seed: int = 0,
) -> Arrays:
    """Two images of one scene, and the transform between them, for registration.

    `fixed`, `moving` uint8 [H,W,C], and `fixed_segmentation`, `moving_segmentation`
    uint8 [H,W], the classes of their pixels as in `scene`.
    `transform` float32 [3,3] takes a point of the fixed image to the same point of the
    moving one: x' = (T·(x, y, 1))[:2] / (T·(x, y, 1))[2], in pixels, the first pixel
    reaching from 0 to 1.
    `valid` uint8 [H,W]: 1 for the fixed pixels whose centre is in the moving image.

    The moving image is rotated by up to 20 degrees, scaled by up to 1.15 or its
    inverse, sheared by up to 0.1 and shifted by up to a tenth of each side, all times
    `strength` (0 to 1); a homography adds a slant that changes the scale by up to a
    tenth across the image.  Both are cut out of a wider scene, so that neither has an
    empty border.
    """
    check(
        (kind in ("affine", "homography"),
         f"kind must be affine or homography, got {kind!r}"),
        (0 <= strength <= 1, f"strength must be from 0 to 1, got {strength}"),
    )  # fmt: skip
    check_layout(layout, index, split, seed)
    height, width, (fewest, most) = layout.height, layout.width, layout.objects
    wide = layout._replace(
        height=2 * height,
        width=2 * width,
        objects=(2 * fewest, 4 * most),
        size=(layout.size[0] / 2, layout.size[1] / 2),
    )
    known = compose(index, wide, split, seed)
    draws = draws_of(Stream.PAIR, index, wide, split, seed)
    transform = _random_transform(draws, height, width, strength, kind == "homography")

    # Each pixel of the moving image is looked up in the wide one.
    back = _inverse(transform)
    x, y = _apply(back, np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None])
    left, top = width // 2, height // 2
    u, v = (
        np.floor((place + margin - 0.5) * drawing.ONE).astype(np.int32)
        for place, margin in ((x, left), (y, top))
    )
    border = ((drawing.BORDER,) * 2, (drawing.BORDER,) * 2, (0, 0))
    table = np.pad(known["image"].astype(np.int32), border, mode="edge")
    column, row = (
        np.clip((place + drawing.ONE // 2) // drawing.ONE, 0, 2 * side - 1)
        for place, side in ((u, width), (v, height))
    )
    middle = np.s_[top : top + height, left : left + width]

    x, y = _apply(transform, np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None])
    return {
        "fixed": known["image"][middle].copy(),
        "moving": drawing.sample(table, u, v).astype(np.uint8),
        "fixed_segmentation": known["segmentation"][middle].copy(),
        "moving_segmentation": known["segmentation"][row, column],
        "transform": transform.astype(np.float32),
        "valid": ((x >= 0) & (x < width) & (y >= 0) & (y < height)).astype(np.uint8),
    }


def _random_transform(
    draws: drawing.Draws, height: int, width: int, strength: float, slanted: bool
) -> np.ndarray:
    """A transform about the middle of the image, float64 [3,3]."""

    def drawn(most: float) -> float:
        return draws.uniform(-most, most) * strength

    angle, shear, scale = math.radians(drawn(20)), drawn(0.1), 1.15 ** drawn(1)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    shift = drawn(0.1) * width, drawn(0.1) * height
    slant = drawn(0.1) / width * slanted, drawn(0.1) / height * slanted
    middle = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    affine = np.array([[cos, cos * shear - sin, shift[0]],
                       [sin, sin * shear + cos, shift[1]],
                       [0, 0, 1]])  # fmt: skip
    slanting = np.array([[1, 0, 0], [0, 1, 0], [*slant, 1]])
    whole = _inverse(middle)
    for factor in (slanting, affine, middle):
        # Without `@`, which may round differently on another machine.
        whole = (factor[:, :, None] * whole).sum(1)
    return whole / whole[2, 2]


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a 3×3 matrix, by its cofactors: the same bits everywhere."""
    a, b, c = matrix
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    return cofactors / (a * cofactors[:, 0]).sum()


def _apply(transform: np.ndarray, x, y) -> tuple[np.ndarray, np.ndarray]:
    (a, b, c), (d, e, f), (g, h, i) = transform.tolist()
    depth = g * x + h * y + i
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth
