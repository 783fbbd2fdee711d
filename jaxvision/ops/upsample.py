"""Larger maps, as decoders make them, with gradients that are fast on CPU.

Shapes: B batch, H W height and width, C channels, O channels out.
"""

from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.errors import check, unknown
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array


def upsample(
    images_BxHxWxC: Array, method: Literal["nearest", "bilinear"] = "nearest"
) -> Array:
    """[B,H,W,C] -> [B,2H,2W,C].

    `nearest` repeats every pixel four times.  `bilinear` mixes the two nearest pixels
    along each axis as ¾ and ¼ and repeats the border, which is `align_corners=False`
    in PyTorch and `jax.image.resize`.

    Raises `UsageError` for an unknown method, and unless the images are [B,H,W,C].
    """
    shape = images_BxHxWxC.shape
    check((len(shape) == 4, f"upsample needs images [B,H,W,C], got {shape}"))
    if method == "nearest":
        batch, height, width, channels = shape
        pixels = images_BxHxWxC[:, :, None, :, None]
        repeated = jnp.broadcast_to(pixels, (batch, height, 2, width, 2, channels))
        return repeated.reshape(batch, 2 * height, 2 * width, channels)
    if method == "bilinear":
        # Without the barrier the gradient along one axis is computed anew for each
        # of its uses along the other.
        tall = lax.optimization_barrier(_between(images_BxHxWxC, 1))
        return _between(tall, 2)
    raise unknown("method of upsampling", method, ("nearest", "bilinear"))


def _between(images: Array, axis: int) -> Array:
    """Twice as many rows (axis 1) or columns (axis 2), between and beside the given."""
    size = images.shape[axis]
    part = partial(lax.slice_in_dim, images, axis=axis)
    # Slices, since the gradient of indexing with an array is a scatter.
    before = jnp.concatenate([part(0, 1), part(0, size - 1)], axis)
    after = jnp.concatenate([part(1, size), part(size - 1, size)], axis)
    both = jnp.stack(
        [0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis + 1
    )
    shape = (*images.shape[:axis], 2 * size, *images.shape[axis + 1 :])
    return both.reshape(shape).astype(images.dtype)


def resize(
    images_BxHxWxC: Array, size: tuple[int, int], *, align_corners: bool = False
) -> Array:
    """[B,H,W,C] -> [B,*size,C]: each value from the four pixels around it, bilinear.

    As PyTorch's `interpolate`: the edges of the image stay where they are, and the
    border is repeated, or with `align_corners` the centres of the corner pixels stay.
    What is made smaller is sampled, not averaged: `resample.crop_and_resize` does that.

    It is a product with a matrix along each axis, and so is its gradient.  Raises
    `UsageError` unless the images are [B,H,W,C] and the size is at least 1×1.
    """
    shape = images_BxHxWxC.shape
    check(
        (len(shape) == 4, f"resize needs images [B,H,W,C], got {shape}"),
        (min(size) > 0, f"resize to {size}: both sides must be at least 1"),
    )
    if tuple(size) == shape[1:3]:
        return images_BxHxWxC
    wide = at_least_float32(images_BxHxWxC.dtype)
    rows_hxH, columns_wxW = (
        jnp.asarray(_mixtures(have, want, align_corners), wide)
        for have, want in zip(shape[1:3], size, strict=True)
    )
    # The larger product last: along whole rows it is one of large matrices.
    x_BxHxwxC = jnp.einsum(
        "wW,BHWC->BHwC", columns_wxW, images_BxHxWxC.astype(wide), precision="highest"
    )
    y_BxhxwxC = jnp.einsum("hH,BHwC->BhwC", rows_hxH, x_BxHxwxC, precision="highest")
    return y_BxhxwxC.astype(images_BxHxWxC.dtype)


def _mixtures(have: int, want: int, align_corners: bool) -> np.ndarray:
    """[want,have]: how much each pixel counts for each value along an axis."""
    if align_corners:
        places = np.arange(want) * ((have - 1) / max(want - 1, 1))
    else:
        places = np.clip((np.arange(want) + 0.5) * (have / want) - 0.5, 0, None)
    distance = np.abs(np.minimum(places, have - 1)[:, None] - np.arange(have))
    return np.maximum(1 - distance, 0)


def conv_transpose_2x2(images_BxHxWxC: Array, kernel_2x2xCxO: Array) -> Array:
    """The transposed convolution with a 2×2 kernel and strides of 2: [B,2H,2W,O].

    Each pixel makes four, `y[2i+u, 2j+v] = x[i,j] · kernel[u,v]`, which do not overlap
    those of its neighbours.  So it is a 1×1 convolution to 4·O channels; a general
    transposed convolution would multiply zeros.

    Raises `UsageError` for shapes that do not fit together.
    """
    shapes = f"images {images_BxHxWxC.shape}, kernel {kernel_2x2xCxO.shape}"
    check(
        (
            images_BxHxWxC.ndim == kernel_2x2xCxO.ndim == 4
            and kernel_2x2xCxO.shape[:3] == (2, 2, images_BxHxWxC.shape[-1]),
            "conv_transpose_2x2 needs images [B,H,W,C] and a kernel [2,2,C,O], "
            f"got {shapes}",
        )
    )
    batch, height, width, _ = images_BxHxWxC.shape
    out_channels = kernel_2x2xCxO.shape[3]
    kernel_Cx2x2xO = kernel_2x2xCxO.transpose(2, 0, 1, 3)
    kernel_1x1xCx4O = kernel_Cx2x2xO.reshape(1, 1, -1, 4 * out_channels)
    y = conv2d(images_BxHxWxC, kernel_1x1xCx4O)
    y_BxHxWx2x2xO = y.reshape(batch, height, width, 2, 2, out_channels)
    return y_BxHxWx2x2xO.transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, 2 * height, 2 * width, out_channels
    )


def conv_transpose(images_BxHxWxC: Array, kernel_KxKxOxC: Array) -> Array:
    """The transposed convolution with strides s of a kernel of K = 2s: [B,sH,sW,O].

    As PyTorch's with `stride=s, padding=s // 2`: each value sees two pixels along each
    axis.  So it is a 2×2 convolution to s²·O channels, which are then spread over the
    pixels; a general transposed convolution would multiply zeros.  The kernel has its
    axes in flax's order for `transpose_kernel=True`, the inputs last.

    Raises `UsageError` for shapes that do not fit together.
    """
    shapes = f"images {images_BxHxWxC.shape}, kernel {kernel_KxKxOxC.shape}"
    check(
        (
            images_BxHxWxC.ndim == kernel_KxKxOxC.ndim == 4
            and kernel_KxKxOxC.shape[3] == images_BxHxWxC.shape[3]
            and kernel_KxKxOxC.shape[0] == kernel_KxKxOxC.shape[1]
            and kernel_KxKxOxC.shape[0] % 4 == 0,
            "conv_transpose needs images [B,H,W,C] and a kernel [K,K,O,C] whose size "
            f"is a multiple of 4, got {shapes}",
        )
    )
    batch, height, width, channels = images_BxHxWxC.shape
    size, _, out_channels, _ = kernel_KxKxOxC.shape
    s = size // 2
    # Row q = s·j + r of an output whose border of s/2 is not yet cut off is
    # x[j] · kernel[r] + x[j - 1] · kernel[s + r].
    taps_2xsx2xsxOxC = kernel_KxKxOxC.reshape(2, s, 2, s, out_channels, channels)
    kernel_2x2xCxssO = (
        taps_2xsx2xsxOxC[::-1, :, ::-1]
        .transpose(0, 2, 5, 1, 3, 4)
        .reshape(2, 2, channels, s * s * out_channels)
    )
    y = conv2d(images_BxHxWxC, kernel_2x2xCxssO, padding=1)
    rows, columns = height + 1, width + 1
    y = y.reshape(batch, rows, columns, s, s, out_channels).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, s * rows, s * columns, out_channels)
    half = s // 2
    return y[:, half : half + s * height, half : half + s * width]
