"""Measurements of each image, in one pass over a split."""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from jaxvision.data.files.decoding import DecodeError, decode
from jaxvision.data.source import Source

THUMBNAIL = 12
"""Side of the grey thumbnails by which copies are found, in pixels.  Large enough that
of the 11,000 photographs of a piece of ImageNet no two look like copies, and small
enough that half a pixel of shift, a recompression or noise still do."""

_BLOCK = 256  # images that a thread takes at a time
_LONGER_SIDE = 256  # pixels to which images are reduced before brightness is measured


class Measures(NamedTuple):
    """N images of one split.  What cannot be decoded is NaN, 0 or empty."""

    heights: np.ndarray
    """int [N], in pixels, upright."""
    widths: np.ndarray
    darkest: np.ndarray
    """float [N] in 0..1: brightness below which 1 % of the pixels lie."""
    dark: np.ndarray
    """float [N] in 0..1: that below which 5 % lie."""
    bright: np.ndarray
    """float [N] in 0..1: that above which 1 % lie."""
    sharpness: np.ndarray
    """float [N]: see `sharpness`; NaN for images without contrast."""
    digests: list[bytes]
    """Equal if and only if shape and pixels are."""
    thumbnails: np.ndarray
    """float32 [N,D]: grey, of mean 0 and length 1, so that products are correlations;
    zeros for images without contrast."""

    @property
    def readable(self) -> np.ndarray:
        """bool [N]: what could be decoded."""
        return self.heights > 0


def image_reader(source: Source) -> Callable[[int], np.ndarray]:
    """`i -> uint8 [H,W,C]`: from the files one by one, or else of all in memory.

    The function raises `DecodeError` for a damaged file.
    """
    if source.encoded is None:
        return source.read()["image"].__getitem__
    encoded, channels = source.encoded, source.image_shape[2]

    def image(i: int) -> np.ndarray:
        try:
            return decode(encoded(i), channels)
        except OSError as error:
            raise DecodeError(error.strerror or str(error)) from error

    return image


def measure(
    image: Callable[[int], np.ndarray],
    size: int,
    track: Callable[[Iterable, int], Iterable] = lambda work, count: work,
) -> Measures:
    """Measure `size` images, each of which is read once and not kept.

    `track(blocks, count)` wraps an iterable of `count` blocks, to show the progress.
    """
    found = Measures(
        heights=np.zeros(size, np.int32),
        widths=np.zeros(size, np.int32),
        darkest=np.full(size, np.nan),
        dark=np.full(size, np.nan),
        bright=np.full(size, np.nan),
        sharpness=np.full(size, np.nan),
        digests=[b""] * size,
        thumbnails=np.zeros((size, THUMBNAIL**2), np.float32),
    )

    def look(block: range) -> None:
        for i in block:
            try:
                pixels = image(i)
            except DecodeError:
                continue
            grey = _grey(pixels)
            found.heights[i], found.widths[i] = grey.shape
            found.darkest[i], found.dark[i], found.bright[i] = _brightness(pixels)
            found.sharpness[i] = sharpness(grey)
            found.thumbnails[i] = thumbnail(grey)
            found.digests[i] = _digest(pixels)

    blocks = [range(i, min(i + _BLOCK, size)) for i in range(0, size, _BLOCK)]
    with ThreadPoolExecutor() as pool:
        for _ in track(pool.map(look, blocks), len(blocks)):
            pass
    return found


def sharpness(grey: np.ndarray) -> float:
    """Energy of the Laplacian over that of the gradient, of grey [H,W].

    By Parseval's theorem about the mean squared spatial frequency of the edges: neither
    contrast nor the amount of ink changes it, and every blur lowers it.
    """
    if min(grey.shape) < 3:
        return float("nan")
    values = grey.astype(np.float32)
    slopes = np.diff(values, axis=0), np.diff(values, axis=1)
    gradient = sum(float(np.square(slope).mean()) for slope in slopes)
    if gradient < 1:  # grey levels²: all but blank
        return float("nan")
    # Only where all four neighbours are in the image: borders are no edges.
    laplacian = cv2.Laplacian(values, cv2.CV_32F)[1:-1, 1:-1]
    return float(np.square(laplacian).mean()) / gradient


def thumbnail(grey: np.ndarray) -> np.ndarray:
    """float32 [D]: the image in so few pixels, of mean 0 and length 1; or zeros."""
    size = THUMBNAIL, THUMBNAIL
    values = cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    values = values.ravel() - values.mean()
    length = np.linalg.norm(values)
    if length < THUMBNAIL:  # a standard deviation of one grey level
        return np.zeros_like(values)
    return values / length


def _brightness(pixels: np.ndarray) -> tuple[float, float, float]:
    """The percentiles 1, 5 and 99 of cleanvision's brightness, in 0..1."""
    from cleanvision.issue_managers.image_property import calc_percentile_brightness

    longer = max(pixels.shape[:2])
    if longer > _LONGER_SIDE:
        height, width = (max(1, n * _LONGER_SIDE // longer) for n in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    squeezed = pixels[..., 0] if pixels.shape[-1:] == (1,) else pixels
    found = calc_percentile_brightness(Image.fromarray(squeezed), [1, 5, 99])
    return float(found[0]), float(found[1]), float(found[2])


def _grey(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] == 1:
        return np.ascontiguousarray(pixels[..., 0])
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _digest(pixels: np.ndarray) -> bytes:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels))
    return digest.digest()
