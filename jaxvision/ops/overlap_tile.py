"""Scores of large images, computed tile by tile.

The overlap-tile strategy of Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597,
figure 2: a network whose convolutions see no padding says of a tile what it would say
of the whole image, for the pixels that are far enough from the tile's border.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.convolution import Pair, pair
from jaxvision.types import Array


def overlap_tile(
    function: Callable[[Array], Array],
    images_BxHxWxC: Array,
    tile: Pair,
    *,
    stride: int = 1,
) -> Array:
    """`function` of images of any size, [B,H,W,K], computed of one tile at a time.

    Beyond their borders images go on as their mirror image.  Memory is that of a tile,
    and of the result.

    Args:
      function: [B,h,w,C] -> [B,h-2m,w-2m,K], for h×w = `tile`; the margin m, pixels on
        each side of which it says nothing, is found by tracing it.
      tile: height and width in pixels that `function` takes.
      stride: tiles begin at multiples of it.  A network that pools is the same function
        of neighbouring tiles only if they are apart by whole windows: with the largest
        stride of its maps (16 for a U-Net of five levels) the result is that of one
        evaluation of the whole image.

    Raises `UsageError` where nothing would be left of a tile.
    """
    batch, height, width, channels = images_BxHxWxC.shape
    tile = pair("tile", tile)
    seen = jax.ShapeDtypeStruct((batch, *tile, channels), images_BxHxWxC.dtype)
    said = jax.eval_shape(function, seen).shape
    lost = [t - s for t, s in zip(tile, said[1:3], strict=True)]
    margins = [n // 2 for n in lost]
    steps = [s // stride * stride for s in said[1:3]]
    check(
        (stride >= 1, f"stride must be positive, got {stride}"),
        (
            all(
                s <= t and (t - s) % 2 == 0
                for t, s in zip(tile, said[1:3], strict=True)
            ),
            f"of a tile of {tile[0]}×{tile[1]} the function makes {said[1]}×{said[2]}: "
            "it should leave out as much on both sides",
        ),
        (
            min(steps) > 0,
            f"a tile of {tile[0]}×{tile[1]} gives {said[1]}×{said[2]} scores, less "
            f"than the stride of {stride}: take larger tiles",
        ),
    )
    counts = [-(-n // s) for n, s in zip((height, width), steps, strict=True)]
    edges = [
        (margin, (count - 1) * step + t - margin - n)
        for margin, count, step, t, n in zip(
            margins, counts, steps, tile, (height, width), strict=True
        )
    ]
    padded = jnp.pad(images_BxHxWxC, ((0, 0), *edges, (0, 0)), mode="reflect")

    def scores(place):
        row, column = place
        zero = jnp.zeros((), place.dtype)
        start = (zero, row * steps[0], column * steps[1], zero)
        made = function(lax.dynamic_slice(padded, start, seen.shape))
        return made[:, : steps[0], : steps[1]]

    places = jnp.stack(
        jnp.meshgrid(*map(jnp.arange, counts), indexing="ij"), axis=-1
    ).reshape(-1, 2)
    tiles = lax.map(scores, places)
    tiles = tiles.reshape(*counts, batch, *steps, said[3])
    whole = tiles.transpose(2, 0, 3, 1, 4, 5).reshape(
        batch, counts[0] * steps[0], counts[1] * steps[1], said[3]
    )
    return whole[:, :height, :width]
