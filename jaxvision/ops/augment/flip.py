"""Mirror images."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.augment.geometry import Motion, move
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import within
from jaxvision.skeletons import names_pairs
from jaxvision.types import Batch

Array = jax.Array


@with_recipe
def horizontal_flip(
    probability: Any = 0.5, *, mirrored_keypoints: Sequence[int] | None = None
) -> Transform:
    """Mirrors each image left to right with this probability, which may be traced.

    mirrored_keypoints: for each keypoint the index of its counterpart, since the left
    eye of a face is the right eye of its mirror image: (0, 2, 1) for a nose and two
    eyes.  None: what the batch says, as `mirrored`; keypoints of which it does not are
    refused.
    """
    return _flip(2, probability, mirrored_keypoints)


@with_recipe
def vertical_flip(
    probability: Any = 0.5, *, mirrored_keypoints: Sequence[int] | None = None
) -> Transform:
    """Mirrors each image top to bottom; otherwise as `horizontal_flip`."""
    return _flip(1, probability, mirrored_keypoints)


@with_recipe
def with_sides(transform: Transform, mirrored: Sequence[int]) -> Transform:
    """`transform` of a set that knows which of its keypoints change sides.

    What it makes is the same as if it had been given them as `mirrored_keypoints`:
    batches have `mirrored` on the way, and not in the end.
    """

    def told(key: Array, batch: Batch) -> Batch:
        if "keypoints" in batch:
            table = jnp.array(mirrored, jnp.int32)[None]
            shape = len(batch["keypoints"]), len(mirrored)
            batch = {**batch, "mirrored": jnp.broadcast_to(table, shape)}
        result = transform(key, batch)
        return {name: array for name, array in result.items() if name != "mirrored"}

    return told


def _flip(axis: int, probability: Any, counterparts: Sequence[int] | None) -> Transform:
    check(
        within("probability", probability, 0, 1),
        (
            counterparts is None or names_pairs(counterparts, len(counterparts)),
            "mirrored_keypoints must name pairs, each the other's counterpart, got "
            f"{counterparts}",
        ),
    )

    def transform(key: Array, batch: Batch) -> Batch:
        images = batch["image"]
        flip = jax.random.bernoulli(key, probability, (images.shape[0], 1, 1, 1))

        def mirror(pixels, fill):
            del fill
            return jnp.where(flip, jnp.flip(pixels, axis), pixels)

        def points(places):
            coordinate = 2 - axis  # x of columns, y of rows
            other = places.at[..., coordinate].set(
                images.shape[axis] - places[..., coordinate]
            )
            return jnp.where(flip[..., 0], other, places)

        size = (images.shape[1], images.shape[2])
        motion = Motion(mirror, mirror, points, size, keeps_axes=True)
        moved = move(batch, motion, min_visible=None)
        if "keypoints" in batch:
            keypoints = moved["keypoints"]
            others = _counterparts(batch, counterparts)[:, None, :, None]
            other = jnp.take_along_axis(keypoints, others, axis=2)
            moved = {**moved, "keypoints": jnp.where(flip, other, keypoints)}
        return moved

    return transform


def _counterparts(batch: Batch, given: Sequence[int] | None) -> Array:
    """int32 [B,K]."""
    count, _, number, _ = batch["keypoints"].shape
    check(
        (
            given is not None or "mirrored" in batch,
            "keypoints change sides when they are mirrored, and of these it is not "
            "known which: say so in the set (names with left and right in a COCO file, "
            "flip_idx in the data.yaml of YOLO), give mirrored_keypoints, or leave the "
            "flip out",
        ),
        (
            given is None or len(given) == number,
            f"mirrored_keypoints are {len(given or ())}, and the batch has {number} "
            "keypoints",
        ),
    )
    if given is None:
        return batch["mirrored"]
    return jnp.broadcast_to(jnp.array(given, jnp.int32)[None], (count, number))


random_flip = horizontal_flip()
"""Mirrors each image left to right with probability one half."""
