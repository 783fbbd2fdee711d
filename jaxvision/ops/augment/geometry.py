"""What moves when an image moves: masks, boxes and keypoints, by one set of rules.

`segmentation` and `instances` take the nearest pixel, never a mixture.  Where the
result shows what the image did not hold, `segmentation` is 255 (unknown) and
`instances` 0, whatever the image is filled with.

`boxes` become the bounding boxes of their four moved corners.  A warp that turns or
bends loosens them; where `instances` has a mask of the object, its box is then the
bounding box of the moved mask, which is tight.

What leaves the image, by `min_visible`:

- a share s in (0, 1] (`drop`): boxes are clipped to the image, and objects of which
  less than s of the area of their box stays visible are dropped;
- 0 (`clip`): boxes are clipped, and only objects that are wholly outside are dropped;
- None (`keep`): boxes are moved and no more, and no object is dropped.

Unless all are kept, an object is also dropped when its mask loses its last pixel.  A
dropped object has class -1, and zeros for everything else.  Keypoints outside of the
image get x = y = 0 and visibility 0, and so do those of dropped objects.

`presence`, `label` and `target` stay as they are, since whether the rest of the image
still shows the class cannot be known.  So do names that are not those of `types.Batch`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops import masks
from jaxvision.ops.augment.rules import Rule, filling, within
from jaxvision.types import UNKNOWN, Batch

Array = jax.Array


class Motion(NamedTuple):
    """Where everything in a batch goes; a value made of functions."""

    pixels: Callable[[Array, Array], Array]
    """`([B,H,W,C], fill) -> [B,*size,C]`, for images."""
    labels: Callable[[Array, Array], Array]
    """The same for masks, without mixing pixels."""
    points: Callable[[Array], Array]
    """`[B,N,2] -> [B,N,2]`: where points (x, y) of the input come to lie."""
    size: tuple[int, int]
    """Height and width of the output."""
    keeps_axes: bool
    """Whether upright rectangles stay upright rectangles."""


def move(
    batch: Batch,
    motion: Motion,
    *,
    fill: float | Sequence[float] = 0.0,
    min_visible: float | None = 0.1,
) -> Batch:
    """The whole batch, moved.

    fill: the value of pixels of the result that come from outside of the image, or one
    for each channel.
    """
    check(*visible_rule(min_visible), *_shapes_agree(batch))
    moved = {**batch}
    image = batch["image"]
    moved["image"] = motion.pixels(image, filling(fill, image))
    if "segmentation" in batch:
        numbers = batch["segmentation"]
        unknown = jnp.asarray(UNKNOWN, numbers.dtype)
        moved["segmentation"] = motion.labels(numbers[..., None], unknown)[..., 0]
    if "instances" in batch:
        seen = jnp.moveaxis(batch["instances"], 1, -1)
        seen = motion.labels(seen, jnp.asarray(0, seen.dtype))
        moved["instances"] = jnp.moveaxis(seen, -1, 1)
    if "keypoints" in batch:
        moved["keypoints"] = _move_keypoints(batch["keypoints"], motion)
    if "boxes" in batch:
        stay = _move_boxes(batch, moved, motion, min_visible)
        drop(moved, stay)
    return moved


def visible_rule(min_visible: float | None) -> list[Rule]:
    """The rule that `min_visible` follows, for `errors.check`."""
    return [] if min_visible is None else [within("min_visible", min_visible, 0, 1)]


def _shapes_agree(batch: Batch) -> list[Rule]:
    height, width = batch["image"].shape[1:3]
    return [
        (
            "taken" not in batch,
            "annotations belong to the original images (a canvas), so that nothing "
            "may move with what the network sees: move it by the crop",
        ),
        *(
            (
                batch[name].shape[-2:] == (height, width),
                f"{name} must have the {height}×{width} pixels of the image, got "
                f"{'×'.join(map(str, batch[name].shape[-2:]))}",
            )
            for name in ("segmentation", "instances")
            if name in batch and "taken" not in batch
        ),
    ]


def _move_keypoints(keypoints: Array, motion: Motion) -> Array:
    count, objects, number, _ = keypoints.shape
    places = keypoints[..., :2].reshape(count, objects * number, 2)
    places = motion.points(places).reshape(count, objects, number, 2)
    height, width = motion.size
    x, y = places[..., 0], places[..., 1]
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    seen = inside & (keypoints[..., 2] > 0)
    moved = jnp.concatenate([places, keypoints[..., 2:]], axis=-1)
    return jnp.where(seen[..., None], moved, 0)


def _move_boxes(
    batch: Batch, moved: dict[str, Array], motion: Motion, min_visible: float | None
) -> Array:
    """Writes the boxes into `moved` and returns bool [B,M]: which objects stay."""
    boxes = batch["boxes"]
    count, objects, _ = boxes.shape
    corners = boxes[..., jnp.array([[0, 1], [2, 1], [0, 3], [2, 3]])]
    corners = motion.points(corners.reshape(count, objects * 4, 2))
    corners = corners.reshape(count, objects, 4, 2)
    whole = jnp.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=-1)
    present = batch["classes"] >= 0 if "classes" in batch else jnp.any(boxes != 0, -1)

    if min_visible is None:
        moved["boxes"], stay = whole, present
    else:
        height, width = motion.size
        clipped = jnp.clip(whole, 0, jnp.array([[[width, height] * 2]], boxes.dtype))
        visible = _area(clipped)
        share = visible / jnp.maximum(_area(whole), jnp.finfo(boxes.dtype).tiny)
        moved["boxes"] = clipped
        stay = present & (visible > 0) & (share >= min_visible)
    if "instances" in batch:
        before, after = (
            jnp.any(arrays["instances"] > 0, axis=(2, 3)) for arrays in (batch, moved)
        )
        if min_visible is not None:
            stay &= after | ~before
        if not motion.keeps_axes:
            tight = masks.boxes_around(moved["instances"]).astype(boxes.dtype)
            moved["boxes"] = jnp.where(after[..., None], tight, moved["boxes"])
    return stay


def drop(moved: dict[str, Array], stay: Array) -> None:
    for name, nothing in (
        ("boxes", 0),
        ("classes", -1),
        ("crowd", 0),
        ("instances", 0),
        ("keypoints", 0),
    ):
        if name in moved:
            array = moved[name]
            kept = stay.reshape(*stay.shape, *[1] * (array.ndim - 2))
            moved[name] = jnp.where(kept, array, jnp.asarray(nothing, array.dtype))


def _area(boxes: Array) -> Array:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
