"""The windows of SSD: images made smaller in a larger frame, and cut around objects.

Liu et al. 2016, https://arxiv.org/abs/1512.02325, sections 2.2 and 3.6.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError, check
from jaxvision.ops.augment.crop import height_and_width, onto
from jaxvision.ops.augment.geometry import drop, move, visible_rule
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import in_order, within
from jaxvision.ops.boxes import area, intersection

Array = jax.Array

IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""What a window and one of its objects have in common, as torchvision draws it."""


@with_recipe
def random_expansion(
    largest: float = 4.0,
    *,
    probability: float = 0.5,
    fill: float | Sequence[float] = 0.0,
    min_visible: float | None = 0.1,
) -> Transform:
    """The image at a random place of a frame that is larger, brought back to its size:
    objects become smaller.

    The factor is uniform from 1 to `largest`; antialiased.

    Args:
      largest: sides of the frame by those of the image, at most.
      probability: of each example; the others stay as they are.
      fill: of the frame, a number or one for each channel.
      min_visible: what becomes of objects, see `geometry`; they stay whole.
    """
    check(
        within("largest", largest, 1),
        within("probability", probability, 0, 1),
        *visible_rule(min_visible),
    )

    def transform(key, batch):
        count, height, width, _ = batch["image"].shape
        happens, factor, *place = jax.random.uniform(key, (4, count))
        factor = jnp.where(happens < probability, 1 + factor * (largest - 1), 1)
        left, top = (
            -jnp.floor(share * side * (factor - 1))
            for share, side in zip(place, (width, height), strict=True)
        )
        frames = jnp.stack(
            [left, top, left + factor * width, top + factor * height], axis=-1
        )
        motion = onto(frames, (height, width), beyond=True)
        return move(batch, motion, fill=fill, min_visible=min_visible)

    return transform


@with_recipe
def random_iou_crop(
    size: int | tuple[int, int],
    *,
    ious: Sequence[float] = IOUS,
    scale: tuple[float, float] = (0.3, 1.0),
    ratio: tuple[float, float] = (0.5, 2.0),
    attempts: int = 40,
) -> Transform:
    """A window that has at least so much in common with one of its objects, resized.

    One of `ious` is drawn.  From 1 on the image stays whole; else the first of the
    windows is taken that has the centre of an object inside and overlaps such an object
    so much, and if none does, the image stays whole (torchvision draws anew).  Objects
    whose centre is outside are dropped, the others clipped.

    Args:
      size: of the result, in pixels: a side, or height and width.
      ious: least IoU of the window and an object, each as likely as the others.
      scale: of either side of the window, as a share of the image's.
      ratio: of its width to its height, in shares; windows of others are not taken.
      attempts: windows that are drawn.
    """
    shape = height_and_width(size)
    check(
        within("size", shape, 1),
        (len(ious) > 0, "ious must name at least one"),
        within("ious", ious, 0),
        in_order("scale", scale, 0.01, 1),
        in_order("ratio", ratio, 0.01),
        (attempts >= 1, f"attempts must be at least 1, got {attempts}"),
    )

    def transform(key, batch):
        if "boxes" not in batch:
            raise UsageError(
                "random_iou_crop cuts around objects, and this batch has "
                f"{', '.join(sorted(batch))} alone: take random_resized_crop"
            )
        count, height, width, _ = batch["image"].shape
        choice, draws = jax.random.split(key)
        least = jax.random.choice(choice, jnp.asarray(ious, jnp.float32), (count,))
        across, down, x, y = jax.random.uniform(draws, (4, count, attempts))
        across, down = (
            scale[0] + each * (scale[1] - scale[0]) for each in (across, down)
        )
        across, down = jnp.floor(across * width), jnp.floor(down * height)
        shapes = (across / width) / (down / height)
        left, top = jnp.floor(x * (width - across)), jnp.floor(y * (height - down))
        windows = jnp.stack([left, top, left + across, top + down], axis=-1)

        inside = _centres_inside(batch, windows)
        boxes = batch["boxes"][:, None]
        common = intersection(windows[:, :, None], boxes)
        union = area(windows)[..., None] + area(boxes) - common
        enough = inside & (common >= least[:, None, None] * union)
        fits = jnp.any(enough, axis=-1) & (shapes >= ratio[0]) & (shapes <= ratio[1])
        first = jnp.argmax(fits, axis=1)[:, None, None]
        cut = jnp.any(fits, axis=1) & (least < 1)
        window = jnp.where(
            cut[:, None],
            jnp.take_along_axis(windows, first, axis=1)[:, 0],
            jnp.float32([[0, 0, width, height]]),
        )
        stay = _centres_inside(batch, window[:, None])[:, 0] | ~cut[:, None]
        moved = dict(move(batch, onto(window, shape), min_visible=0))
        drop(moved, stay & (moved["classes"] >= 0))
        return moved

    return transform


def _centres_inside(batch, windows: Array) -> Array:
    """bool [B,N,M]: which objects have their centre in the windows [B,N,4]."""
    boxes, windows = batch["boxes"][:, None], windows[:, :, None]
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    inside = jnp.all((centre > windows[..., :2]) & (centre < windows[..., 2:]), axis=-1)
    return inside & (batch["classes"] >= 0)[:, None]
