"""Decoding no more of a JPEG file than a crop of it needs.

A training crop is on average half of a photograph, so that much of what a full decode
computes is thrown away.  Rows below the crop are left out here, and the pixels of the
crop stay those of the full decode: the height in the header is overwritten by a smaller
one, and the decoder stops there.  What follows is then "extraneous" to it, and not
decoded.

On the 200 photographs of `benchmarks/data.py`, of 0.19 megapixels and 4.7 bits
per pixel, a full decode takes 0.95 ms of a core and this one 0.81 ms.  0.7 ms of the
former are entropy decoding, which cannot be left out above a crop: codes have no index.
To decode at 1/2 or 1/4, from fewer coefficients, would save a twentieth to a seventh of
the time, and give pixels that differ from those of Pillow's filter by up to 80 levels.

simplejpeg is as fast as OpenCV, and tells which warning of libjpeg it met: the one that
is provoked here, or damage.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import simplejpeg

from jaxvision.data.feed.crops import Box
from jaxvision.data.feed.resizing import Method, resize
from jaxvision.data.files.decoding import decode, most_pixels, open_image


def decode_box(
    encoded: bytes,
    choose: Callable[[int, int], Box],
    out: np.ndarray,
    method: Method = "bilinear",
    fill: int = 0,
) -> tuple[Box, int, int]:
    """Fill `out`, uint8 [S,T,C], with a part of an image, resized to S×T.

    Returns the part, and the height and width of the image.

    Args:
      encoded: the content of an image file.  All but ordinary JPEG files take the
        slower path of `decoding.decode`: other formats, CMYK, and what has to be
        rotated or converted to luma.
      choose: `(height, width) -> Box` of an image of that size; it may be called twice
        and must return the same.
      out: where the result is written; C is 1 for luma or 3 for RGB.
      method: how it is resized, see `resizing`.
      fill: the byte that becomes of what lies outside the image.

    Raises `DecodeError` if the image cannot be decoded as far as it is needed.
    """
    image, box, height, width = _decoded(encoded, choose, out.shape[2])
    cut(image, box, out, method, height, fill)
    return box, height, width


def decode_whole(encoded: bytes, channels: int) -> np.ndarray:
    """All pixels, uint8 [H,W,channels], as `decoding.decode` and mostly faster."""
    return _decoded(encoded, lambda height, width: Box(0, 0, height, width), channels)[
        0
    ]


def _decoded(
    encoded: bytes, choose: Callable[[int, int], Box], channels: int
) -> tuple[np.ndarray, Box, int, int]:
    """The image from its top to the bottom of the box or below; the box; its size."""
    header = _read_header(encoded)
    if header is not None and header.channels > channels:
        header = None  # CMYK, or to be luma, which is not the file's if colours clip
    if header is not None and header.height * header.width > most_pixels():
        header = None  # refused by `decoding.decode`
    if header is not None:
        height, width = header.height, header.width
        box = choose(height, width)
        image = _decode_jpeg(encoded, header, box, channels)
    if header is None or image is None:
        image = decode(encoded, channels)
        height, width = image.shape[:2]
        box = choose(height, width)
    return image, box, height, width


def cut(
    image: np.ndarray,
    box: Box,
    out: np.ndarray,
    method: Method = "bilinear",
    height: int | None = None,
    fill: int = 0,
) -> None:
    """Fill `out` with a part of an image, as `decode_box` does.

    Args:
      image: uint8 [H,W,C], or rows of it from the top that hold the box.
      box: in pixels of the image.
      out: uint8 [S,T,C].
      method: how it is resized.
      height: H; None: that of `image`.
      fill: the byte of what lies outside.
    """
    source, target = [], []
    for start, length, limit, side in (
        (box.top, box.height, height or image.shape[0], out.shape[0]),
        (box.left, box.width, image.shape[1], out.shape[1]),
    ):
        first, last = max(start, 0), min(start + length, limit)
        source.append(slice(first, last))
        low = min(round((first - start) * side / length), side - 1)
        target.append(slice(low, max(round((last - start) * side / length), low + 1)))
    inside = out[tuple(target)]
    if inside.shape != out.shape:
        out[:] = fill
    resize(image[tuple(source)], inside, method)


class _Header(NamedTuple):
    height: int
    width: int
    channels: int
    vertical_sampling: int
    """Rows of the image for each row of the coarsest channel: 1, 2 or rarely 4."""
    height_at: int
    """Where in the file the height stands, two bytes, most significant first."""
    sequential: bool
    """One scan over the image.  Of several, a truncated one would go unnoticed."""


_START, _APP1 = b"\xff\xd8", 0xE1
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2  # kinds of frame headers
_ORIENTATION = 0x0112


def _read_header(encoded: bytes) -> _Header | None:
    """Of an upright JPEG file of 8 bits per channel; None for anything else.

    ITU-T T.81, annex B: markers 0xFF.. with their lengths, up to the frame header.
    """
    if encoded[:2] != _START:
        return None
    at = 2
    while at + 18 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:  # padding between segments
            at += 1
            continue
        if marker == _APP1 and encoded[at + 4 : at + 8] == b"Exif":
            if not _is_upright(encoded):
                return None
        elif marker in (_BASELINE, _EXTENDED, _PROGRESSIVE):
            height = int.from_bytes(encoded[at + 5 : at + 7])
            width = int.from_bytes(encoded[at + 7 : at + 9])
            bits, channels = encoded[at + 4], encoded[at + 9]
            if bits != 8 or not (height and width):
                return None
            factors = encoded[at + 11 : at + 11 + 3 * channels : 3]
            sampling = max((factor & 15 for factor in factors), default=0)
            if sampling not in (1, 2, 4):
                return None
            return _Header(
                height, width, channels, sampling, at + 5, marker != _PROGRESSIVE
            )
        elif 0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return None  # a rare kind of frame
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4])
    return None


def _is_upright(encoded: bytes) -> bool:
    try:
        exif = open_image(io.BytesIO(encoded)).getexif()
        return exif.get(_ORIENTATION, 1) not in range(2, 9)
    except Exception:  # damaged metadata: decided, and worded, by `decoding.decode`
        return False


def _decode_jpeg(
    encoded: bytes | bytearray, header: _Header, box: Box, channels: int
) -> np.ndarray | None:
    """The image from its top to the box's bottom or below.

    None if there is any doubt that it is right.
    """
    rows = header.height
    # Whole blocks, with the row that follows if chroma is interpolated from it.
    sampling = header.vertical_sampling
    needed = int(min(box.top + box.height, header.height))
    needed += sampling if sampling > 1 else 0
    enough = -(-needed // (8 * sampling)) * 8 * sampling
    if header.sequential and enough < rows:
        rows = enough
        patched = bytearray(encoded)
        patched[header.height_at : header.height_at + 2] = rows.to_bytes(2)
        encoded = patched
    image = np.empty((rows, header.width, channels), np.uint8)
    try:
        decoded = simplejpeg.decode_jpeg(
            encoded, "GRAY" if channels == 1 else "RGB", buffer=image
        )
    except ValueError as error:
        # The first of libjpeg's warnings, raised when all rows were decoded.
        return image if "extraneous bytes before marker" in str(error) else None
    return image if decoded.shape == image.shape else None
