"""Turned, zoomed, slanted and tilted: warps by a 3×3 matrix for each image."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.ops import resample
from jaxvision.ops.augment.crop import height_and_width
from jaxvision.ops.augment.geometry import Motion, move, visible_rule
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import in_order, within
from jaxvision.ops.resample import Method
from jaxvision.types import Batch

Array = jax.Array


@with_recipe
def random_affine(
    *,
    degrees: Any = 0.0,
    translation: Any = 0.0,
    zoom: tuple[Any, Any] = (1.0, 1.0),
    shear: Any = 0.0,
    size: int | tuple[int, int] | None = None,
    method: Method = "bilinear",
    fill: float = 0.0,
    min_visible: float | None = 0.1,
) -> Transform:
    """Slants, zooms and turns each image about its centre, and then moves it.

    All draws are independent and uniform, and all strengths may be traced.

    Args:
      degrees: the largest angle, 0 to 180, in either direction.
      translation: along each axis at most this share of the image's side, in [0, 1].
      zoom: factors of size, smallest and largest; log-uniform, so that twice as large
        and half as large are equally likely in (½, 2).
      shear: the largest shift along the one axis per pixel along the other, in either
        direction; drawn for x and for y.  0.3 is a slant of 17°.
      size: of the result, in pixels: a side, or height and width, around the centre of
        the moved image; None: that of the image.  With images that show more than this,
        turned ones need no `fill`.
      fill: the value of pixels that come from outside of the image.
      min_visible: what becomes of objects that leave the image, see `geometry`.
    """
    check(
        within("degrees", degrees, 0, 180),
        within("translation", translation, 0, 1),
        in_order("zoom", zoom, 0.01, 100),
        within("shear", shear, 0, 2),
        *visible_rule(min_visible),
    )
    shape = None if size is None else height_and_width(size)

    def transform(key, batch):
        count, height, width, _ = batch["image"].shape
        draws = jax.random.uniform(key, (count, 6), minval=-1.0)
        sides = jnp.array([[width, height]], jnp.float32)
        low, high = jnp.log(jnp.asarray(zoom[0])), jnp.log(jnp.asarray(zoom[1]))
        matrices = affine(
            (height, width),
            angle=draws[:, 0] * degrees * (math.pi / 180),
            translation=draws[:, 1:3] * translation * sides,
            zoom=jnp.exp((low + high + draws[:, 3] * (high - low)) / 2),
            shear=draws[:, 4:6] * shear,
        )
        if shape is not None:
            away = jnp.float32([shape[1] - width, shape[0] - height]) / 2
            matrices = matrices.at[:, :2, 2].add(away[None])
        return warp(
            batch,
            matrices,
            size=shape,
            method=method,
            fill=fill,
            min_visible=min_visible,
        )

    return transform


def random_rotation(degrees: Any = 15.0, **options: Any) -> Transform:
    """Turns each image by up to `degrees` either way; options of `random_affine`."""
    return random_affine(degrees=degrees, **options)


def random_translation(share: Any = 0.1, **options: Any) -> Transform:
    """Moves each image by up to this share of its sides, also between pixels.

    For whole pixels, `random_shift` is faster and mixes none.
    """
    return random_affine(translation=share, **options)


def random_zoom(zoom: tuple[Any, Any] = (0.8, 1.25), **options: Any) -> Transform:
    """Enlarges or shrinks each image about its centre; options of `random_affine`."""
    return random_affine(zoom=zoom, **options)


def random_shear(shear: Any = 0.3, **options: Any) -> Transform:
    """Slants each image by up to `shear`; the default is AutoAugment's range."""
    return random_affine(shear=shear, **options)


@with_recipe
def random_perspective(
    distortion: Any = 0.5,
    *,
    method: Method = "bilinear",
    fill: float = 0.0,
    min_visible: float | None = 0.1,
) -> Transform:
    """Tilts each image: its corners move inwards, each on its own, as in torchvision.

    distortion: along each axis at most this share of half the image's side, in [0, 1);
      may be traced.  The other options are those of `random_affine`.
    """
    check(within("distortion", distortion, 0, 0.99), *visible_rule(min_visible))

    def transform(key, batch):
        count, height, width, _ = batch["image"].shape
        inwards = jax.random.uniform(key, (count, 4, 2)) * distortion / 2
        sides = jnp.array([[[width, height]]], jnp.float32)
        places = jnp.abs(UNIT_SQUARE - inwards) * sides
        return warp(
            batch,
            perspective((height, width), places),
            method=method,
            fill=fill,
            min_visible=min_visible,
        )

    return transform


def warp(
    batch: Batch,
    forward: Array,
    *,
    size: tuple[int, int] | None = None,
    method: Method = "bilinear",
    fill: float = 0.0,
    min_visible: float | None = 0.1,
) -> Batch:
    """Everything in the batch seen through known homographies.

    forward: [B,3,3], from homogeneous points (x, y, 1) of the input, in pixels, to
      those of the output; they must be invertible.
    size: height and width of the output; None: those of the images.
    """
    backward = inverse(forward)
    shape = size or (batch["image"].shape[1], batch["image"].shape[2])
    return move(
        batch,
        Motion(
            lambda pixels, fill: resample.warp(
                pixels, backward, size=shape, method=method, fill=fill
            ),
            lambda pixels, fill: resample.warp(
                pixels, backward, size=shape, method="nearest", fill=fill
            ),
            lambda points: apply(forward, points),
            shape,
            keeps_axes=False,
        ),
        fill=fill,
        min_visible=min_visible,
    )


def affine(
    size: tuple[int, int],
    *,
    angle: Array,
    translation: Array,
    zoom: Array,
    shear: Array,
) -> Array:
    """[B,3,3]: slanted, zoomed, turned about the centre of the image, and then moved.

    Args:
      size: height and width, in pixels.
      angle: [B], in radians, clockwise as the image is seen.
      translation: [B,2], to the right and down, in pixels.
      zoom: [B], factors of size.
      shear: [B,2]: x gains `shear[0]`·y, and then y gains `shear[1]`·x.
    """
    cos, sin = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
    along_x, along_y = shear[:, 0], shear[:, 1]
    # Of the product rotation · [[1, 0], [s_y, 1]] · [[1, s_x], [0, 1]].
    a, b = cos - sin * along_y, cos * along_x - sin * (1 + along_x * along_y)
    c, d = sin + cos * along_y, sin * along_x + cos * (1 + along_x * along_y)
    x, y = size[1] / 2, size[0] / 2
    zero, one = jnp.zeros_like(a), jnp.ones_like(a)
    rows = (
        (a, b, x - a * x - b * y + translation[:, 0]),
        (c, d, y - c * x - d * y + translation[:, 1]),
        (zero, zero, one),
    )
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


UNIT_SQUARE = np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]], np.float32)


def perspective(size: tuple[int, int], places: Array) -> Array:
    """[B,3,3]: the homography that moves the corners of the image to `places`.

    places: [B,4,2], of the corners at the top left, top right, bottom right and bottom
      left; a convex quadrilateral.

    In closed form: Heckbert 1989, Fundamentals of Texture Mapping and Image Warping,
    section 2.2.3, https://www2.eecs.berkeley.edu/Pubs/TechRpts/1989/5504.html
    """
    p0, p1, p2, p3 = (places[:, i] for i in range(4))
    d1, d2, total = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    area = d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1]
    g = (total[:, 0] * d2[:, 1] - d2[:, 0] * total[:, 1]) / area
    h = (d1[:, 0] * total[:, 1] - total[:, 0] * d1[:, 1]) / area
    # Columns for x and y in the unit square, and for 1.
    square = jnp.stack(
        [
            _column(p1 - p0 + g[:, None] * p1, g),
            _column(p3 - p0 + h[:, None] * p3, h),
            _column(p0, jnp.ones_like(g)),
        ],
        axis=-1,
    )
    return square / jnp.array([[[size[1], size[0], 1.0]]])


def inverse(matrices: Array) -> Array:
    """[B,3,3]: the inverses; of rows a, b, c the columns are b×c, c×a and a×b."""
    a, b, c = (matrices[:, i] for i in range(3))
    columns = [jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)]
    determinant = jnp.sum(a * columns[0], axis=-1)
    return jnp.stack(columns, axis=-1) / determinant[:, None, None]


def apply(matrices: Array, points: Array) -> Array:
    """Points [B,N,2] moved by the homographies [B,3,3]."""
    x, y = points[..., 0], points[..., 1]
    u, v, w = (
        matrices[:, i, 0, None] * x
        + matrices[:, i, 1, None] * y
        + matrices[:, i, 2, None]
        for i in range(3)
    )
    return jnp.stack([u / w, v / w], axis=-1)


def _column(pair: Array, last: Array) -> Array:
    return jnp.concatenate([pair, last[:, None]], axis=-1)
