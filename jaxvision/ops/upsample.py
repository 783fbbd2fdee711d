"""Maps of twice the size, as decoders make them, with gradients that are fast on CPU.

Shapes: B batch, H W height and width, C channels, O channels out.
"""

from functools import partial
from typing import Literal

import jax.numpy as jnp
from jax import lax

from jaxvision.errors import check, unknown
from jaxvision.ops.convolution import conv2d
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
