"""Matching of points to the objects that they lie in, by places and sizes."""

import jax
import jax.numpy as jnp

from jaxvision.ops.boxes.forms import centre_form, corners
from jaxvision.ops.boxes.overlap import area
from jaxvision.ops.matching.matches import BACKGROUND, best, settled

Array = jax.Array


def centre_sampling(
    references: Array,
    reach: Array,
    boxes: Array,
    valid: Array,
    *,
    radius: float = 1.5,
) -> Array:
    """Each point near the centre of an object finds it, on the level for its size.

    Tian et al. 2019, FCOS, https://arxiv.org/abs/1904.01355, section 3.2, with centre
    sampling as torchvision has it.  A point matches an object if it lies inside, less
    than `radius` cells from the centre along both axes, and the farthest of the four
    edges is within the reach of its level.  Of several objects it finds the smallest,
    of equal ones the first.

    Args:
      references: [N,4], cells or anchors: points are their centres, and the width is
        the unit of the radius.
      reach: [N,2], the shortest and longest distance in pixels that the level of each
        point is for, both excluded, see `reaches`.
      boxes: [M,4].
      valid: bool [M]: which objects there are.
      radius: in cells; `inf` for all points in the box, as the paper had it at first.

    Returns int32 [N], see `ops.matching`.
    """
    if not len(boxes):
        return jnp.full(len(references), BACKGROUND, jnp.int32)
    x, y, width, _ = (each[None] for each in corners(centre_form(references)))
    gx, gy, _, _ = (each[:, None] for each in corners(centre_form(boxes)))
    x_min, y_min, x_max, y_max = (each[:, None] for each in corners(boxes))
    left, top, right, bottom = x - x_min, y - y_min, x_max - x, y_max - y
    nearest = jnp.minimum(jnp.minimum(left, right), jnp.minimum(top, bottom))
    farthest = jnp.maximum(jnp.maximum(left, right), jnp.maximum(top, bottom))
    central = jnp.maximum(jnp.abs(x - gx), jnp.abs(y - gy)) < radius * width
    fits = (farthest > reach[None, :, 0]) & (farthest < reach[None, :, 1])
    match = central & (nearest > 0) & fits & valid[:, None]
    smallness = settled(jnp.where(match, -area(boxes)[:, None], -jnp.inf))
    most, found = best(smallness, axis=0)
    return jnp.where(most > -jnp.inf, found, BACKGROUND)


def reaches(references: Array, levels: list[int]) -> Array:
    """float32 [N,2]: the distances that each level is for, from its cells' size.

    From 4 to 8 cells, but from 0 on the first level and without end on the last, which
    for strides of 8 to 128 are the paper's 64, 128, 256 and 512 pixels.
    """
    x_min, _, x_max, _ = corners(references)
    low, high = 4 * (x_max - x_min), 8 * (x_max - x_min)
    place = jnp.arange(len(references))
    low = jnp.where(place < levels[0], 0, low)
    high = jnp.where(place >= len(references) - levels[-1], jnp.inf, high)
    return jnp.stack([low, high], axis=-1)
