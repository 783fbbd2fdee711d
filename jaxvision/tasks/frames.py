"""From what the network saw back to the image that it was taken from.

An evaluation at full resolution keeps annotations as they are in the original image,
and says with `taken` which part of it the network saw, and with `canvas` where on the
common size of its maps it lies (`types.Batch`).  What is predicted is moved there.
"""

import jax.numpy as jnp

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


def sides(batch: Batch) -> Array:
    """Height and width of each image, float32 [B,2]: the originals', where known."""
    if "canvas" in batch:
        canvas = batch["canvas"].astype(jnp.float32)
        return jnp.stack([jnp.sum(canvas[:, :, 0], 1), jnp.sum(canvas[:, 0], 1)], 1)
    count, *size = batch["image"].shape[:3]
    return jnp.broadcast_to(jnp.float32(size)[None], (count, 2))
