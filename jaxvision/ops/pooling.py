"""Pooling: one number for every window of a map.

Windows that do not overlap, the usual case, are a reshape and a reduction; the others
`lax.reduce_window`.  The gradient of the maximum is our own on CPU, where JAX's takes
many times as long.

Shapes: B batch, H W height and width, C channels, h w height and width of the output.
"""

import math
from collections.abc import Callable, Sequence
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


def min_pool(
    images_BxHxWxC: Array,
    window: Pair,
    strides: Pair | None = None,
    padding: Padding = "VALID",
    *,
    ceil_mode: bool = False,
) -> Array:
    """The smallest value of each window; arguments and errors as in `max_pool`."""
    turned = _turned(images_BxHxWxC)
    return _turned(max_pool(turned, window, strides, padding, ceil_mode=ceil_mode))


def l2_pool(
    images_BxHxWxC: Array,
    window: Pair,
    strides: Pair | None = None,
    padding: Padding = "VALID",
) -> Array:
    """The root of the sum of squares of each window, in at least float32; arguments and
    errors as in `max_pool`.

    The gradient is 0 where a window holds nothing but zeros.
    """
    window, strides, pads = _geometry(images_BxHxWxC, window, strides, padding)
    wide = images_BxHxWxC.astype(at_least_float32(images_BxHxWxC.dtype))
    sums = _reduce(wide * wide, 0.0, lax.add, window, strides, pads)
    empty = sums == 0
    return jnp.where(empty, 0, jnp.sqrt(jnp.where(empty, 1, sums)))


def over_depth(
    pool: Callable[..., Array],
    images_BxHxWxC: Array,
    window: int,
    strides: int | None = None,
) -> Array:
    """A pooling of these functions over windows of channels instead of pixels.

    Returns [B,H,W,c] of c = ⌊(C - window) / strides⌋ + 1; strides default to the
    window.  Goodfellow et al. 2013 call the maximum maxout,
    https://arxiv.org/abs/1302.4389.
    """
    batch, height, width, channels = images_BxHxWxC.shape
    lines = images_BxHxWxC.reshape(batch, height * width, channels, 1)
    strides = window if strides is None else strides
    return pool(lines, (1, window), (1, strides)).reshape(batch, height, width, -1)


def adaptive_avg_pool(images_BxHxWxC: Array, size: Pair) -> Array:
    """The mean of each of h×w windows that cover the map, as [B,h,w,C].

    Window i of n rows begins at row ⌊i·H/n⌋ and ends before ⌈(i+1)·H/n⌉, as in
    PyTorch: windows differ by a row where they do not divide the map, and repeat
    rows where there are more windows than rows.
    """
    size = pair("size", size)
    if size == images_BxHxWxC.shape[1:3]:
        return images_BxHxWxC
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


def max_pool_with_switches(
    images_BxHxWxC: Array, window: Pair, *, ceil_mode: bool = False
) -> tuple[Array, Array]:
    """`max_pool` of windows side by side, and where in its window each maximum was.

    A switch, uint8 or wider [B,h,w,C], counts the pixels of a window row by row from 0;
    the first of the largest counts, as in PyTorch, and it gets the gradient.  A
    value that is chosen by its switch is linear in the images, so that derivatives of
    any kind and order exist.  Arguments and errors are those of `max_pool`.  For
    networks that unpool: Zeiler et al. 2011, https://doi.org/10.1109/ICCV.2011.6126474.
    """
    size = images_BxHxWxC.shape[1:3]
    padding = (
        _with_partial_windows(size, window, None, "VALID") if ceil_mode else "VALID"
    )
    window, _, pads = _geometry(images_BxHxWxC, window, None, padding)
    split = _split(pad(images_BxHxWxC, pads, _least(images_BxHxWxC)), window)
    pixels = lax.stop_gradient(split)
    taps = (pixels[:, :, u, :, v] for u, v in np.ndindex(window))
    largest = next(taps)
    switches = jnp.zeros(largest.shape, _counting(window))
    for number, seen in enumerate(taps, 1):
        switches = jnp.where(seen > largest, number, switches)
        largest = jnp.maximum(seen, largest)
    # Both are used again much later: without the barrier they are computed anew there.
    switches = lax.optimization_barrier(switches)
    chosen = jnp.where(_at(switches, window), split, 0)
    return chosen.sum((2, 4), dtype=split.dtype), switches


def max_unpool(
    maps_BxhxwxC: Array, switches_BxhxwxC: Array, window: Pair, size: Pair
) -> Array:
    """Each value back where its switch says that it came from, zeros elsewhere.

    `size` (H, W) is that of the images that `max_pool_with_switches` was given with the
    same window; what is in no whole window of theirs is zero.  It selects and never
    scatters, and so does its gradient, which is what pooling by these switches makes of
    the gradient's maps.  The unpooling of Noh et al. 2015,
    https://arxiv.org/abs/1505.04366, section 3.2, and Badrinarayanan et al. 2017.

    Raises `UsageError` for shapes that do not fit together.
    """
    window, (height, width) = pair("window", window), pair("size", size)
    shape = maps_BxhxwxC.shape
    check(
        (
            shape == switches_BxhxwxC.shape and len(shape) == 4,
            f"max_unpool needs maps and switches of one shape [B,h,w,C], got {shape} "
            f"and {switches_BxhxwxC.shape}",
        )
    )
    batch, h, w, channels = shape
    rows, columns = h * window[0], w * window[1]
    below, right = height - rows, width - columns
    check(
        (
            abs(below) < window[0] and abs(right) < window[1],
            f"{h}×{w} windows of {window[0]}×{window[1]} do not come from a map of "
            f"{height}×{width}: give the size that was pooled",
        )
    )
    spread = jnp.where(
        _at(switches_BxhxwxC, window), maps_BxhxwxC[:, :, None, :, None], 0
    )
    whole = spread.astype(maps_BxhxwxC.dtype).reshape(batch, rows, columns, channels)
    return pad(whole, ((0, below), (0, right)))


def _at(switches_BxhxwxC: Array, window: tuple[int, int]) -> Array:
    """bool [B,h,window height,w,window width,C]: the pixels that the switches say."""
    numbers = jnp.arange(math.prod(window), dtype=switches_BxhxwxC.dtype)
    return switches_BxhxwxC[:, :, None, :, None] == numbers.reshape(
        1, 1, window[0], 1, window[1], 1
    )


def _counting(window: tuple[int, int]) -> jnp.dtype:
    """The smallest type that counts the pixels of a window."""
    return jnp.dtype(np.min_scalar_type(math.prod(window) - 1))


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


def _turned(images):
    """In the opposite order, without an overflow: -x of floats, and of integers ~x."""
    floating = jnp.issubdtype(images.dtype, jnp.floating)
    return -images if floating else ~images


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
