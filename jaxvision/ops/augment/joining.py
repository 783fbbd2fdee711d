"""What transforms share that join the objects of several examples of a batch.

Each example is joined with those before it, whose order is random in training; on
several devices only neighbours exchange images.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError
from jaxvision.ops.augment import warping
from jaxvision.types import Batch

Array = jax.Array


def with_objects(
    batch: Batch, names: Sequence[str], transform: str
) -> dict[str, Array]:
    """What of `names` the batch has.

    Raises `UsageError`, which names the transform, for a batch without objects, and for
    one of an evaluation.
    """
    if "boxes" not in batch or "classes" not in batch:
        raise UsageError(
            f"{transform} joins the objects of several images, and this batch has "
            f"{', '.join(sorted(batch))} alone: leave it out, or use data with boxes"
        )
    if "mask" in batch or "taken" in batch:
        raise UsageError(
            f"{transform} is for training, and this batch is of an evaluation: leave "
            "it out there"
        )
    return {name: batch[name] for name in names if name in batch}


def objects(batch: Batch) -> dict[str, Array]:
    """All but the image."""
    return {name: array for name, array in batch.items() if name != "image"}


def before(batch: Batch, places: int) -> dict[str, Array]:
    """The examples so many places before, from the end on where there are none."""
    return {name: jnp.roll(array, places, 0) for name, array in batch.items()}


def zoomed(
    key: Array, batch: Batch, factors: tuple[Any, Any], min_visible: float | None
) -> Batch:
    """Each example zoomed by a factor, uniform from the smallest to the largest,
    mirrored half of the time, and black where it ends.

    It is zoomed from the upper left corner, and where it then is larger than the image
    from a random place.
    """
    count, height, width, _ = batch["image"].shape
    size, place, mirror = jax.random.split(key, 3)
    zoom = jax.random.uniform(size, (count,), minval=factors[0], maxval=factors[1])
    place = jax.random.uniform(place, (count, 2))
    sides = jnp.array([[width, height]], jnp.float32)
    start = place * jnp.maximum(zoom[:, None] - 1, 0) * sides
    mirrored = jax.random.bernoulli(mirror, 0.5, (count,))
    zero, one = jnp.zeros_like(zoom), jnp.ones_like(zoom)
    along = jnp.where(mirrored, -zoom, zoom)
    left = jnp.where(mirrored, zoom * width, 0) - start[:, 0]
    rows = ((along, zero, left), (zero, zoom, -start[:, 1]), (zero, zero, one))
    matrices = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    return warping.warp(batch, matrices, min_visible=min_visible)


def padded(batch: Batch, count: int) -> dict[str, Array]:
    """The batch with room for so many objects."""
    result = {}
    for name, array in batch.items():
        if name != "image":
            more = count - array.shape[1]
            border = [(0, 0), (0, more), *[(0, 0)] * (array.ndim - 2)]
            nothing = -1 if name == "classes" else 0
            array = jnp.pad(array, border, constant_values=nothing)
        result[name] = array
    return result


def largest(batch: Batch, most: int | None) -> dict[str, Array]:
    """The batch with its largest objects, so many at most; None: with all."""
    if most is None:
        return dict(batch)
    x_min, y_min, x_max, y_max = (batch["boxes"][..., i] for i in range(4))
    area = jnp.where(batch["classes"] >= 0, (x_max - x_min) * (y_max - y_min), -1)
    _, places = jax.lax.top_k(area, min(most, area.shape[1]))
    kept = {"image": batch["image"]}
    for name, array in objects(batch).items():
        rows = places.reshape(*places.shape, *[1] * (array.ndim - 2))
        kept[name] = jnp.take_along_axis(array, rows, axis=1)
    return kept
