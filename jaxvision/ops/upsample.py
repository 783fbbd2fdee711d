"""Larger maps, as decoders make them, with gradients that are fast on CPU.

Shapes: B batch, H W height and width, C channels, O channels out.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array

MOST_TERMS = 32
"""Pixels that a value is a sum of, beyond which a product of matrices is taken, whose
program is shorter."""


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
        return resize(images_BxHxWxC, (2 * shape[1], 2 * shape[2]))
    raise unknown("method of upsampling", method, ("nearest", "bilinear"))


def resize(
    images_BxHxWxC: Array, size: Sequence[int], *, align_corners: bool = False
) -> Array:
    """[B,H,W,C] -> [B,*size,C]: each value from the four pixels around it, bilinear.

    As PyTorch's `interpolate`: the edges of the image stay where they are, and the
    border is repeated, or with `align_corners` the centres of the corner pixels stay.
    What is made smaller is sampled, not averaged: `resample.crop_and_resize` does that.

    Raises `UsageError` unless the images are [B,H,W,C] and the size is at least 1×1.
    """
    shape = images_BxHxWxC.shape
    check(
        (len(shape) == 4, f"resize needs images [B,H,W,C], got {shape}"),
        (min(size) > 0, f"resize to {size}: both sides must be at least 1"),
    )
    x = images_BxHxWxC.astype(at_least_float32(images_BxHxWxC.dtype))
    for axis in (2, 1):  # the fewer rows first
        have, want = shape[axis], size[axis - 1]
        if have != want:
            x = _mixed(x, axis, _Mixtures(have, want, align_corners))
    return x.astype(images_BxHxWxC.dtype)


class _Mixtures(NamedTuple):
    """How much each of some pixels along an axis counts for each value, as a matrix
    that has few entries in each row, all of them side by side."""

    have: int
    want: int
    align_corners: bool
    transposed: bool = False

    def matrix(self) -> np.ndarray:
        """[want,have], or its transpose."""
        want = np.arange(self.want)
        if self.align_corners:
            places = want * ((self.have - 1) / max(self.want - 1, 1))
        else:
            places = np.clip((want + 0.5) * (self.have / self.want) - 0.5, 0, None)
        places = np.minimum(places, self.have - 1)
        weights = np.maximum(1 - np.abs(places[:, None] - np.arange(self.have)), 0)
        return weights.T if self.transposed else weights


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _mixed(x: Array, axis: int, mixtures: _Mixtures) -> Array:
    """The product of the matrix with the axis, by reading what counts for each value.

    Its gradient is the same function of the transpose; that of indexing with an array
    would be a scatter, which is slow on CPU.
    """
    weights = mixtures.matrix()
    first, counts = np.argmax(weights > 0, axis=1), np.sum(weights > 0, axis=1)
    if max(counts) > MOST_TERMS:
        matrix = jnp.asarray(weights, x.dtype)
        product = jnp.tensordot(matrix, x, ((1,), (axis,)), precision="highest")
        return jnp.moveaxis(product, 0, axis)
    total: Any = 0
    for term in range(max(counts)):
        places = np.minimum(first + term, weights.shape[1] - 1)
        share = np.where(term < counts, weights[np.arange(len(weights)), places], 0)
        # With mode="clip" there is no check of what is known to be inside.
        taken = jnp.take(x, jnp.asarray(places), axis=axis, mode="clip")
        total += taken * jnp.asarray(share, x.dtype).reshape(
            [-1 if each == axis else 1 for each in range(x.ndim)]
        )
    return total


def _mixed_forward(x: Array, axis: int, mixtures: _Mixtures):
    return _mixed(x, axis, mixtures), None


def _mixed_backward(axis: int, mixtures: _Mixtures, _, dy: Array):
    transpose = mixtures._replace(transposed=not mixtures.transposed)
    return (_mixed(dy, axis, transpose),)


_mixed.defvjp(_mixed_forward, _mixed_backward)


def conv_transpose(
    images_BxHxWxC: Array,
    kernel_KxKxOxC: Array,
    *,
    strides: int | None = None,
    padding: int | None = None,
) -> Array:
    """The transposed convolution: `y[s·i + u, s·j + v] += x[i,j] · kernel[u,v]`.

    Returns [B,h,w,O] of h = (H - 1)·s + K - 2·padding rows.  The kernel is that of the
    convolution from O to C channels that it is the transpose of, as in PyTorch, where
    its axes are [C,O,K,K].  (Dumoulin and Visin 2016, https://arxiv.org/abs/1603.07285,
    section 4.)

    It is computed as one convolution to s²·O channels, which are then spread over the
    pixels: s² remainders modulo s, none of which sees a zero between pixels.

    Args:
      strides: s; None: half of K.
      padding: rows and columns that are cut off on all sides; None: so many that maps
        become s times as large.

    Raises `UsageError` for shapes or options that do not fit together.
    """
    shapes = f"images {images_BxHxWxC.shape}, kernel {kernel_KxKxOxC.shape}"
    check(
        (
            images_BxHxWxC.ndim == kernel_KxKxOxC.ndim == 4
            and kernel_KxKxOxC.shape[0] == kernel_KxKxOxC.shape[1]
            and kernel_KxKxOxC.shape[3] == images_BxHxWxC.shape[3],
            "conv_transpose needs images [B,H,W,C] and a kernel [K,K,O,C], got "
            f"{shapes}",
        )
    )
    batch, *size, channels = images_BxHxWxC.shape
    reach, _, out_channels, _ = kernel_KxKxOxC.shape
    s = max(reach // 2, 1) if strides is None else strides
    cut = (reach - s) // 2 if padding is None else padding
    height, width = ((n - 1) * s + reach - 2 * cut for n in size)
    check(
        (
            s >= 1 and cut >= 0 and min(height, width) >= 1,
            f"strides {strides} and padding {padding} leave nothing of what a kernel "
            f"of {reach}×{reach} makes of a map of {size[0]}×{size[1]}",
        ),
        (
            padding is not None or (reach - s) % 2 == 0 <= cut,
            f"no padding makes maps {s} times as large with a kernel of {reach}×"
            f"{reach}: give padding=",
        ),
    )
    # Of the images an output sees so many pixels along an axis.
    taps = -(-reach // s)
    fill = (0, taps * s - reach)
    kernel = jnp.pad(kernel_KxKxOxC, (fill, fill, (0, 0), (0, 0)))
    kernel = kernel.reshape(taps, s, taps, s, out_channels, channels)
    # The first of these pixels is the one that is the furthest before the output.
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    kernel = kernel.reshape(taps, taps, channels, s * s * out_channels)
    y = conv2d(images_BxHxWxC, kernel, padding=taps - 1)
    rows, columns = y.shape[1:3]
    y = y.reshape(batch, rows, columns, s, s, out_channels).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, rows * s, columns * s, out_channels)
    return y[:, cut : cut + height, cut : cut + width]


def conv_transpose_2x2(images_BxHxWxC: Array, kernel_2x2xCxO: Array) -> Array:
    """The transposed convolution with a 2×2 kernel and strides of 2: [B,2H,2W,O].

    Each pixel makes four, `y[2i+u, 2j+v] = x[i,j] · kernel[u,v]`, which do not overlap
    those of its neighbours.  Its kernel has the channels in before those out, unlike
    `conv_transpose`.

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
    kernel_2x2xOxC = kernel_2x2xCxO.swapaxes(2, 3)
    return conv_transpose(images_BxHxWxC, kernel_2x2xOxC, strides=2, padding=0)
