"""Maps cut into windows, and relative positions of the pixels in a window.

Shapes: B batch, H W height and width, C channels, N windows, P pixels of a window.
"""

from collections.abc import Mapping

import jax
import numpy as np

Array = jax.Array


def partition(x_BxHxWxC: Array, height: int, width: int) -> Array:
    """[B,N,P,C]: windows of `height` × `width`, which must divide the map."""
    batch, rows, columns, channels = x_BxHxWxC.shape
    cut = x_BxHxWxC.reshape(
        batch, rows // height, height, columns // width, width, channels
    )
    return cut.swapaxes(2, 3).reshape(batch, -1, height * width, channels)


def merge(x_BxNxPxC: Array, height: int, width: int, size: tuple[int, int]) -> Array:
    """The inverse of `partition`, for a map of `size`."""
    batch, channels = x_BxNxPxC.shape[0], x_BxNxPxC.shape[-1]
    rows, columns = size[0] // height, size[1] // width
    cut = x_BxNxPxC.reshape(batch, rows, columns, height, width, channels)
    return cut.swapaxes(2, 3).reshape(batch, *size, channels)


def relative_position_index(size: int) -> np.ndarray:
    """int32 [P,P]: the number of the offset of each pair of pixels in a square window.

    Offsets from -(size - 1) to size - 1 along both axes are numbered row by row.
    """
    y, x = np.divmod(np.arange(size * size), size)
    dy = y[:, None] - y[None, :] + size - 1
    dx = x[:, None] - x[None, :] + size - 1
    return (dy * (2 * size - 1) + dx).astype(np.int32)


def index_constants(
    state: Mapping[str, np.ndarray], size: int, *, beside: str, flat: bool
) -> dict[str, np.ndarray]:
    """`relative_position_index` for every array called `beside`, as in PyTorch.

    There it is a buffer of each attention layer, and part of the state dict.
    """
    index = relative_position_index(size).astype(np.int64)
    index = index.reshape(-1) if flat else index
    return {
        key.removesuffix(beside) + "relative_position_index": index
        for key in state
        if key.endswith("." + beside)
    }
