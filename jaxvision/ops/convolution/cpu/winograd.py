"""3×3 convolution without strides by Winograd's minimal filtering, F(2×2, 3×3).

Lavin and Gray 2016, https://arxiv.org/abs/1509.09308, section 4.1.  Two neighbouring
outputs of a filter g with three taps depend on four pixels d, and take four products
instead of six: y = Aᵀ[(G g) ⊙ (Bᵀ d)] with

    Bᵀ = [1  0 -1  0]    G = [1   0  0]    Aᵀ = [1  1  1  0]
         [0  1  1  0]        [½   ½  ½]         [0  1 -1 -1]
         [0 -1  1  0]        [½  -½  ½]
         [0  1  0 -1]        [0   0  1]

Along both axes it is Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A (equation 8): a tile of 2×2 outputs
takes 16 products instead of 36.  Summed over the channels, the products at each of the
16 positions of all tiles are one matrix product [n,C] · [C,O].

The transforms add, subtract and halve.  So the result is exact but for rounding, which
is that of a sum in another order: about 1e-6 of the largest output in float32.  Larger
tiles, F(4×4, 3×3), would save more products, but their transforms multiply by numbers
up to 8, at the cost of digits.

The transformed tiles are four times as large as the images, so it pays only slice by
slice, in the cache.  In names n counts the tiles, and t the 16 positions in one.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.cpu.plain import input_gradient_pads
from jaxvision.ops.convolution.cpu.slices import map_slices, number_of_slices
from jaxvision.ops.convolution.geometry import Geometry, Pads, pad
from jaxvision.types import Array


def convolve(x_BxHxWxC: Array, kernel_3x3xCxO: Array, geometry: Geometry) -> Array:
    """The convolution without strides, dilation or groups."""
    return _convolve(x_BxHxWxC, _kernel_transform(kernel_3x3xCxO), geometry.pads)


def input_gradient(
    dy_BxhxwxO: Array, kernel_3x3xCxO: Array, size: Sequence[int], geometry: Geometry
) -> Array:
    """The convolution of dy with the mirrored kernel.

    Mirroring g exchanges the first and the last row of G g, and leaves the others.  So
    the transform is that of the kernel in another order, which is faster than to
    transform the mirrored kernel.
    """
    # The barrier keeps XLA from fusing the transform into each of 16 transpositions.
    kernels_CxO = lax.optimization_barrier(_kernel_transform(kernel_3x3xCxO))
    mirrored = [4 * i + j for i in (3, 1, 2, 0) for j in (3, 1, 2, 0)]
    pads = input_gradient_pads(size, dy_BxhxwxO.shape[1:3], (3, 3), geometry.pads)
    return _convolve(dy_BxhxwxO, [kernels_CxO[t].T for t in mirrored], pads)


def _convolve(x_BxHxWxC: Array, kernels_CxO: list[Array], pads: Pads) -> Array:
    """With the transformed kernel, t times [C,O].

    The matrix products are worth their overhead only on operands that lie in memory as
    the products read them.  Three barriers keep XLA from fusing the sums of the
    transforms into the products or into each other: after the transforms of the kernel
    and of the images, and after the products.
    """
    height, width = Geometry(pads=pads).output_size(x_BxHxWxC.shape[1:3], (3, 3))
    kernels_CxO = lax.optimization_barrier(kernels_CxO)

    def of_slice(x_BxHxWxC):
        tiles_nxC, (b, th, tw) = _image_tiles(x_BxHxWxC, pads)
        y_nxO = [x @ k for x, k in zip(tiles_nxC, kernels_CxO, strict=True)]
        y = [each.reshape(b, th, tw, -1) for each in lax.optimization_barrier(y_nxO)]
        rows = zip(*(_output_transform(y[j::4]) for j in range(4)), strict=True)
        pixels = [jnp.stack(_output_transform(row), 3) for row in rows]
        y_Bxthx2xtwx2xO = jnp.stack(pixels, 2)
        return y_Bxthx2xtwx2xO.reshape(b, 2 * th, 2 * tw, -1)[:, :height, :width]

    slices = _slices(x_BxHxWxC.shape[0], height * width, kernels_CxO[0].shape)
    return map_slices(of_slice, slices, x_BxHxWxC)


def _slices(batch: int, pixels: int, channels: Sequence[int]) -> int:
    """As many that the tiles of a slice, in and out, are about four megabytes."""
    return number_of_slices(batch, 16 * batch * pixels * sum(channels) / 2**22)


def _image_tiles(x_BxHxWxC: Array, pads: Pads) -> tuple[list[Array], Sequence[int]]:
    """Bᵀ d B of all tiles d, t times [n,C], and the number of images, rows, columns.

    Tiles are 4×4 pixels and begin at every second pixel of the padded maps.  So what
    position i, j of all tiles holds is a slice of the maps with strides of 2.
    """
    size = x_BxHxWxC.shape[1:3]
    th, tw = (-(-(n + sum(p) - 2) // 2) for n, p in zip(size, pads, strict=True))
    (top, _), (left, _) = pads
    whole_tiles = (
        (top, 2 * th + 2 - size[0] - top),
        (left, 2 * tw + 2 - size[1] - left),
    )
    x = pad(x_BxHxWxC, whole_tiles)
    rows = _input_transform([x[:, i : i + 2 * th - 1 : 2] for i in range(4)])
    tiles = [
        tile.reshape(-1, x.shape[3])
        for row in rows
        for tile in _input_transform(
            [row[:, :, j : j + 2 * tw - 1 : 2] for j in range(4)]
        )
    ]
    return lax.optimization_barrier(tiles), (x.shape[0], th, tw)


def _output_transform(y):
    """Aᵀ y of four rows or columns."""
    return y[0] + y[1] + y[2], y[1] - y[2] - y[3]


def _input_transform(d):
    """Bᵀ d of four rows or columns."""
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def _kernel_transform(kernel_3x3xCxO: Array) -> list[Array]:
    """G g Gᵀ, t times [C,O]."""

    def along(g):
        """G g of three rows or columns."""
        return g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]

    return [each for row in along(kernel_3x3xCxO) for each in along(row)]
