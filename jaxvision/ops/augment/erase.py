"""Covering parts of the image.

Labels, boxes and masks stay as they are, like those of an object that is hidden.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.augment.composition import of_images
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import filling, in_order, within

Array = jax.Array

ATTEMPTS = 10
"""Rectangles that are drawn; if none fits, the image stays as it is."""


@with_recipe
def cutout(size: Any = 16, *, value: float = 0.0) -> Transform:
    """Covers a square.  DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552

    Its centre is anywhere in the image, so that a part of it may lie outside.

    Args:
      size: its side in pixels: 16 for CIFAR-10, 8 for CIFAR-100, 20 for SVHN in the
        paper.  May be traced.
      value: what it is filled with.  The paper's 0 is the mean: it comes after
        `normalise`.
    """
    check(within("size", size, 0))

    def change(key, images):
        count, height, width, _ = images.shape
        fill = filling(value, images)
        centres = jax.random.randint(key, (count, 2), 0, jnp.array([[height, width]]))
        side = jnp.asarray(size, jnp.float32)
        first = centres.astype(jnp.float32) - side // 2
        covered = rectangle((height, width), first, first + side)
        return jnp.where(covered[..., None], fill, images)

    return of_images(change)


@with_recipe
def random_erasing(
    probability: Any = 0.5,
    *,
    area: tuple[Any, Any] = (0.02, 0.4),
    ratio: tuple[float, float] = (0.3, 1 / 0.3),
    value: float | None = None,
) -> Transform:
    """Covers a rectangle.  Zhong et al. 2020, https://arxiv.org/abs/1708.04896

    Args:
      probability: with which an image is changed.  May be traced.
      area: the rectangle's share of the image, least and greatest; uniform.
      ratio: its height over its width, least and greatest; log-uniform, so that wide
        and tall ones are equally likely.
      value: what it is filled with; None: with noise, the paper's best: bytes uniform
        from 0 to 255, floats standard normal.
    """
    check(
        within("probability", probability, 0, 1),
        in_order("area", area, 0, 1),
        in_order("ratio", ratio, 1e-3),
    )

    def change(key, images):
        count, height, width, _ = images.shape
        key, noise = jax.random.split(key)
        draws = jax.random.uniform(key, (2 * ATTEMPTS + 3, count, 1))
        place, happens = draws[:2], draws[2, :, 0] < probability
        shares, shapes = draws[3:].reshape(2, ATTEMPTS, count).swapaxes(1, 2)
        areas = (area[0] + shares * (area[1] - area[0])) * (height * width)
        low, high = jnp.log(jnp.asarray(ratio, jnp.float32))
        ratios = jnp.exp(low + shapes * (high - low))
        sides = jnp.round(jnp.sqrt(jnp.stack([areas * ratios, areas / ratios], -1)))
        room = jnp.array([[[height, width]]], jnp.float32) - sides
        fits = jnp.all(room > 0, axis=-1)
        chosen = jnp.argmax(fits, axis=1)[:, None, None]
        sides, room = (
            jnp.take_along_axis(numbers, chosen, axis=1)[:, 0]
            for numbers in (sides, room)
        )
        first = jnp.floor(jnp.concatenate(place, axis=-1) * (room + 1))
        covered = rectangle((height, width), first, first + sides)
        happens &= jnp.any(fits, axis=1)
        if value is not None:
            fill = filling(value, images)
        elif images.dtype == jnp.uint8:
            fill = _random_bytes(noise, images.shape)
        else:
            fill = jax.random.normal(noise, images.shape, images.dtype)
        covered &= happens[:, None, None]
        return jnp.where(covered[..., None], fill, images)

    return of_images(change)


def rectangle(size: tuple[int, int], first: Array, end: Array) -> Array:
    """bool [B,H,W]: rows and columns from `first` [B,2] to before `end` [B,2]."""
    inside = [
        (jnp.arange(length, dtype=first.dtype)[None] >= first[:, i, None])
        & (jnp.arange(length, dtype=end.dtype)[None] < end[:, i, None])
        for i, length in enumerate(size)
    ]
    return inside[0][:, :, None] & inside[1][:, None, :]


def _random_bytes(key: Array, shape: tuple[int, ...]) -> Array:
    """Four of every draw, where `jax.random.bits` would take one."""
    words = jax.random.bits(key, (*shape[:-1], -(-shape[-1] // 4)))
    quarters = jax.lax.bitcast_convert_type(words, jnp.uint8)
    return quarters.reshape(*shape[:-1], -1)[..., : shape[-1]]
