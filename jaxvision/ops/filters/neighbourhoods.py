"""Adjacency relations: which pixels are around a pixel.

A relation is a set of displacements, int [A,2] of (down, right), as NumPy has them.
Any set will do; the functions here make the usual ones, row by row.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.ops.convolution import Pair, pair
from jaxvision.ops.filters.borders import Border, as_float, surround
from jaxvision.types import Array

Adjacency = np.ndarray


def disc(radius: float) -> Adjacency:
    """All displacements of a Euclidean length of at most `radius`, which is ≥ 0.

    Of 1: the pixel and its four neighbours; of √2: its eight.
    """
    check((radius >= 0, f"radius must be at least 0, got {radius}"))
    reach = int(radius)
    offsets = np.arange(-reach, reach + 1)
    down, right = np.meshgrid(offsets, offsets, indexing="ij")
    inside = down**2 + right**2 <= radius**2 + 1e-9  # √2 squared is more than 2
    return np.stack([down[inside], right[inside]], axis=1)


def box(size: Pair) -> Adjacency:
    """All displacements of a window of (height, width), odd, around its middle."""
    height, width = pair("size", size)
    check(
        (
            height % 2 == width % 2 == 1,
            f"a box around a pixel has odd sides, got {height}×{width}",
        )
    )
    grid = np.indices((height, width)).reshape(2, -1).T
    return grid - np.array([height // 2, width // 2])


def dilated(adjacency: Adjacency, factor: Pair) -> Adjacency:
    """As many pixels, further apart: displacements times (vertical, horizontal)."""
    return _checked(adjacency) * np.array(pair("factor", factor))


def patches(
    images_BxHxWxC: Array, adjacency: Adjacency, *, border: Border = "zeros"
) -> Array:
    """[B,H,W,A,C]: for each pixel those that are adjacent to it, in their order."""
    as_float(images_BxHxWxC, "patches")
    shifted = adjacent(jnp.asarray(images_BxHxWxC), adjacency, border)
    return jnp.stack(list(shifted), axis=3)


def adjacent(
    images_BxHxWxC: Array, adjacency: Adjacency, border: Border
) -> Iterator[Array]:
    """For each displacement the images [B,H,W,C] moved by it: what each pixel has
    there."""
    adjacency = _checked(adjacency)
    height, width = images_BxHxWxC.shape[1:3]
    rows, columns = np.abs(adjacency).max(axis=0).tolist()
    padded = surround(images_BxHxWxC, ((rows, rows), (columns, columns)), border)
    for down, right in adjacency.tolist():
        top, left = rows + down, columns + right
        yield padded[:, top : top + height, left : left + width]


def kernel_bank(adjacency: Adjacency, weights_AxCxO: Array) -> Array:
    """[K,K,C,O]: kernels as `convolve` takes them, of weights for each adjacent pixel.

    It is as large as the relation reaches, and zero at pixels that are not adjacent.
    Raises `UsageError` where there is not a weight for each.
    """
    adjacency, shape = _checked(adjacency), np.shape(weights_AxCxO)
    check(
        (
            len(shape) == 3 and shape[0] == len(adjacency),
            f"a relation of {len(adjacency)} pixels needs weights "
            f"[{len(adjacency)},C,O], got {shape}",
        )
    )
    reach = np.abs(adjacency).max(axis=0)
    weights = jnp.asarray(weights_AxCxO)
    dense = jnp.zeros((*(2 * reach + 1).tolist(), *shape[1:]), weights.dtype)
    rows, columns = (adjacency + reach).T
    return dense.at[rows, columns].set(weights)


def _checked(adjacency: Adjacency) -> Adjacency:
    adjacency = np.asarray(adjacency)
    check(
        (
            adjacency.ndim == 2
            and adjacency.shape[1:] == (2,)
            and len(adjacency) > 0
            and np.issubdtype(adjacency.dtype, np.integer),
            "an adjacency relation is a set of displacements, int [A,2], got "
            f"{adjacency.dtype} {adjacency.shape}",
        )
    )
    distinct = len(np.unique(adjacency, axis=0))
    check(
        (
            distinct == len(adjacency),
            f"{len(adjacency) - distinct} displacements of the adjacency relation are "
            "there twice",
        )
    )
    return adjacency
