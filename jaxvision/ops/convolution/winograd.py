"""3×3 convolution without strides by Winograd's method, F(2×2, 3×3).

Lavin and Gray 2016, https://arxiv.org/abs/1509.09308: two outputs of a filter with
three taps need four products instead of six, so a tile of 2×2 outputs needs 16 instead
of 36.  Images, kernel and output are transformed by sums and halves alone, and the
products of all tiles are 16 matrix products.  Exact but for rounding, which is that of
a sum in another order: some 1e-6 of the largest output in float32.

The transformed tiles are four times as large as the images, so it pays only slice by
slice, in the cache.  n counts the tiles, t the 16 positions in one.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.geometry import Pads, pad
from jaxvision.ops.convolution.plain import pads_back
from jaxvision.ops.convolution.slices import map_slices, number_of_slices
from jaxvision.types import Array


def convolve(x_BxHxWxC: Array, kernel_3x3xCxO: Array, pads: Pads) -> Array:
    """The convolution with strides of 1."""
    return _convolve(x_BxHxWxC, _kernel_transform(kernel_3x3xCxO), pads)


def input_gradient(
    dy_BxhxwxO: Array, kernel_3x3xCxO: Array, size: Sequence[int], pads: Pads
) -> Array:
    """The convolution of dy with the mirrored kernel.

    Mirroring a kernel turns its transform about, and that is faster to do afterwards.
    """
    kernels_CxO = lax.optimization_barrier(_kernel_transform(kernel_3x3xCxO))
    turned = [4 * i + j for i in (3, 1, 2, 0) for j in (3, 1, 2, 0)]
    back = pads_back(size, dy_BxhxwxO.shape[1:3], (3, 3), pads)
    return _convolve(dy_BxhxwxO, [kernels_CxO[t].T for t in turned], back)


def _convolve(x_BxHxWxC, kernels_CxO, pads):
    height, width = (
        n + sum(p) - 2 for n, p in zip(x_BxHxWxC.shape[1:3], pads, strict=True)
    )
    kernels_CxO = lax.optimization_barrier(kernels_CxO)

    def of_slice(x_BxHxWxC):
        tiles_nxC, (b, th, tw) = _image_tiles(x_BxHxWxC, pads)
        y_nxO = [x @ k for x, k in zip(tiles_nxC, kernels_CxO, strict=True)]
        y = [each.reshape(b, th, tw, -1) for each in lax.optimization_barrier(y_nxO)]
        rows = zip(*(_gather(y[j::4]) for j in range(4)), strict=True)
        pixels = [jnp.stack(_gather(row), 3) for row in rows]
        y_Bxthx2xtwx2xO = jnp.stack(pixels, 2)
        return y_Bxthx2xtwx2xO.reshape(b, 2 * th, 2 * tw, -1)[:, :height, :width]

    slices = _slices(x_BxHxWxC.shape[0], height * width, kernels_CxO[0].shape)
    return map_slices(of_slice, slices, x_BxHxWxC)


def _slices(batch: int, pixels: int, channels: Sequence[int]) -> int:
    """So that the tiles of a slice, before and after, are some four megabytes."""
    return number_of_slices(batch, 16 * batch * pixels * sum(channels) / 2**22)


def _image_tiles(x_BxHxWxC: Array, pads: Pads) -> tuple[list[Array], Sequence[int]]:
    """BᵀxB of every 4×4 tile, and how many there are, down and across.

    Tiles begin at every second pixel of the padded map.
    """
    size = x_BxHxWxC.shape[1:3]
    th, tw = (-(-(n + sum(p) - 2) // 2) for n, p in zip(size, pads, strict=True))
    (top, _), (left, _) = pads
    around = ((top, 2 * th + 2 - size[0] - top), (left, 2 * tw + 2 - size[1] - left))
    x = pad(x_BxHxWxC, around)
    rows = _combine([x[:, i : i + 2 * th - 1 : 2] for i in range(4)])
    tiles = [
        tile.reshape(-1, x.shape[3])
        for row in rows
        for tile in _combine([row[:, :, j : j + 2 * tw - 1 : 2] for j in range(4)])
    ]
    return lax.optimization_barrier(tiles), (x.shape[0], th, tw)


def _gather(y):
    """Aᵀy of four rows or columns."""
    return y[0] + y[1] + y[2], y[1] - y[2] - y[3]


def _combine(d):
    """Bᵀd of four rows or columns."""
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def _kernel_transform(kernel_3x3xCxO: Array) -> list[Array]:
    """GgGᵀ, as t times [C,O]."""

    def along(g):
        return g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]

    return [each for row in along(kernel_3x3xCxO) for each in along(row)]
