"""How images become what a model takes, on the host and on the device.

A pipeline prepares the images of its set, and a `Preparation` does the same to images
from elsewhere: for prediction, and saved beside the weights.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data.feed.crops import Box, Crop
from jaxvision.data.feed.resizing import resize_as_pillow
from jaxvision.data.files import decoding, fields, reading
from jaxvision.data.files.decoding import DecodeError
from jaxvision.data.files.problems import listed
from jaxvision.errors import UsageError
from jaxvision.ops import augment
from jaxvision.ops.augment import Transform
from jaxvision.recipes import CROPS, recipe_of

VERSION = 1
"""Of what `Preparation.save` returns."""

Picture = str | os.PathLike[str] | bytes | np.ndarray
"""A path, the content of an image file, or pixels uint8 [H,W] or [H,W,C]."""


class Prepared(NamedTuple):
    """Pictures as the device takes them, and where they come from."""

    images: np.ndarray
    """uint8 [N,S,T,C]."""
    sizes: np.ndarray
    """int32 [N,2]: height and width of the pictures, upright."""
    taken: np.ndarray
    """float32 [N,4]: the part of each that its image shows, as in `types.Batch`."""


class Preparation(NamedTuple):
    """How an image becomes the input of a model, as in an evaluation pipeline."""

    channels: int
    """Of the images that `transform` takes: 1 for luma, 3 for RGB."""
    crop: Crop
    """Which part of an image is taken, and to what size it is resized, on the host;
    `crops.uncropped` where all images have one size already."""
    transform: Transform
    """`(key, batch) -> batch` on the device, from bytes to what the model takes."""
    original: bool = False
    """Whether the evaluation is at full resolution (`canvas` of `data.evaluation`): a
    data set is then measured so."""

    def images(
        self,
        pictures: Sequence[Picture],
        unreadable: Callable[[int, str], None] | None = None,
    ) -> np.ndarray:
        """The host's part: uint8 [N,S,T,C], decoded, cropped and resized.

        Bit for bit what the pipeline streams for the same file: EXIF orientation is
        undone, transparency laid over white, and colours become luma, or greys RGB,
        where `channels` asks for it (see `files.decoding`).  An array gives what a
        lossless file of its pixels would.

        Raises one `UsageError` that names all pictures that cannot be read or, without
        a crop, have another size; or calls `unreadable` with the place and the reason
        of each, and leaves it black.
        """
        return self.prepared(pictures, unreadable).images

    def prepared(
        self,
        pictures: Sequence[Picture],
        unreadable: Callable[[int, str], None] | None = None,
    ) -> Prepared:
        """The same with the size of each picture, and the part that was taken of it."""
        if isinstance(pictures, str | bytes | os.PathLike):
            raise UsageError(
                f"expected a list of images, got {str(pictures)!r:.80}: write [image]"
            )
        count, size = len(pictures), self.crop.size
        images = np.zeros((count, *size, self.channels), np.uint8)
        sizes = np.tile(np.array(size, np.int32), (count, 1))
        taken = np.tile(np.array((0, 0, *size[::-1]), np.float32), (count, 1))

        def fill(i: int) -> str | None:
            try:
                content = _content(pictures[i], self.channels)
                box, *sizes[i] = prepare(content, self.crop, (), images[i])
                taken[i] = box.corners()
            except DecodeError as error:
                return f"{_called(pictures[i], i)}: {error}"
            except OSError as error:
                return f"{_called(pictures[i], i)}: {error.strerror or error}"
            return None

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(fill, range(len(pictures))))
        problems = [what for what in found if what]
        if unreadable is not None:
            for i, what in enumerate(found):
                if what:
                    unreadable(i, what)
        elif problems:
            raise UsageError(
                f"{len(problems)} of {len(pictures)} images cannot be prepared:"
                f"{listed(problems)}"
            )
        return Prepared(images, sizes, taken)

    def save(self) -> dict[str, Any]:
        """All of it as JSON can hold it; `load` is the inverse.

        Raises `UsageError` for a crop or a transform that is the user's own function.
        """
        crop = recipe_of(self.crop)
        transform = recipe_of(self.transform)
        if crop is None:
            raise _unsaved("crop", self.crop.choose, "data.feed.crops")
        if transform is None:
            raise _unsaved("transform", self.transform, "ops.augment")
        return {
            "version": VERSION,
            "channels": self.channels,
            "crop": crop,
            "transform": transform,
            **({"original": True} if self.original else {}),
        }

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> "Preparation":
        """The preparation that `save` wrote.

        Raises `UsageError` for another format version, for names it does not know, and
        for what is no preparation.
        """
        version = saved.get("version") if isinstance(saved, Mapping) else None
        if version != VERSION:
            raise UsageError(
                f"the preparation has the format version {version!r}, and this version "
                f"of jaxvision reads {VERSION}: read it with the one that wrote it"
            )
        try:
            return cls(
                channels=fields.whole(saved["channels"]),
                crop=CROPS.make(saved["crop"]),
                transform=augment.from_recipe(saved["transform"]),
                original=fields.truth(saved.get("original")),
            )
        except UsageError:
            raise
        except Exception as error:  # of any kind: values go to functions as they are
            raise UsageError(
                f"the preparation is damaged ({type(error).__name__}: {error}): save "
                "it again from the run"
            ) from error


def prepare(
    content: bytes | np.ndarray, crop: Crop, draws: Sequence[float], out: np.ndarray
) -> tuple[Box, int, int]:
    """Fill `out`, uint8 [S,T,C], with what the crop takes of one image.

    Args:
      content: of an image file, or pixels uint8 [H,W,C].
      crop: of the size of `out`.
      draws: the random numbers of the crop.

    Returns the part that was taken, and the height and width of the image.  Raises
    `DecodeError` if it cannot be decoded.
    """
    from jaxvision.data.feed.jpeg import cut, decode_box, decode_whole

    if crop.resized is not None:
        if not isinstance(content, np.ndarray):
            content = decode_whole(content, out.shape[2])
        height, width = content.shape[:2]
        size = crop.resized(height, width)
        whole = np.empty((*size, out.shape[2]), np.uint8)
        resize_as_pillow(content, whole, crop.method)
        top, left, rows, columns = map(int, crop.choose(*size, iter(draws)))
        out[:] = whole[top : top + rows, left : left + columns]
        down, across = height / size[0], width / size[1]
        taken = Box(top * down, left * across, rows * down, columns * across)
        return taken, height, width

    def choose(height: int, width: int) -> Box:
        return crop.choose(height, width, iter(draws))

    if isinstance(content, np.ndarray):
        height, width = content.shape[:2]
        box = choose(height, width)
        cut(content, box, out, crop.method, fill=crop.fill)
        return box, height, width
    return decode_box(content, choose, out, crop.method, crop.fill)


def _content(picture: Picture, channels: int) -> bytes | np.ndarray:
    if not isinstance(picture, np.ndarray):
        if channels not in (1, 3):
            raise DecodeError(
                f"image files give 1 or 3 channels, not the expected {channels}: pass "
                "pixels"
            )
        return picture if isinstance(picture, bytes) else reading.read_bytes(picture)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or 0 in picture.shape:
        raise DecodeError(
            f"it is {picture.dtype} {list(picture.shape)}: expected pixels uint8 "
            "[H,W] or [H,W,C] from 0 to 255"
        )
    pixels = picture if picture.ndim == 3 else picture[..., None]
    if pixels.shape[2] != channels:
        pixels = decoding.converted(np.ascontiguousarray(pixels), channels)
    return np.ascontiguousarray(pixels)


def _called(picture: Picture, i: int) -> str:
    if isinstance(picture, bytes | np.ndarray):
        return f"image {i}"
    return os.fspath(picture)


def _unsaved(what: str, function: Any, module: str) -> UsageError:
    name = getattr(function, "__qualname__", None) or repr(function)
    return UsageError(
        f"the {what} {name} of {getattr(function, '__module__', 'unknown origin')} "
        f"cannot be saved: only those that functions of jaxvision.{module} make can.  "
        "Make it of these, or keep the code and build the preparation from it again"
    )
