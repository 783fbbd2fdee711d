"""From what the network saw back to the image that it was taken from.

An evaluation at full resolution keeps annotations as they are in the original image,
and says with `taken` which part of it the network saw, and with `canvas` where on the
common size of its maps it lies (`types.Batch`).  What is predicted is moved there, and
what a loss compares with it is moved to where the network sees it.
"""

import jax.numpy as jnp

from jaxvision.ops.boxes import clip
from jaxvision.ops.resample import from_box
from jaxvision.types import Array, Batch


def in_original(maps: Array, batch: Batch) -> Array:
    """Maps [B,S,T,C] of what the network saw, for the pixels that `canvas` has
    [B,H,W,C]; as they are, where the batch does not say what was taken.

    Bilinear; the border of what the network saw of the image is repeated beyond.
    """
    if "taken" not in batch:
        return maps
    height, width = batch["canvas"].shape[1:]
    return from_box(maps, batch["taken"], (height, width), sides(batch))


def boxes_in_original(boxes: Array, batch: Batch) -> Array:
    """Boxes [B,D,4] in the pixels of what the network saw, in those of the original; as
    they are, where the batch does not say what was taken."""
    if "taken" not in batch:
        return boxes
    start, scale = _start_and_scale(batch)
    return boxes / scale + start


def boxes_as_seen(boxes: Array, batch: Batch) -> Array:
    """The inverse of `boxes_in_original`: boxes [B,M,4] of a batch where the network
    sees them, which may be outside of what it sees."""
    if "taken" not in batch:
        return boxes
    start, scale = _start_and_scale(batch)
    return (boxes - start) * scale


def points_in_original(points: Array, batch: Batch) -> Array:
    """Points [B,K,2] (x, y) in the pixels of what the network saw, in those of the
    original; as they are, where the batch does not say what was taken."""
    if "taken" not in batch:
        return points
    start, scale = (each[..., :2] for each in _start_and_scale(batch))
    return points / scale + start


def points_as_seen(points: Array, batch: Batch) -> Array:
    """The inverse of `points_in_original`."""
    if "taken" not in batch:
        return points
    start, scale = (each[..., :2] for each in _start_and_scale(batch))
    return (points - start) * scale


def original_as_seen(batch: Batch) -> Array:
    """[B,4]: the part of what the network saw that shows the original, as a box in its
    pixels: all of it but for what was padded."""
    height, width = batch["image"].shape[1:3]
    size = sides(batch)
    whole = jnp.concatenate([jnp.zeros_like(size), size[:, ::-1]], axis=1)
    return clip(boxes_as_seen(whole[:, None], batch)[:, 0], height, width)


def _start_and_scale(batch: Batch) -> tuple[Array, Array]:
    """Where what was taken begins in the original, and pixels that the network saw for
    one of the original: both [B,1,4], x, y, x and y."""
    taken = batch["taken"]
    height, width = batch["image"].shape[1:3]
    scale = jnp.float32([width, height])[None] / (taken[:, 2:] - taken[:, :2])
    start = jnp.concatenate([taken[:, :2]] * 2, axis=1)
    return start[:, None], jnp.concatenate([scale] * 2, axis=1)[:, None]


def sides(batch: Batch) -> Array:
    """Height and width of each image, float32 [B,2]: the originals', where known."""
    if "canvas" in batch:
        canvas = batch["canvas"].astype(jnp.float32)
        return jnp.stack([jnp.sum(canvas[:, :, 0], 1), jnp.sum(canvas[:, 0], 1)], 1)
    count, *size = batch["image"].shape[:3]
    return jnp.broadcast_to(jnp.float32(size)[None], (count, 2))
