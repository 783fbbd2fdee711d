"""Convolution as a product with a matrix, and its transpose with the transposed one.

Dumoulin and Visin 2016, https://arxiv.org/abs/1603.07285, section 4.1.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from jaxvision.ops.convolution import Padding, Pair, conv2d
from jaxvision.types import Array


def convolution_matrix(
    kernel_KxKxCxO: Array,
    size: Sequence[int],
    *,
    strides: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """The matrix C [h·w·O, H·W·C] of `conv2d` for images of `size` (H, W).

    `C @ images.reshape(-1)` is the convolution, and `C.T @ maps.reshape(-1)` the
    transposed convolution, which is how gradients reach the images.  Its rows are the
    kernel, each time at another place.  It has as many entries as pixels in times
    pixels out: for explanations and tests.  Arguments and errors as in `conv2d`.
    """
    height, width = size
    channels = kernel_KxKxCxO.shape[2] * groups
    count = height * width * channels
    pixels = jnp.eye(count, dtype=kernel_KxKxCxO.dtype)
    columns = conv2d(
        pixels.reshape(count, height, width, channels),
        kernel_KxKxCxO,
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return columns.reshape(count, -1).T
