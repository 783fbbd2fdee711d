"""From an image file to pixels: every kind of file comes out as uint8 [H,W,C].

The rules where there is a choice:
- The formats are JPEG, PNG, WebP, GIF, BMP, TIFF, PPM and PGM, and no others that
  Pillow can open, some of which it hands to other programs.
- An image has at most `MOST_PIXELS`, unless the environment says otherwise.
- EXIF orientation is undone: images stand as a viewer shows them.
- Transparency of any kind is laid over white.
- 16 bits keep their high byte.  A file whose values are all below 4,096 holds data of
  fewer bits, would come out nearly black, and is refused.  Pixels of 32 bits have no
  agreed range: refused.
- CMYK and YCCK become RGB by Pillow's plain formula; colour profiles are not applied.
- One channel from colour is luma (ITU-R BT.601); three from greyscale are equal.
- Of an animation, or of several pages, the first image is taken.

Masks, whose pixels are class numbers, come out as uint8 [H,W]: see `numbers`.
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from jaxvision.data.files import reading
from jaxvision.errors import UsageError

MOST_PIXELS = 89_478_485
"""Pixels of an image, at most: Pillow's own bound, a quarter of a GiB of RGB.  Decoding
takes up to 24 bytes for each."""

SWITCH = "JAXVISION_MAX_PIXELS"
"""An environment variable: another bound in place of `MOST_PIXELS`."""


class DecodeError(UsageError):
    """The bytes are not a whole image.  The message says why; callers name the file."""


def decode(encoded: bytes, channels: int) -> np.ndarray:
    """The pixels, uint8 [H,W,channels], of an encoded image.

    Args:
      encoded: the content of a JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or PGM file.
      channels: 1 for luma, 3 for RGB.

    Raises `DecodeError` if they cannot be read, or not to their end.
    """
    with _reasons():
        if not encoded:
            raise DecodeError("the file is empty")
        image = open_image(io.BytesIO(_without_text(encoded)))
        upright = _UPRIGHT[_orientation(image)]
        if image.format in _JPEG:
            _check_complete(encoded)
        return np.ascontiguousarray(upright(_pixels(image, channels)))


def converted(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels uint8 [H,W,C] as `decode` would give them, uint8 [H,W,channels].

    C is 1 or 3, or 2 or 4 with an alpha channel.  Raises `DecodeError` for another.
    """
    from PIL import Image

    if not 1 <= pixels.shape[2] <= 4:
        raise DecodeError(f"it has {pixels.shape[2]} channels: expected {channels}")
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return _pixels(image, channels)


def size(encoded: bytes) -> tuple[int, int]:
    """Height and width of what `decode` returns, from the header alone.

    Raises `DecodeError` if that cannot be read.
    """
    with _reasons():
        return _upright_size(open_image(io.BytesIO(encoded)))


def most_pixels() -> int:
    """How many pixels an image may have.

    Raises `UsageError` if the environment's `SWITCH` is no positive whole number.
    """
    given = os.environ.get(SWITCH, "")
    if not given:
        return MOST_PIXELS
    if not given.isdecimal() or len(given) > 18 or int(given) == 0:
        raise UsageError(f"{SWITCH} is {given!r:.40}: set it to a number of pixels")
    return int(given)


def open_image(file: IO[bytes]) -> Any:
    """An image of Pillow's of which only the header has been read.

    Every file that the package decodes is opened here.  Raises `DecodeError` for other
    formats than those promised, and for an image of more than `most_pixels()`.
    """
    from PIL import Image, UnidentifiedImageError

    most = most_pixels()
    if Image.MAX_IMAGE_PIXELS is not None and most > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = most  # it is the user who asked for more
    bomb = Image.DecompressionBombError, Image.DecompressionBombWarning
    too_large = (
        f"it has more than {most:,} pixels: make it smaller, or set {SWITCH} to as "
        "many as memory is there for"
    )
    file.seek(0)
    try:
        try:
            image = Image.open(file, formats=_FORMATS)
        except ValueError:  # Pillow's bound of the text in a PNG
            file.seek(0)
            rest = _without_text(file.read())
            image = Image.open(io.BytesIO(rest), formats=_FORMATS)
    except UnidentifiedImageError:
        file.seek(4)
        if file.read(8) in _HEIF:
            raise DecodeError(
                "it is HEIC or AVIF, which is not read: save it as JPEG"
            ) from None
        raise DecodeError(
            f"not an image of the formats {', '.join(_FORMATS)}, or damaged in its "
            "first bytes"
        ) from None
    except bomb as error:
        raise DecodeError(too_large) from error
    if image.width * image.height > most:
        raise DecodeError(too_large)
    return image


def inspect(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Height, width and channels (1 if greyscale, else 3) of what `decode` returns.

    Reads the header, and checks that the file is complete to its end.  What JPEG and
    PNG hold between the two is not read: photographs of 500×375 take a twelfth of the
    time of decoding, images of 64×64 a half.  A palette counts as colour.

    Raises `DecodeError` as `decode` does.
    """
    with _reasons(), reading.open_file(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise DecodeError("the file is empty")
        image = open_image(file)
        height, width = _upright_size(image)
        channels = 1 if image.mode in _GREYSCALE else 3
        ending = _ENDINGS.get(image.format or "")
        deep = _has_16_bits(image)  # of which all values tell whether they are used
        if ending is None or deep or not _ends_with(file, ending):
            file.seek(0)
            image = open_image(io.BytesIO(_without_text(file.read())))
            _pixels(image, channels)
        return height, width, channels


def numbers(
    encoded: bytes, colours: Mapping[tuple[int, int, int], int] | None = None
) -> np.ndarray:
    """The class numbers, uint8 [H,W], of the pixels of a mask.

    With `colours`, the number of each pixel's RGB value.  Without, the index into a
    palette, or the grey level, also of colour images whose channels are equal.

    Raises `DecodeError` as `decode` does, for a format that does not keep numbers, for
    a colour that is not in `colours`, and without them for pixels that have a colour.
    """
    with _reasons():
        image = open_image(io.BytesIO(_without_text(encoded)))
        if image.format in (*_JPEG, "WEBP"):
            raise DecodeError(
                f"{image.format} may change the numbers of a mask: save it as PNG, "
                "from the original"
            )
        upright = _UPRIGHT[_orientation(image)]
        found = _grey(image) if colours is None else _looked_up(image, colours)
        return np.ascontiguousarray(upright(found))


def _grey(image: Any) -> np.ndarray:
    pixels = np.asarray(image)  # of a palette, the indices
    if pixels.ndim == 3:
        opaque = pixels[..., : {2: 1, 4: 3}.get(pixels.shape[2], 3)]
        pixels = opaque[..., 0]
        if (opaque != opaque[..., :1]).any():
            raise DecodeError(
                "it is a colour image, and there is no label_colors.txt that assigns "
                "classes to its colours"
            )
    if not np.isfinite(pixels).all() or (pixels % 1 != 0).any():
        raise DecodeError("it holds numbers that are not whole: classes go from 0 on")
    if pixels.min() < 0 or pixels.max() > 255:
        worst = pixels.min() if pixels.min() < 0 else pixels.max()
        raise DecodeError(f"it holds the number {worst:g}: classes go from 0 to 255")
    return pixels.astype(np.uint8)


def _looked_up(image: Any, colours: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    places = np.array([1 << 16, 1 << 8, 1], np.int32)
    known = {int(np.dot(colour, places)): number for colour, number in colours.items()}
    pixels = np.asarray(image.convert("RGB"))
    classes = np.empty(pixels.shape[:2], np.uint8)
    unknown: set[int] = set()
    for top in range(0, len(pixels), _ROWS):  # sorting takes 16 times their memory
        codes = pixels[top : top + _ROWS] @ places
        found, inverse = np.unique(codes, return_inverse=True)
        unknown |= set(found.tolist()) - known.keys()
        table = np.array([known.get(code, 0) for code in found.tolist()], np.uint8)
        classes[top : top + _ROWS] = table[inverse].reshape(codes.shape)
    if unknown:
        listed = ", ".join(
            f"{code >> 16} {code >> 8 & 255} {code & 255}"
            for code in sorted(unknown)[:5]
        )
        raise DecodeError(f"label_colors.txt does not list its colours {listed}")
    return classes


_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
_HEIF = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"mif1", b"avif"))
_JPEG = ("JPEG", "MPO")  # the second has more images after the first
_ROWS = 256
_GREYSCALE = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_PNG, _TEXTS = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt")
_LACKING = ("premature end of data", "bad Huffman code", "instead of RST")
"""Warnings of libjpeg; others are of extraneous bytes, which do no harm."""
_ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1–8, that is still to be undone; 1 is upright.

    Must be called before the pixels are loaded.
    """
    if image.format == "TIFF":
        return 1  # Pillow turns those while it loads them
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the pixels to find EXIF after them
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)  # Pillow would look there as well; viewers do not
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # damaged metadata are no reason to lose the image
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _upright_size(image: Any) -> tuple[int, int]:
    """Height and width.  Must be called before the pixels are loaded."""
    width, height = image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)


def _pixels(image: Any, channels: int) -> np.ndarray:
    from PIL import Image

    if _has_16_bits(image):
        _check_depth(image)
    # Pillow opens a PGM of 16 bits in a mode of 32.
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DecodeError("its pixels have 32 bits: convert them to 8 or 16")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def _has_16_bits(image: Any) -> bool:
    """Must be called before the pixels are loaded."""
    return ";16" in str(getattr(image, "tile", "")) or image.mode.startswith("I;16")


def _check_depth(image: Any) -> None:
    """Refuse 16 bits of which the upper four are not used."""
    image.load()
    if image.mode == "CMYK":
        return  # zero is white there
    if image.mode.startswith("I"):
        _, highest = image.getextrema()
    else:  # Pillow has dropped the low byte
        opaque = image.convert(image.mode.removesuffix("A"))
        highest = int(np.max(opaque)) << 8
    if 0 < highest < 4096:
        raise DecodeError(
            f"its values of 16 bits are {highest:,} at most, so that it would be "
            "nearly black: scale them to 0…65,535 (those of 12 bits by 16), or save "
            "8 bits"
        )


def _check_complete(encoded: bytes) -> None:
    """Refuse a JPEG that lacks some of its pixels, which Pillow fills with grey."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(encoded, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if any(words in str(error) for words in _LACKING):
            raise DecodeError(f"it lacks some of its pixels ({error})") from error


def _without_text(encoded: bytes) -> bytes:
    """A PNG without its texts, of which Pillow reads a megabyte at most."""
    if not encoded.startswith(_PNG) or not any(kind in encoded for kind in _TEXTS):
        return encoded
    kept, at = [_PNG], len(_PNG)
    while at + 8 <= len(encoded):
        end = at + 12 + int.from_bytes(encoded[at : at + 4])
        if encoded[at + 4 : at + 8] not in _TEXTS:
            kept.append(encoded[at:end])
        at = end
    return b"".join([*kept, encoded[at:]])


def _ends_with(file: IO[bytes], ending: bytes) -> bool:
    file.seek(-len(ending), os.SEEK_END)
    return file.read() == ending


@contextmanager
def _reasons() -> Iterator[None]:
    """On damaged files Pillow raises a dozen kinds of exception."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DecodeError(reason) from error
