"""Boxes by their corners and by their centres, and inside of an image."""

import jax
import jax.numpy as jnp

Array = jax.Array


def clip(boxes: Array, height: float | Array, width: float | Array) -> Array:
    """`boxes` [..., 4] cut off at the edges of an image of so many pixels.

    A box that is wholly outside becomes one without area, on the edge.
    """
    x_min, y_min, x_max, y_max = corners(boxes)
    return jnp.stack(
        [
            jnp.clip(x_min, 0, width),
            jnp.clip(y_min, 0, height),
            jnp.clip(x_max, 0, width),
            jnp.clip(y_max, 0, height),
        ],
        axis=-1,
    )


def clip_to(boxes: Array, frame: Array) -> Array:
    """`boxes` [..., 4] cut off at the edges of the box `frame` [4]."""
    x_min, y_min, x_max, y_max = corners(boxes)
    left, top, right, bottom = corners(frame)
    return jnp.stack(
        [
            jnp.clip(x_min, left, right),
            jnp.clip(y_min, top, bottom),
            jnp.clip(x_max, left, right),
            jnp.clip(y_max, top, bottom),
        ],
        axis=-1,
    )


def centre_form(boxes: Array) -> Array:
    """Corners [..., 4] as x and y of the centre, width and height."""
    x_min, y_min, x_max, y_max = corners(boxes)
    return jnp.stack(
        [(x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min],
        axis=-1,
    )


def corner_form(boxes: Array) -> Array:
    """The inverse of `centre_form`."""
    x, y, width, height = corners(boxes)
    return jnp.stack(
        [x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=-1
    )


def corners(boxes: Array) -> tuple[Array, Array, Array, Array]:
    """The four numbers of `boxes` [..., 4], each [...].

    Computing with them, rather than with pairs of them, leaves the many boxes in the
    last axis, where a CPU has vector instructions for them.
    """
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]
