"""Images read at other places than their pixels: warps, crops, other sizes.

Coordinates are continuous: the pixel in row r and column c covers [c, c+1] × [r, r+1],
and its centre is at x = c + ½, y = r + ½.  Everything here maps places of the output
*back* to places of the input, so that each output pixel is computed once.  Bytes come
back as bytes, rounded to the nearest; other types as they were.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxvision.errors import check

Array = jax.Array
Method = Literal["nearest", "bilinear"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]


def warp(
    images: Array,
    backward: Array,
    *,
    size: tuple[int, int] | None = None,
    method: Interpolation = "bilinear",
    fill: Array | float = 0.0,
) -> Array:
    """Each image seen through its homography.

    As in Pillow, a pixel whose centre comes from outside of the image is `fill`, and
    any other is interpolated between pixels of the image alone.

    Args:
      images: [B,H,W,C].
      backward: [B,3,3], from homogeneous points (x, y, 1) of the output to those of the
        input; affine where the last row is (0, 0, 1).
      size: height and width of the output; None: those of the input.
      method: `"bilinear"`; `"bicubic"`: from 4×4 pixels, by Keys' piecewise cubic of
        a = -½, which gives back any parabola; or `"nearest"`: the pixel that the place
        lies in.
    """
    height, width = images.shape[1:3]
    rows, columns = size or (height, width)
    y = pixel_centres(rows)[None, :, None]
    x = pixel_centres(columns)[None, None]
    # Written out, since a matrix product may round its factors on an accelerator.
    u, v, w = (
        backward[:, i, 0, None, None] * x
        + backward[:, i, 1, None, None] * y
        + backward[:, i, 2, None, None]
        for i in range(3)
    )
    return sample(images, u / w, v / w, w > 0, method=method, fill=fill)


def sample(
    images: Array,
    x: Array,
    y: Array,
    known: Array | bool = True,
    *,
    tile: Array | int = 0,
    tiles: int = 1,
    method: Interpolation = "bilinear",
    fill: Array | float = 0.0,
) -> Array:
    """[B,R,S,C]: images [B,H,W,C] read at the places x and y, each [B,R,S].

    Options and what lies outside: as `warp`.

    Args:
      known: bool [B,R,S], False for places that are nowhere, whatever x and y say.
      tiles: images of one size that lie below each other in each of `images`.
      tile: int32 [B,R,S]: from which of them a place is read.
    """
    height, width = images.shape[1] // tiles, images.shape[2]
    inside = known & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    above_it = jnp.asarray(tile, jnp.int32) * height
    if method == "nearest":
        rows, columns = _indices(y, x, height, width)
        result = _take(images, rows + above_it, columns)
    elif method == "bicubic":
        check((tiles == 1, "bicubic interpolation knows of no tiles"))
        result = _bicubic(images, x - 0.5, y - 0.5)
    else:
        x, y = jnp.clip(x - 0.5, 0, width - 1), jnp.clip(y - 0.5, 0, height - 1)
        top, left = jnp.floor(y), jnp.floor(x)
        right, down = (x - left)[..., None], (y - top)[..., None]

        def row(offset):
            places = (_indices(top + offset, left + i, height, width) for i in (0, 1))
            pair = (_take(images, r + above_it, c) for r, c in places)
            first, second = (pixels.astype(jnp.float32) for pixels in pair)
            return first + right * (second - first)

        above, below = row(0), row(1)
        result = as_type(above + down * (below - above), images.dtype)
    return jnp.where(inside[..., None], result, jnp.asarray(fill, images.dtype))


def _bicubic(images: Array, x: Array, y: Array) -> Array:
    """Images at places counted from the centre of the first pixel, by 4×4 pixels each;
    beyond the border the outermost are repeated.

    Keys 1981, https://doi.org/10.1109/TASSP.1981.1163711, equation 15.
    """
    height, width = images.shape[1:3]
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = _cubic(y - top), _cubic(x - left)
    total = jnp.zeros((), jnp.float32)
    for i, of_row in enumerate(down):
        row = jnp.zeros((), jnp.float32)
        for j, of_column in enumerate(right):
            places = _indices(top + (i - 1), left + (j - 1), height, width)
            row = row + of_column[..., None] * _take(images, *places).astype(
                jnp.float32
            )
        total = total + of_row[..., None] * row
    return as_type(total, images.dtype)


def _cubic(share: Array) -> tuple[Array, Array, Array, Array]:
    """How much the pixels at -1, 0, 1 and 2 count for a place in [0, 1)."""

    def near(d):
        return (1.5 * d - 2.5) * d * d + 1

    def far(d):
        return ((-0.5 * d + 2.5) * d - 4) * d + 2

    return far(1 + share), near(share), near(1 - share), far(2 - share)


def crop_and_resize(
    images: Array,
    boxes: Array,
    size: tuple[int, int],
    *,
    method: Method = "bilinear",
    fill: Array | float | None = None,
) -> Array:
    """A box of each image, [B,H,W,C], brought to one size, [B,*size,C].

    `"bilinear"` widens its triangles where it shrinks, so that every pixel of the box
    counts (antialiasing), and sees nothing outside of the box: what Pillow makes of
    `crop` and `resize`.  It is two products with matrices, which suits accelerators.

    Args:
      boxes: x_min, y_min, x_max, y_max: [B,4], or [1,4] for all images.
      fill: what is shown of boxes beyond the image, a number or one for each channel;
        None: boxes lie within it.
    """
    axes = (
        (boxes[:, 1], boxes[:, 3], images.shape[1], size[0]),
        (boxes[:, 0], boxes[:, 2], images.shape[2], size[1]),
    )
    centres = [_centres(low, high, count) for low, high, _, count in axes]
    if method == "nearest":
        shape = (len(images), *size)
        y, x = centres
        rows, columns = _indices(y, x, images.shape[1], images.shape[2])
        rows = jnp.broadcast_to(rows[:, :, None], shape)
        result = _take(images, rows, jnp.broadcast_to(columns[:, None], shape))
    else:
        pixels = images.astype(jnp.float32)
        for axis in axes:
            pixels = _along_rows(_triangles(*axis), pixels).swapaxes(1, 2)
        result = as_type(pixels, images.dtype)
    if fill is None:
        return result
    rows, columns = (
        (places >= 0) & (places < side)
        for places, side in zip(centres, images.shape[1:3], strict=True)
    )
    inside = (rows[:, :, None] & columns[:, None])[..., None]
    beyond = jnp.reshape(jnp.asarray(fill, images.dtype), (1, 1, 1, -1))
    return jnp.where(inside, result, beyond)


def from_box(images: Array, boxes: Array, size: tuple[int, int], sides: Array) -> Array:
    """The inverse of `crop_and_resize`: images [B,S,T,C] where they were taken from,
    [B,*size,C].

    Each pixel is interpolated between the two nearest rows and columns of the image
    that fills the box, as `align_corners=False` in PyTorch.  Nothing is antialiased:
    maps of scores are enlarged by this, or hardly made smaller.

    Args:
      boxes: [B,4] as in `crop_and_resize`; they may reach beyond what they were taken
        from.
      sides: float32 [B,2], height and width of what they were taken from.  What the box
        has beyond is not looked at: at the edge of either the border is repeated.
    """
    pixels = images.astype(jnp.float32)
    for low, high, count, side in (
        (boxes[:, 1], boxes[:, 3], size[0], sides[:, 0]),
        (boxes[:, 0], boxes[:, 2], size[1], sides[:, 1]),
    ):
        extent = pixels.shape[1]
        scale = extent / (high - low)
        places = (pixel_centres(count)[None] - low[:, None]) * scale[:, None] - 0.5
        start = jnp.ceil(jnp.maximum(-low * scale, 0))
        end = jnp.floor(jnp.minimum((side - low) * scale, extent)) - 1
        places = jnp.clip(places, start[:, None], jnp.maximum(start, end)[:, None])
        first = jnp.floor(places)
        share = (places - first)[:, :, None, None]
        above, below = (
            jax.vmap(lambda image, rows: image.at[rows].get(mode="promise_in_bounds"))(
                pixels, jnp.minimum(first.astype(jnp.int32) + step, extent - 1)
            )
            for step in (0, 1)
        )
        pixels = (above + share * (below - above)).swapaxes(1, 2)
    return as_type(pixels, images.dtype)


def as_type(values: Array, dtype: jnp.dtype) -> Array:
    """Floats as `dtype`; whole numbers are rounded to the nearest, and clipped."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return values.astype(dtype)
    range = jnp.iinfo(dtype)
    return jnp.clip(jnp.round(values), range.min, range.max).astype(dtype)


def _centres(low: Array, high: Array, count: int) -> Array:
    """[B,count]: where in the input the centres of the output pixels lie."""
    share = pixel_centres(count)[None] / count
    return low[:, None] + share * (high - low)[:, None]


def pixel_centres(count: int) -> Array:
    """Coordinates [count] along an axis of so many pixels."""
    return jnp.arange(count, dtype=jnp.float32) + 0.5


def _triangles(low: Array, high: Array, extent: int, count: int) -> Array:
    """[B,count,extent]: how much each input pixel counts for each output pixel."""
    half_width = jnp.maximum((high - low) / count, 1.0)[:, None, None]
    pixels = pixel_centres(extent)[None, None]
    distance = jnp.abs(pixels - _centres(low, high, count)[..., None])
    inside = (pixels > low[:, None, None]) & (pixels < high[:, None, None])
    weights = jnp.maximum(1 - distance / half_width, 0) * inside.astype(jnp.float32)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return weights / jnp.maximum(total, jnp.finfo(total.dtype).tiny)  # of none, none


def _along_rows(weights: Array, pixels: Array) -> Array:
    """[B,R,W,C] of weights [B,R,H] and pixels [B,H,W,C]: sums over H."""
    count, height, width, channels = pixels.shape
    flat = pixels.reshape(count, height, width * channels)
    weights = jnp.broadcast_to(weights, (count, *weights.shape[1:]))
    exact = jax.lax.Precision.HIGHEST  # bytes have eight bits, as fast modes may have
    return jnp.matmul(weights, flat, precision=exact).reshape(
        count, -1, width, channels
    )


def _indices(y: Array, x: Array, height: int, width: int) -> tuple[Array, Array]:
    rows = jnp.clip(jnp.floor(y).astype(jnp.int32), 0, height - 1)
    return rows, jnp.clip(jnp.floor(x).astype(jnp.int32), 0, width - 1)


def _take(images: Array, rows: Array, columns: Array) -> Array:
    """Pixels [B,R,S,C] of images [B,H,W,C] at rows and columns [B,R,S], all inside."""

    def take(image, rows, columns):
        return image.at[rows, columns].get(mode="promise_in_bounds")

    return jax.vmap(take)(images, rows, columns)
