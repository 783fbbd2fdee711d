"""What lies around an image, where a window reaches beyond it."""

from typing import Literal

import jax.numpy as jnp
from jax import lax

from jaxvision.errors import check, unknown
from jaxvision.ops.convolution import Pads, Pair, pair
from jaxvision.ops.convolution.geometry import pad
from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array

Border = Literal["zeros", "ones", "edge", "reflect", "symmetric"] | float
"""A number is what all pixels beyond are; `zeros` and `ones` are such numbers.  `edge`
repeats the outermost pixels, `reflect` mirrors the image in the centres of them
(`dcb|abcd|cba`), and `symmetric` in their outer edges (`cba|abcd|dcb`)."""

_CONSTANTS = {"zeros": 0.0, "ones": 1.0}
_MODES = ("edge", "reflect", "symmetric")


def as_float(images_BxHxWxC: Array, what: str = "a filter") -> Array:
    """The images in float32, or float64 if they are.

    Raises `UsageError` for what is no images [B,H,W,C] of bytes or floats with at least
    one pixel.
    """
    images_BxHxWxC = jnp.asarray(images_BxHxWxC)
    shape, dtype = images_BxHxWxC.shape, images_BxHxWxC.dtype
    check(
        (
            len(shape) == 4 and min(shape[1:], default=0) > 0,
            f"{what} needs images [B,H,W,C] with at least one pixel, got {shape}: a "
            "single greyscale image is image[None, :, :, None]",
        ),
        (
            dtype == jnp.uint8 or jnp.issubdtype(dtype, jnp.floating),
            f"{what} needs bytes (uint8) or floats, got {dtype}: cast with .astype",
        ),
    )
    return images_BxHxWxC.astype(at_least_float32(dtype))


def odd(name: str, window: Pair) -> tuple[int, int]:
    """(height, width) of a window that has a middle.  Raises `UsageError`."""
    height, width = pair(name, window)
    check(
        (
            height % 2 == width % 2 == 1,
            f"{name} must be odd, so that it has a middle, got {height}×{width}",
        )
    )
    return height, width


def around(window: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Pads:
    """How far a window of odd size reaches beyond an image, on all sides."""
    rows, columns = ((k - 1) * d // 2 for k, d in zip(window, dilation, strict=True))
    return (rows, rows), (columns, columns)


def surround(images_BxHxWxC: Array, pads: Pads, border: Border) -> Array:
    """The images with `pads` ((top, bottom), (left, right)) more rows and columns.

    Raises `UsageError` for an unknown border, and for a mirror image that would be
    larger than the image.
    """
    if isinstance(border, str) and border not in _CONSTANTS:
        if border not in _MODES:
            raise unknown("border", border, (*_CONSTANTS, *_MODES))
        if border != "edge":
            size = images_BxHxWxC.shape[1:3]
            most = [n - (border == "reflect") for n in size]
            check(
                (
                    all(max(p) <= m for p, m in zip(pads, most, strict=True)),
                    f"border {border!r} has {most[0]} rows and {most[1]} columns to "
                    f"mirror of images of {size[0]}×{size[1]}, and the window reaches "
                    f"{max(pads[0])} and {max(pads[1])} beyond: use a smaller window "
                    "or border 'edge'",
                )
            )
        edges = ((0, 0), *pads, (0, 0))
        # Written once: XLA would look up every pixel anew for each tap of a window.
        return lax.optimization_barrier(jnp.pad(images_BxHxWxC, edges, mode=border))
    value = _CONSTANTS[border] if isinstance(border, str) else border
    return pad(images_BxHxWxC, pads, value)
