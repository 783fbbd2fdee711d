"""Resizing on the host: what Pillow makes of an image, in a third of its time.

Where a side shrinks, the filter widens with it, so that every pixel counts
(antialiasing): each side by itself, and at any ratio.  Pixels are rounded to bytes
between the two sides, as Pillow does.

`bilinear` is fast_image_resize's, Pillow's algorithm in vector instructions, and
OpenCV's where no side shrinks.  On the 200 photographs of `benchmarks/data.py` no pixel
differs from Pillow's by more than one level of 255, and a crop for 224 pixels takes a
third of its time.  `bicubic` is Pillow's own, from which fast_image_resize's differs by
up to 15; and so is `bilinear` on Linux on ARM, for which that has no wheels.

`ops.resample`, which rounds once, is within one level of it on the device.  All of them
release Python's lock.
"""

import functools
from typing import Any, Literal, get_args

import numpy as np

from jaxvision.errors import unknown

Method = Literal["bilinear", "bicubic"]


def check_method(method: str) -> None:
    """Raises `UsageError` unless it is a `Method`."""
    if method not in get_args(Method):
        raise unknown("method of resizing", method, get_args(Method))


def resize(image: np.ndarray, out: np.ndarray, method: Method = "bilinear") -> None:
    """Fill `out`, uint8 [S,T,C], with `image`, uint8 [H,W,C], in another size."""
    height, width, channels = image.shape
    rows, columns = out.shape[:2]
    if image.shape == out.shape:
        out[:] = image
    elif method == "bilinear" and rows >= height and columns >= width:
        import cv2

        larger = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
        out[:] = larger.reshape(out.shape)
    elif method == "bilinear" and channels in (1, 3) and (fir := _fast()) is not None:
        kind = fir.PixelType.U8 if channels == 1 else fir.PixelType.U8x3
        bilinear = fir.ResizeAlg.convolution(fir.FilterType.bilinear)
        options = fir.ResizeOptions(resize_alg=bilinear, use_alpha=False)
        source = fir.ImageData(width, height, kind, image.tobytes())
        target = fir.ImageData(columns, rows, kind)
        fir.Resizer().resize(source, target, options)
        out[:] = np.frombuffer(target.get_buffer(), np.uint8).reshape(out.shape)
    else:
        resize_as_pillow(image, out, method)


def resize_as_pillow(image: np.ndarray, out: np.ndarray, method: Method) -> None:
    """The same by Pillow itself, to the bit, with which weights were tested."""
    from PIL import Image

    rows, columns = out.shape[:2]
    resample = Image.Resampling[method.upper()]
    for channel in range(image.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
        out[..., channel] = plane.resize((columns, rows), resample)


@functools.cache
def _fast() -> Any:
    """fast_image_resize; None where there is none."""
    try:
        import cykooz_resizer
    except ImportError:
        return None
    return cykooz_resizer
