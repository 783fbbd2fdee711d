"""Pooling: one number for every window of a map.

Windows that do not overlap, the usual case, are a reshape and a reduction; the others
`lax.reduce_window`.  The gradient of the maximum is our own on CPU, where JAX's takes
many times as long.

Shapes: B batch, H W height and width, C channels, h w height and width of the output.
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.errors import check
from jaxvision.ops import target
from jaxvision.ops.convolution import Padding, Pads, Pair, pair, resolve_padding
from jaxvision.ops.convolution.geometry import pad, unwindow, windows
from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array


def max_pool(
    images_BxHxWxC: Array,
    window: Pair,
    strides: Pair | None = None,
    padding: Padding = "VALID",
    *,
    ceil_mode: bool = False,
) -> Array:
    """The largest value of each window, as [B,h,w,C]; padding is never the largest.

    `window` and `strides` are one number or (vertical, horizontal); strides default
    to the window.  Rows and columns that do not fill a window are dropped, or with
    `ceil_mode` make a window of what there is, as in Caffe and PyTorch.  Where pixels
    tie for the largest, the first gets the gradient.  It is taken in reverse mode only,
    to any order, where windows do not overlap or the backend is the CPU.

    Raises `UsageError` when the window is larger than the padded map.
    """
    if ceil_mode:
        padding = _with_partial_windows(
            images_BxHxWxC.shape[1:3], window, strides, padding
        )
    window, strides, pads = _geometry(images_BxHxWxC, window, strides, padding)
    if _tiles(window, strides, pads) or target.is_cpu():
        return _max_pool(images_BxHxWxC, window, strides, pads)
    return _max_of_windows(images_BxHxWxC, window, strides, pads)


def avg_pool(
    images_BxHxWxC: Array,
    window: Pair,
    strides: Pair | None = None,
    padding: Padding = "VALID",
    *,
    count_include_pad: bool = False,
) -> Array:
    """The mean of each window, as [B,h,w,C]; arguments and errors as in `max_pool`.

    The mean is over the pixels that exist, as in TensorFlow: padding darkens no
    border.  `count_include_pad=True` counts the zeros as well, which PyTorch and Flax
    do unless told otherwise: say so when weights come from there.
    """
    window, strides, pads = _geometry(images_BxHxWxC, window, strides, padding)
    if _tiles(window, strides, pads):
        return _split(images_BxHxWxC, window).mean((2, 4))
    wide = images_BxHxWxC.astype(at_least_float32(images_BxHxWxC.dtype))
    sums = _reduce(wide, 0.0, lax.add, window, strides, pads)
    if count_include_pad:
        means = sums / math.prod(window)
    else:
        pixels = jnp.ones((1, *images_BxHxWxC.shape[1:3], 1), wide.dtype)
        means = sums / _reduce(pixels, 0.0, lax.add, window, strides, pads)
    floating = jnp.issubdtype(images_BxHxWxC.dtype, jnp.floating)
    return means.astype(images_BxHxWxC.dtype) if floating else means


def adaptive_avg_pool(images_BxHxWxC: Array, size: Pair) -> Array:
    """The mean of each of h×w windows that cover the map, as [B,h,w,C].

    Window i of n rows begins at row ⌊i·H/n⌋ and ends before ⌈(i+1)·H/n⌉, as in
    PyTorch: windows differ by a row where they do not divide the map, and repeat
    rows where there are more windows than rows.
    """
    size = pair("size", size)
    wide = at_least_float32(images_BxHxWxC.dtype)
    rows, columns = (
        _averages(have, want).astype(wide)
        for have, want in zip(images_BxHxWxC.shape[1:3], size, strict=True)
    )
    means = jnp.einsum(
        "hH,wW,BHWC->BhwC",
        rows,
        columns,
        images_BxHxWxC.astype(wide),
        precision="highest",
    )
    return means.astype(images_BxHxWxC.dtype)


def global_avg_pool(images_BxHxWxC: Array) -> Array:
    """The mean over all positions of each channel's map, as [B,C]."""
    return images_BxHxWxC.mean((1, 2))


def _max_of_windows(images_BxHxWxC, window, strides, pads):
    if _tiles(window, strides, pads):
        return _split(images_BxHxWxC, window).max((2, 4))
    least = _least(images_BxHxWxC)
    return _reduce(images_BxHxWxC, least, lax.max, window, strides, pads)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(images_BxHxWxC, window, strides, pads):
    """`_max_of_windows` with another gradient.

    One pass finds which pixel of each window was the first of the largest, a second
    adds up the gradient at every pixel.  The pixels are compared with each other and
    not with the output: XLA may compute the images twice, rounded in two ways, and then
    none would be equal to it.
    """
    return _max_of_windows(images_BxHxWxC, window, strides, pads)


def _max_pool_forward(images_BxHxWxC, window, strides, pads):
    return _max_pool(images_BxHxWxC, window, strides, pads), images_BxHxWxC


def _max_pool_backward(window, strides, pads, images_BxHxWxC, dy_BxhxwxC):
    padded = pad(images_BxHxWxC, pads, _least(images_BxHxWxC))
    largest, *others = windows(padded, window, strides, (1, 1))
    first = jnp.zeros(largest.shape, jnp.int32)
    for number, seen in enumerate(others, 1):
        first = jnp.where(seen > largest, number, first)
        largest = jnp.maximum(seen, largest)
    first, dy_BxhxwxC = lax.optimization_barrier((first, dy_BxhxwxC))
    given = [jnp.where(first == n, dy_BxhxwxC, 0) for n in range(math.prod(window))]
    size = images_BxHxWxC.shape[1:3]
    return (unwindow(given, size, window, strides, pads, (1, 1)),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _least(images):
    floating = jnp.issubdtype(images.dtype, jnp.floating)
    return -math.inf if floating else jnp.iinfo(images.dtype).min


def _geometry(
    images_BxHxWxC: Array, window: Pair, strides: Pair | None, padding: Padding
) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    shape = images_BxHxWxC.shape
    check((len(shape) == 4, f"pooling needs images [B,H,W,C], got {shape}"))
    window = pair("window", window)
    strides = window if strides is None else pair("strides", strides)
    pads = resolve_padding(shape[1:3], window, strides, padding)
    check(
        (
            all(max(p) < w for p, w in zip(pads, window, strict=True)),
            f"padding {padding!r} holds a whole window of {window}, "
            "which would pool nothing: use less",
        )
    )
    return window, strides, pads


def _with_partial_windows(
    size: Sequence[int], window: Pair, strides: Pair | None, padding: Padding
) -> list[tuple[int, int]]:
    """More padding at the ends where a last window still begins inside the map."""
    window = pair("window", window)
    strides = window if strides is None else pair("strides", strides)
    # The padding as it is given, which a window of one pixel always fits.
    pads = resolve_padding(size, (1, 1), strides, padding)
    padded = []
    for n, k, s, (before, after) in zip(size, window, strides, pads, strict=True):
        windows = -(-(n + before + after - k) // s) + 1
        if (windows - 1) * s >= n + before:
            windows -= 1
        padded.append((before, max(after, (windows - 1) * s + k - n - before)))
    return padded


def _averages(have: int, want: int) -> np.ndarray:
    """The matrix [want,have] that averages windows."""
    matrix = np.zeros((want, have))
    for i in range(want):
        start, end = i * have // want, -(-(i + 1) * have // want)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


def _tiles(window: tuple[int, int], strides: tuple[int, int], pads: Pads) -> bool:
    return window == strides and pads == ((0, 0), (0, 0))


def _split(images_BxHxWxC: Array, window: tuple[int, int]) -> Array:
    """[B,H,W,C] -> [B,h,window height,w,window width,C], without what is left over."""
    batch, height, width, channels = images_BxHxWxC.shape
    h, w = height // window[0], width // window[1]
    whole = images_BxHxWxC[:, : h * window[0], : w * window[1]]
    return whole.reshape(batch, h, window[0], w, window[1], channels)


def _reduce(images_BxHxWxC, start, operator, window, strides, pads):
    return lax.reduce_window(
        images_BxHxWxC,
        start,
        operator,
        (1, *window, 1),
        (1, *strides, 1),
        ((0, 0), *pads, (0, 0)),
    )
