"""Connected regions of masks, bool [B,H,W,C], each channel by itself.

Pixels are connected with all eight around them.  What spreads goes one step in all
directions and then as far as it can along rows and columns: there are as many rounds as
a path has bends, not pixels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.filters.neighbourhoods import adjacent, box
from jaxvision.types import Array


def connected(seeds: Array, region: Array) -> Array:
    """The pixels of the region that are connected in it with a seed, bool [B,H,W,C].

    Canny's hysteresis; morphology calls it reconstruction.
    """
    check(
        (
            seeds.shape == region.shape and seeds.ndim == 4,
            f"seeds and region are masks [B,H,W,C], got {seeds.shape} and "
            f"{region.shape}",
        )
    )
    return _spread(seeds & region, region)


def components(masks: Array) -> Array:
    """int32 [B,H,W,C]: a number for each component, 0 outside of the masks.

    It is the place of the component's last pixel, row by row and counted from 1: all
    pixels of a component have the same, and no others.
    """
    check((masks.ndim == 4, f"masks are [B,H,W,C], got {masks.shape}"))
    _, height, width, _ = masks.shape
    places = 1 + jnp.arange(height * width, dtype=jnp.int32).reshape(height, width)
    labels = jnp.where(masks, places[None, ..., None], 0)
    return _spread(labels, masks)


def boxes_around(labels_HxW: Array) -> Array:
    """float32 [H·W,4]: x_min, y_min, x_max, y_max around the component of each number,
    from 1 on, of one image and channel.  Numbers that there are not have zeros."""
    height, width = labels_HxW.shape
    flat, count = labels_HxW.reshape(-1), height * width + 1
    rows, columns = jnp.indices((height, width)).reshape(2, -1)
    low, high = (
        [reduce(axis, flat, num_segments=count) for axis in (columns, rows)]
        for reduce in (jax.ops.segment_min, jax.ops.segment_max)
    )
    corners = jnp.stack([*low, *(end + 1 for end in high)], axis=-1)[1:]
    there = jnp.zeros(count, bool).at[flat].set(True)[1:, None]
    return jnp.where(there, corners, 0).astype(jnp.float32)


def _spread(values: Array, region: Array) -> Array:
    """The largest value that is connected with each pixel of the region; elsewhere what
    is there, which is the least."""

    def step(state):
        before, _ = state
        steps = list(adjacent(before, box(3), 0))
        around = jnp.max(jnp.stack(steps), axis=0)
        after = jnp.where(region, around, before)
        for axis in (1, 2):
            for reverse in (False, True):
                after = _swept(after, region, axis, reverse)
        return after, jnp.any(after != before)

    going_on: Callable = lambda state: state[1]  # noqa: E731
    return lax.while_loop(going_on, step, (values, jnp.any(region)))[0]


def _swept(values: Array, region: Array, axis: int, reverse: bool) -> Array:
    """The largest value so far in each unbroken run of the region."""

    def joined(before, after):
        runs_on = jnp.where(after[1], jnp.maximum(before[0], after[0]), after[0])
        return runs_on, before[1] & after[1]

    swept, _ = lax.associative_scan(
        joined, (values, region), reverse=reverse, axis=axis
    )
    return swept
