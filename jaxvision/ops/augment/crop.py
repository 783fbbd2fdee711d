"""Padding, shifting, cropping and resizing."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.augment.geometry import Motion, move, visible_rule
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import in_order, within
from jaxvision.ops.resample import Method, crop_and_resize

Array = jax.Array
Padding = Literal["constant", "edge", "reflect"]

ATTEMPTS = 10
"""Boxes that are drawn for a random resized crop, as in torchvision."""


@with_recipe
def pad(width: int, value: float = 0) -> Transform:
    """Adds `width` pixels of `value` on every side."""
    check(within("width of the padding", width, 0))

    def transform(key, batch):
        del key
        height, length = batch["image"].shape[1:3]
        motion = Motion(
            lambda pixels, fill: _padded(pixels, width, "constant", fill),
            lambda pixels, fill: _padded(pixels, width, "constant", fill),
            lambda points: points + width,
            (height + 2 * width, length + 2 * width),
            keeps_axes=True,
        )
        return move(batch, motion, fill=value, min_visible=None)

    return transform


@with_recipe
def random_crop(
    size: int | tuple[int, int],
    *,
    padding: int = 0,
    mode: Padding = "constant",
    value: float = 0,
    min_visible: float | None = 0.1,
) -> Transform:
    """A window of `size` at a random place of the image, which is padded before.

    Args:
      size: of the result, in pixels: a side, or height and width.
      padding: pixels on every side.
      mode: `"constant"`: of `value`; `"edge"`: the outermost pixels repeated;
        `"reflect"`: the image mirrored at the centres of its outermost pixels.
        Padding of `segmentation` is unknown, 255, in all of them.
      min_visible: what becomes of objects that leave the window, see `geometry`.
    """
    window = height_and_width(size)
    check(
        within("size", window, 1),
        within("padding", padding, 0),
        (
            mode in ("constant", "edge", "reflect"),
            f"mode must be 'constant', 'edge' or 'reflect', got {mode!r}",
        ),
        *visible_rule(min_visible),
    )

    def transform(key, batch):
        count, height, width, _ = batch["image"].shape
        spare = height + 2 * padding - window[0], width + 2 * padding - window[1]
        check(
            (
                min(spare) >= 0,
                f"a crop of {window[0]}×{window[1]} does not fit into "
                f"{height}×{width} pixels with {padding} of padding: take a smaller "
                "crop, or more padding",
            )
        )
        corners = jax.random.randint(key, (count, 2), 0, jnp.array([spare]) + 1)

        def crop(pixels, fill, mode=mode):
            def one(image, corner):
                start = (corner[0], corner[1], 0)
                return jax.lax.dynamic_slice(image, start, (*window, image.shape[-1]))

            return jax.vmap(one)(_padded(pixels, padding, mode, fill), corners)

        motion = Motion(
            crop,
            lambda pixels, fill: crop(pixels, fill, "constant"),
            lambda points: (
                points + padding - corners[:, None, ::-1].astype(points.dtype)
            ),
            window,
            keeps_axes=True,
        )
        return move(batch, motion, fill=value, min_visible=min_visible)

    return transform


@with_recipe
def random_shift(
    distance: int, value: float = 0, *, min_visible: float | None = 0.1
) -> Transform:
    """Moves each image by up to `distance` pixels along each axis, filling `value`.

    With distance 4 it is the pad-and-crop of He et al. 2016, section 4.2.
    """
    check(within("distance", distance, 0), *visible_rule(min_visible))

    def transform(key, batch):
        height, width = batch["image"].shape[1:3]
        crop = random_crop(
            (height, width), padding=distance, value=value, min_visible=min_visible
        )
        return crop(key, batch)

    return transform


@with_recipe
def resize(size: int | tuple[int, int]) -> Transform:
    """Resizes to `size` pixels, without keeping the aspect ratio.

    Bilinear and antialiased.
    """
    shape = height_and_width(size)
    check(within("size", shape, 1))

    def transform(key, batch):
        del key
        height, width = batch["image"].shape[1:3]
        boxes = jnp.array([[0, 0, width, height]], jnp.float32)
        return move(batch, onto(boxes, shape), min_visible=None)

    return transform


@with_recipe
def central_crop(
    size: int | tuple[int, int],
    *,
    share: float = 224 / 256,
    min_visible: float | None = 0.1,
) -> Transform:
    """The largest central window with the aspect ratio of `size`, resized to `size`.

    share: of its sides that is taken, in (0, 1]; 224 of 256 is usual for evaluation.
    """
    shape = height_and_width(size)
    check(
        within("size", shape, 1),
        (0 < share <= 1, f"share must be in (0, 1], got {share}"),
        *visible_rule(min_visible),
    )

    def transform(key, batch):
        del key
        height, width = batch["image"].shape[1:3]
        scale = share * min(height / shape[0], width / shape[1])
        y, x = (height - scale * shape[0]) / 2, (width - scale * shape[1]) / 2
        boxes = jnp.array([[x, y, width - x, height - y]], jnp.float32)
        return move(batch, onto(boxes, shape), min_visible=min_visible)

    return transform


@with_recipe
def random_resized_crop(
    size: int | tuple[int, int],
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    min_visible: float | None = 0.1,
) -> Transform:
    """A box of random area and shape, resized to `size`.  Szegedy et al. 2015, sec. 6.

    https://arxiv.org/abs/1409.4842, with torchvision's details: the area is uniform in
    `scale` times the image's, the ratio of width to height log-uniform in `ratio`, the
    place uniform.  Of ten such boxes the first that fits is taken, and else the largest
    in the centre within `ratio`.  For images that differ in size or are large,
    `data.train(crop=data.random_resized_crop(…))` is the better one: it decodes no more
    than the box.
    """
    shape = height_and_width(size)
    check(
        within("size", shape, 1),
        in_order("scale", scale, 0, 1),
        in_order("ratio", ratio, 0),
        *visible_rule(min_visible),
    )

    def transform(key, batch):
        count, height, width, _ = batch["image"].shape
        log_ratio = jnp.log(jnp.asarray(ratio, jnp.float32))
        draws = jax.random.uniform(key, (2 * ATTEMPTS + 2, count))
        place = draws[:2]
        areas, shapes = draws[2:].reshape(2, ATTEMPTS, count).swapaxes(1, 2)
        area = (scale[0] + areas * (scale[1] - scale[0])) * (height * width)
        shapes = jnp.exp(log_ratio[0] + shapes * (log_ratio[1] - log_ratio[0]))
        widths, heights = (
            jnp.round(jnp.sqrt(area * shapes)),
            jnp.round(jnp.sqrt(area / shapes)),
        )
        fits = (0 < widths) & (widths <= width) & (0 < heights) & (heights <= height)
        first = jnp.argmax(fits, axis=1, keepdims=True)
        any_fits = jnp.any(fits, axis=1)
        box_width = jnp.where(
            any_fits,
            jnp.take_along_axis(widths, first, axis=1)[:, 0],
            jnp.clip(jnp.round(height * ratio[1]), 1, width),
        )
        box_height = jnp.where(
            any_fits,
            jnp.take_along_axis(heights, first, axis=1)[:, 0],
            jnp.clip(jnp.round(width / ratio[0]), 1, height),
        )
        place = jnp.where(any_fits[None], place, 0.5)
        left = jnp.minimum(
            jnp.floor(place[0] * (width - box_width + 1)), width - box_width
        )
        top = jnp.minimum(
            jnp.floor(place[1] * (height - box_height + 1)), height - box_height
        )
        boxes = jnp.stack([left, top, left + box_width, top + box_height], axis=-1)
        return move(batch, onto(boxes, shape), min_visible=min_visible)

    return transform


def onto(boxes: Array, size: tuple[int, int], *, beyond: bool = False) -> Motion:
    """The motion that resizes a box of each image, [B,4] or [1,4], to `size`.

    beyond: whether boxes may reach beyond the image."""
    origin, extent = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    target = jnp.array([size[1], size[0]], jnp.float32)

    def resized(pixels, fill, method: Method):
        fill = fill if beyond else None
        return crop_and_resize(pixels, boxes, size, method=method, fill=fill)

    return Motion(
        lambda pixels, fill: resized(pixels, fill, "bilinear"),
        lambda pixels, fill: resized(pixels, fill, "nearest"),
        lambda points: (points - origin) * (target[None, None] / extent),
        size,
        keeps_axes=True,
    )


def _padded(pixels: Array, width: int, mode: Padding, fill: Array) -> Array:
    border = ((0, 0), (width, width), (width, width), (0, 0))
    if mode == "constant":
        return jnp.pad(pixels, border, constant_values=fill)
    return jnp.pad(pixels, border, mode=mode)


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
