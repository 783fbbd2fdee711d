"""Several examples in one image, with the objects of all of them.

Of the batch `image`, `boxes`, `classes` and `crowd` are left: nothing else is known of
the result.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops import resample
from jaxvision.ops.augment import joining, warping
from jaxvision.ops.augment.composition import select
from jaxvision.ops.augment.geometry import Motion, move, visible_rule
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import in_order, within
from jaxvision.ops.resample import as_type
from jaxvision.types import Batch

Array = jax.Array

NAMES = ("image", "boxes", "classes", "crowd")

GREY = 114
"""What bytes are filled with where there is no image, as in YOLOX."""


@with_recipe
def mosaic(
    *,
    zoom: tuple[Any, Any] = (0.5, 1.5),
    degrees: Any = 10.0,
    translation: Any = 0.1,
    shear: Any = 0.035,
    mixup: tuple[Any, Any] | None = None,
    probability: Any = 1.0,
    fill: float = GREY,
    min_visible: float | None = 0.1,
    most: int | None = None,
) -> Transform:
    """Four images around a point, slanted, zoomed, turned and moved: a window of that.

    Bochkovskiy et al. 2020, https://arxiv.org/abs/2004.10934, section 3.3, in the form
    of YOLOX (Ge et al. 2021, https://arxiv.org/abs/2107.08430).  The canvas is twice as
    large as the images along each axis, and the point in the middle half of it along
    each; what leaves the canvas is cut off.  The window has the size of an image, and
    its upper left corner is that of the canvas but for `translation`, about which the
    canvas is also turned.

    The result has the objects of all of them: 4·M, or 5·M with `mixup`.

    Args:
      zoom: factors of size, uniform from the smallest to the largest.
      degrees, translation, shear: as in `random_affine`.
      mixup: None, or factors of size, by which another image is zoomed, from the upper
        left corner or where it is larger than the window from a random place, and
        mirrored half of the time; the result is the mean of both (Zhang et al. 2018,
        https://arxiv.org/abs/1710.09412).
      probability: with which an example is changed; the others stay as they are, and so
        do their objects.
      fill: the value of pixels that come from outside of the images.
      min_visible: what becomes of objects that leave the canvas, the window, or both,
        see `geometry`.
      most: objects that the result has at most; where there are more, the smallest are
        left out.  None: all.
    """
    check(
        in_order("zoom", zoom, 0.01, 100),
        within("degrees", degrees, 0, 180),
        within("translation", translation, 0, 1),
        within("shear", shear, 0, 2),
        *([] if mixup is None else [in_order("mixup", mixup, 0.01, 100)]),
        within("probability", probability, 0, 1),
        *visible_rule(min_visible),
        (most is None or most >= 1, f"most must be at least 1 object, got {most}"),
    )

    def transform(key, batch):
        batch = joining.with_objects(batch, NAMES, "mosaic")
        around, window, beside, happens = jax.random.split(key, 4)
        count, height, width, _ = batch["image"].shape
        matrices = _window(
            window, (height, width), count, zoom, degrees, translation, shear
        )
        result = _joined(around, batch, matrices, fill, min_visible)
        if mixup is not None:
            other = joining.zoomed(beside, joining.before(batch, 4), mixup, min_visible)
            one, two = (each["image"].astype(jnp.float32) for each in (result, other))
            mean = (one + two) / 2
            objects = [joining.objects(result), joining.objects(other)]
            result = {
                "image": as_type(mean, batch["image"].dtype),
                **jax.tree.map(lambda *of: jnp.concatenate(of, 1), *objects),
            }
        plain = joining.padded(batch, result["classes"].shape[1])
        changed = jax.random.bernoulli(happens, probability, (count,))
        result = {name: select(changed, [plain[name], result[name]]) for name in plain}
        return joining.largest(result, most)

    return transform


def _window(key, size, count, zoom, degrees, translation, shear) -> Array:
    """[B,3,3]: from the canvas to the window."""
    draws = jax.random.uniform(key, (count, 6), minval=-1.0)
    sides = jnp.array([[size[1], size[0]]], jnp.float32)
    low, high = zoom
    return warping.affine(
        (0, 0),  # about the upper left corner
        angle=draws[:, 0] * degrees * (math.pi / 180),
        translation=draws[:, 1:3] * translation * sides,
        zoom=low + (draws[:, 3] + 1) / 2 * (high - low),
        shear=draws[:, 4:6] * shear,
    )


def _joined(
    key: Array,
    batch: Batch,
    matrices: Array,
    fill: float,
    min_visible: float | None,
) -> dict[str, Array]:
    """Four examples on a canvas, through the window."""
    count, height, width, _ = batch["image"].shape
    sides = jnp.array([[width, height]], jnp.float32)
    draws = jax.random.uniform(key, (count, 2), minval=0.5, maxval=1.5)
    point = jnp.floor(draws * sides)  # x and y
    tiles = [joining.before(batch, place) for place in range(4)]
    # At the upper left, the upper right, the lower left and the lower right.
    steps = jnp.array([[[-1, -1], [0, -1], [-1, 0], [0, 0]]], jnp.float32)
    corners = point[:, None] + steps * sides[:, None]

    def on_canvas(pixels, fill):
        backward = warping.inverse(matrices)
        x, y = jnp.meshgrid(
            resample.pixel_centres(width), resample.pixel_centres(height)
        )
        places = jnp.stack([x.ravel(), y.ravel()], axis=-1)[None]
        places = warping.apply(
            backward, jnp.broadcast_to(places, (count, *places.shape[1:]))
        )
        after = (places >= point[:, None]).astype(jnp.int32)
        tile = after[..., 0] + 2 * after[..., 1]
        local = places - jnp.take_along_axis(corners, tile[..., None], axis=1)
        known = jnp.all((places >= 0) & (places < 2 * sides[:, None]), axis=-1)
        shape = (count, height, width)
        return resample.sample(
            pixels,
            local[..., 0].reshape(shape),
            local[..., 1].reshape(shape),
            known.reshape(shape),
            tile=tile.reshape(shape),
            tiles=4,
            fill=fill,
        )

    objects = jax.tree.map(
        lambda *of: jnp.concatenate(of, 1), *map(joining.objects, tiles)
    )
    corners_of = jnp.repeat(corners, objects["boxes"].shape[1] // 4, axis=1)
    there = (objects["classes"] >= 0)[..., None]
    moved = objects["boxes"] + jnp.concatenate([corners_of, corners_of], axis=-1)
    canvas = {
        **objects,
        "image": jnp.concatenate([tile["image"] for tile in tiles], axis=1),
        "boxes": jnp.where(there, moved, 0),
    }
    size = (2 * height, 2 * width)
    cut = Motion(_as_it_is, _as_it_is, lambda points: points, size, keeps_axes=True)
    canvas = dict(move(canvas, cut, min_visible=min_visible))
    seen = Motion(
        on_canvas,
        on_canvas,
        lambda points: warping.apply(matrices, points),
        (height, width),
        keeps_axes=False,
    )
    return dict(move(canvas, seen, fill=fill, min_visible=min_visible))


def _as_it_is(pixels: Array, fill: Array) -> Array:
    del fill
    return pixels
