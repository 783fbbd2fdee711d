"""Labelled image files as sources: what a folder and a table have in common.

What becomes of files that cannot be read: nothing is ever dropped silently.  The header
and the end of every file are checked before a source exists, and all pixels when it is
read, and each time one error names all files that fail.  The user replaces them, or
takes them out of the set by name; then `Source.size` counts without them.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvision.data import array_cache
from jaxvision.data.carving import TEST_SHARE, Subset, stratified
from jaxvision.data.decoding import DecodeError, decode, inspect
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError
from jaxvision.files import replace_text, user_cache

_LISTED = 20
_CACHED_FROM = 2_000  # files; fewer are inspected in a fraction of a second
_CACHE_VERSION = 1  # to be raised when `inspect` gives other results than before


class Labelled(NamedTuple):
    """Files and what they show."""

    paths: tuple[str, ...]
    """Relative to the root of the set."""
    labels: np.ndarray
    """int32 [N], from 0 to the number of classes - 1."""


@dataclass(frozen=True)
class ImageFiles:
    """The files of one split: `Source.encoded`, with what to say if they are broken."""

    root: Path
    paths: tuple[str, ...]
    channels: int
    remedy: str
    """What the user can do about a broken file but replace it."""

    def __call__(self, i: int) -> bytes:
        return (self.root / self.paths[i]).read_bytes()

    def decode(self, i: int) -> np.ndarray:
        try:
            return decode(self(i), self.channels)
        except OSError as error:
            raise DecodeError(error.strerror or str(error)) from error

    def visit(self, look: Callable[[int], object], doing: str) -> None:
        """Call `look` on every index.

        Raises one `UsageError` for all files on which `look` raised `DecodeError`.
        """
        broken: list[tuple[str, str]] = []

        def look_at(block: range) -> None:
            for i in block:
                try:
                    look(i)
                except DecodeError as error:
                    broken.append((self.paths[i], str(error)))

        count = len(self.paths)
        blocks = [range(i, min(i + 64, count)) for i in range(0, count, 64)]
        with ThreadPoolExecutor() as pool:
            for _ in _progress(pool.map(look_at, blocks), blocks, doing):
                pass
        if broken:
            raise _unreadable(self, sorted(broken))


def splits(
    name: str,
    root: Path,
    train: Labelled,
    test: Labelled | None,
    class_names: tuple[str, ...],
    remedy: str,
) -> Splits:
    """Sources of labelled files, once all of them look like images.

    Without `test`, a fifth of each class is held out for it: the same images as long as
    the set has the same files.  Images are RGB unless all are greyscale; the shape is
    that which all images of both splits share.

    Raises `UsageError` naming the files whose header or end is not that of an image.
    """
    if test is None:
        train, test = _carve_test(name, train)
    paths = train.paths + test.paths
    shapes = _shapes(ImageFiles(root, paths, 3, remedy))
    heights, widths, channels = (set(column.tolist()) for column in shapes.T)
    image_shape = (
        heights.pop() if len(heights) == 1 else None,
        widths.pop() if len(widths) == 1 else None,
        max(channels),
    )
    if None in image_shape[:2]:
        image_shape = (None, None, image_shape[2])

    def source(split: str, files: Labelled) -> Source:
        encoded = ImageFiles(root, files.paths, image_shape[2], remedy)
        files.labels.flags.writeable = False
        return Source(
            name=f"{name}:{split}",
            size=len(files.paths),
            image_shape=image_shape,
            class_names=class_names,
            read=lambda: _read(f"{name}:{split}", encoded, files.labels, image_shape),
            labels=lambda: files.labels,
            encoded=encoded,
        )

    return Splits(train=source("train", train), test=source("test", test))


def verify(source: Source) -> None:
    """Decode every file of a source, and of the one it was carved from.

    For streaming, where a damaged file shows when its turn comes.  Called on the first
    failure, this names all others with it, so that a run fails once and not once an
    hour.  Does nothing for sources that are not made of files.

    Raises one `UsageError` for all files that cannot be decoded.
    """
    files = source.encoded
    while isinstance(files, Subset):
        files = files.whole
    if isinstance(files, ImageFiles):
        files.visit(files.decode, "decoding all images")


def _carve_test(name: str, train: Labelled) -> tuple[Labelled, Labelled]:
    size = round(TEST_SHARE * len(train.paths))
    if size == 0:
        raise UsageError(
            f"{name} has {len(train.paths)} images and no test split: too few to hold "
            "some out for a test, so add more, or a test split"
        )
    held_out = stratified(train.labels, size, seed=0)
    paths = np.array(train.paths, object)
    return (
        Labelled(tuple(paths[~held_out]), train.labels[~held_out]),
        Labelled(tuple(paths[held_out]), train.labels[held_out]),
    )


def _read(
    name: str,
    files: ImageFiles,
    labels: np.ndarray,
    shape: tuple[int | None, int | None, int],
) -> dict[str, np.ndarray]:
    height, width, channels = shape
    if height is None or width is None:
        raise UsageError(
            f"the images of {name} differ in size, so that they cannot be one array: "
            "choose an experiment that streams and crops them, or resize the files"
        )
    images = np.empty((len(labels), height, width, channels), np.uint8)

    def fill(i: int) -> None:
        image = files.decode(i)
        if image.shape != shape:
            raise DecodeError(f"is {_size(image.shape)} now, was {_size(shape)}")
        images[i] = image

    files.visit(fill, f"reading {name}")
    return {"image": images, "label": labels.copy()}


def _shapes(files: ImageFiles) -> np.ndarray:
    """Height, width and channels of all files, int32 [N,3], from a cache if there."""

    def measure() -> dict[str, np.ndarray]:
        shapes = np.empty((len(files.paths), 3), np.int32)

        def look(i: int) -> None:
            shapes[i] = inspect(files.root / files.paths[i])

        files.visit(look, "looking at all images, once")
        return {"shapes": shapes}

    if len(files.paths) < _CACHED_FROM:
        return measure()["shapes"]
    path = user_cache() / "shapes" / f"{_digest(files)}.npz"
    with contextlib.suppress(OSError):  # then it is done without
        path.parent.mkdir(parents=True, exist_ok=True)
    return array_cache.cached(path, [], measure)["shapes"]


def _digest(files: ImageFiles) -> str:
    """16 hex digits of which files there are, their sizes and times of modification."""
    root = str(files.root.absolute())
    digest = hashlib.sha256(f"{_CACHE_VERSION} {root}".encode())
    for path in files.paths:
        try:
            stat = os.stat(os.path.join(root, path))  # a Path would double the time
        except OSError:  # `inspect` will say so
            continue
        digest.update(f"\n{path} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _unreadable(files: ImageFiles, broken: Sequence[tuple[str, str]]) -> UsageError:
    listed = "".join(f"  {path}: {reason}\n" for path, reason in broken[:_LISTED])
    if len(broken) > _LISTED:
        rest = f"  … and {len(broken) - _LISTED} more"
        path = user_cache() / f"unreadable-{_digest(files)}.txt"
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, "".join(f"{path}\n" for path, _ in broken))
            rest += f"; all are listed in {path}"
        listed += f"{rest}\n"
    return UsageError(
        f"{len(broken)} of {len(files.paths)} images below {files.root} cannot be "
        f"read:\n{listed}Replace them, or {files.remedy}"
    )


def _progress(work: Iterable, blocks: Sequence[range], doing: str) -> Iterable:
    """A bar on the terminal for work that takes longer than a few seconds."""
    if len(blocks) < 500 or not sys.stderr.isatty():
        return work
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(work, doing, len(blocks), console=console, transient=True)


def _size(shape: Sequence[int | None]) -> str:
    return "×".join(map(str, shape))
