"""Tissue that is stretched here and pressed together there: smooth random warps."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops import resample
from jaxvision.ops.augment.geometry import Motion, move, visible_rule
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import within
from jaxvision.ops.resample import Method

Array = jax.Array

ITERATIONS = 20
"""Of the search for where a point comes to lie."""


@with_recipe
def random_elastic(
    deviation: Any = 10.0,
    *,
    grid: int = 3,
    method: Method = "bilinear",
    fill: float = 0.0,
    min_visible: float | None = 0.1,
) -> Transform:
    """Bends each image by displacements that are drawn on a coarse grid.

    The nodes of the grid, the outer ones on the border of the image, are displaced by
    normal draws, and the pixels between them by cubic interpolation: section 3.1 of
    Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, whose values are the
    defaults.

    Points are moved by the inverse of what pixels are read by, which exists while
    neighbouring nodes are displaced by less than their distance.

    Args:
      deviation: standard deviation of the displacements along each axis, in pixels, 0
        or more; may be traced.
      grid: nodes along each axis, 2 or more.
      method, fill, min_visible: as in `random_affine`.
    """
    check(
        within("deviation", deviation, 0),
        within("grid", grid, 2),
        *visible_rule(min_visible),
    )

    def transform(key, batch):
        count, height, width, _ = batch["image"].shape
        nodes = deviation * jax.random.normal(key, (count, grid, grid, 2))
        x, y = jnp.meshgrid(*(resample.pixel_centres(side) for side in (width, height)))
        pixels = jnp.stack([x, y], axis=-1).reshape(1, height * width, 2)

        def displaced(points):
            return points + displacement(nodes, points, (height, width))

        # Where each pixel of the result comes from.
        places = displaced(pixels).reshape(count, height, width, 2)
        sources = places[..., 0], places[..., 1]

        def destinations(points):
            # Chen et al. 2008, https://doi.org/10.1118/1.2816107: p = q − d(p).
            return jax.lax.fori_loop(
                0,
                ITERATIONS,
                lambda _, moved: points - (displaced(moved) - moved),
                points,
            )

        return move(
            batch,
            Motion(
                lambda pixels, fill: resample.sample(
                    pixels, *sources, method=method, fill=fill
                ),
                lambda pixels, fill: resample.sample(
                    pixels, *sources, method="nearest", fill=fill
                ),
                destinations,
                (height, width),
                keeps_axes=False,
            ),
            fill=fill,
            min_visible=min_visible,
        )

    return transform


def displacement(nodes: Array, points: Array, size: tuple[int, int]) -> Array:
    """[B,N,2]: displacements (x, y) at the points, in pixels.

    Args:
      nodes: [B,G,G,2], the displacements of the nodes by row and column; beyond the
        grid they are those of its border.
      points: (x, y) in pixels, [B,N,2], or [1,N,2] for all images.
      size: height and width of the images.
    """
    weights_y = _cubic(points[..., 1] / size[0], nodes.shape[1])
    weights_x = _cubic(points[..., 0] / size[1], nodes.shape[2])
    # Sums of few products: written out, since a matrix product may round its factors.
    across = jnp.sum(weights_x[:, :, None, :, None] * nodes[:, None], axis=3)
    return jnp.sum(weights_y[..., None] * across, axis=2)


def _cubic(places: Array, count: int) -> Array:
    """[…,count]: weights of nodes at 0, 1/(count − 1), … 1 at the places.

    Those of Keys 1981, https://doi.org/10.1109/TASSP.1981.1163711, equation 15.
    """
    node = jnp.clip(places, 0, 1)[..., None] * (count - 1)
    # One more node on either side repeats the border.
    reach = jnp.arange(-1, count + 1, dtype=places.dtype)
    distance = jnp.abs(node - jnp.expand_dims(reach, range(places.ndim)))
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))
    first = weights[..., :1] + weights[..., 1:2]
    last = weights[..., -2:-1] + weights[..., -1:]
    return jnp.concatenate([first, weights[..., 2:-2], last], axis=-1)
