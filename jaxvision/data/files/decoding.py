"""From an image file to pixels: every kind of file comes out as uint8 [H,W,C].

The rules where there is a choice:
- EXIF orientation is undone: images stand as a viewer shows them.
- Transparency of any kind is laid over white.
- 16 bits keep their high byte.  Pixels of 32 bits have no agreed range: refused.
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

from jaxvision.errors import UsageError


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
        image = _open(io.BytesIO(encoded))
        upright = _UPRIGHT[_orientation(image)]
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
        return _upright_size(_open(io.BytesIO(encoded)))


def inspect(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Height, width and channels (1 if greyscale, else 3) of what `decode` returns.

    Reads the header, and checks that the file is complete to its end.  What JPEG and
    PNG hold between the two is not read: photographs of 500×375 take a twelfth of the
    time of decoding, images of 64×64 a half.  A palette counts as colour.

    Raises `DecodeError` as `decode` does.
    """
    with _reasons(), open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise DecodeError("the file is empty")
        image = _open(file)
        height, width = _upright_size(image)
        channels = 1 if image.mode in _GREYSCALE else 3
        ending = _ENDINGS.get(image.format or "")
        if ending is None or not _ends_with(file, ending):
            image = _open(file)
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
        image = _open(io.BytesIO(encoded))
        if image.format in ("JPEG", "WEBP"):
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
    if pixels.min() < 0 or pixels.max() > 255:
        raise DecodeError(f"it holds the number {pixels.max()}: 255 is the largest")
    return pixels.astype(np.uint8)


def _looked_up(image: Any, colours: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    places = np.array([1 << 16, 1 << 8, 1], np.int32)
    codes = np.asarray(image.convert("RGB")) @ places
    known = {int(np.dot(colour, places)): number for colour, number in colours.items()}
    found, inverse = np.unique(codes, return_inverse=True)
    if unknown := sorted(set(found.tolist()) - known.keys()):
        listed = ", ".join(
            f"{code >> 16} {code >> 8 & 255} {code & 255}" for code in unknown[:5]
        )
        raise DecodeError(f"label_colors.txt does not list its colours {listed}")
    table = np.array([known[code] for code in found.tolist()], np.uint8)
    return table[inverse].reshape(codes.shape)


_GREYSCALE = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
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


def _open(file: IO[bytes]) -> Any:
    from PIL import Image, UnidentifiedImageError

    file.seek(0)
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise DecodeError("not an image, or damaged in its first bytes") from None


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1–8, that is still to be undone; 1 is upright.

    Must be called before the pixels are loaded.
    """
    if image.format == "TIFF":
        return 1  # Pillow turns those while it loads them
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the pixels to find EXIF after them
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
