"""Annotated image files as sources: what all kinds of sets of files have in common.

Files that cannot be read are never dropped silently.  The header and the end of every
file are checked before a source exists, and all pixels when it is read; each time one
error names all files that fail.  The user replaces them, or leaves them out by name,
and `Source.size` is then the number of those that are left.
"""

import contextlib
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvision.data import array_cache, progress
from jaxvision.data.carving import SEED, TEST_SHARE, choice_of, stratified
from jaxvision.data.files import fields, reading
from jaxvision.data.files.decoding import (
    DecodeError,
    decode,
    inspect,
)
from jaxvision.data.files.problems import LISTED, some
from jaxvision.data.files.split_names import check_undivided
from jaxvision.data.rows import Joined, Subset
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError
from jaxvision.files import replace_text, user_cache
from jaxvision.skeletons import Skeleton

_CACHED_FROM = 2_000  # files; fewer are inspected in a fraction of a second
_CACHE_VERSION = 3  # to be raised when a survey gives other results than before


class Annotated(NamedTuple):
    """Image files and their annotations."""

    paths: tuple[str, ...]
    """Relative to the root of the set."""
    targets: dict[str, np.ndarray]
    """`{"label": int32 [N], …}`, as `Source.targets` returns them."""
    maps: Callable[[int], dict[str, np.ndarray]] | None = None
    """As `Source.maps`: may decode files, and raise `DecodeError`."""
    shapes: np.ndarray | None = None
    """The result of `shapes`, if it is known already."""

    def rows(self, mask: np.ndarray) -> "Annotated":
        """Those of the examples for which the mask, bool [N], is true."""
        rows = np.flatnonzero(mask)
        return Annotated(
            paths=tuple(self.paths[row] for row in rows),
            targets={name: array[rows] for name, array in self.targets.items()},
            maps=self.maps and Subset(self.maps, lambda: rows),
            shapes=None if self.shapes is None else self.shapes[rows],
        )


@dataclass(frozen=True)
class ImageFiles:
    """The files of one split: `Source.encoded`, with advice for broken ones."""

    root: Path
    paths: tuple[str, ...]
    channels: int
    remedy: str
    """What the user can do with a broken file instead of replacing it."""

    def __call__(self, i: int) -> bytes:
        return reading.read_bytes(self.root / self.paths[i])

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
            looked = pool.map(look_at, blocks)
            for _ in progress.bar(looked, len(blocks), doing, least=500):
                pass
        if broken:
            raise _unreadable(self, sorted(broken))


def splits(
    name: str,
    root: Path,
    parts: Sequence[Annotated],
    words: Sequence[str],
    class_names: tuple[str, ...],
    remedy: str,
    known: Container[str] = (),
    skeleton: Skeleton | None = None,
) -> Splits:
    """Sources of annotated files, once all of them look like images.

    Where there is but one part, a fifth of each class is held out for testing: the same
    images as long as the set has the same files.  Images are RGB unless all are
    greyscale; the shape is that which all images of all splits share.

    Args:
      parts: the splits that are declared, in the order of `Splits`.
      words: as `split_names.Choice.words`.
      known: as in `split_names.check_undivided`.
      skeleton: of the keypoints, where there are any.

    Raises `UsageError` naming the files whose header or end is not that of an image, or
    whose names are not UTF-8 (neither a record nor a picture could show them), and
    those that are in two splits, by whatever links; for a split that is declared and
    has no image; and where a test split is to be held out, as `check_undivided`.
    """
    _check_images(name, parts, ("the training split", *words))
    _check_encoding(root, [path for part in parts for path in part.paths])
    if len(parts) == 1:
        (whole,) = parts
        check_undivided(name, root, whole.paths, known)
        parts = _carve_test(name, whole)
        words = [choice_of(len(parts[1].paths), len(whole.paths), words[0])]
    else:
        _check_disjoint(name, root, [part.paths for part in parts])
    known_shapes = [part.shapes for part in parts if part.shapes is not None]
    if len(known_shapes) == len(parts):
        found = np.concatenate(known_shapes)
    else:
        every = tuple(path for part in parts for path in part.paths)
        found = shapes(root, every, remedy)
    ends = np.cumsum([len(part.paths) for part in parts])
    sizes = np.split(found[:, :2], ends[:-1])
    heights, widths, channels = (set(column.tolist()) for column in found.T)
    image_shape = (
        heights.pop() if len(heights) == 1 else None,
        widths.pop() if len(widths) == 1 else None,
        max(channels),
    )
    if None in image_shape[:2]:
        image_shape = (None, None, image_shape[2])

    def source(split: str, files: Annotated, choice: str, sizes: np.ndarray) -> Source:
        encoded = ImageFiles(root, files.paths, image_shape[2], remedy)
        for array in files.targets.values():
            array.flags.writeable = False
        return Source(
            name=f"{name}:{split}",
            size=len(files.paths),
            image_shape=image_shape,
            class_names=class_names,
            read=lambda: _read(f"{name}:{split}", encoded, files, image_shape),
            targets=lambda: dict(files.targets),
            encoded=encoded,
            maps=files.maps,
            sizes=lambda: sizes,
            skeleton=skeleton,
            choice=choice,
        )

    return Splits(*map(source, Splits._fields, parts, ["", *words], sizes))


def shapes(root: Path, paths: tuple[str, ...], remedy: str) -> np.ndarray:
    """Height, width and channels of image files, int32 [N,3], upright.

    Raises `UsageError` naming the files whose header or end is not that of an image.
    """
    return survey(ImageFiles(root, paths, 3, remedy), "images", inspect, 3)


def survey(
    files: ImageFiles, what: str, look: Callable[[Path], Sequence[int]], columns: int
) -> np.ndarray:
    """The result of `look(path)` for each file, int32 [N,columns].

    Results for many files are kept in the user's cache until a file changes; `what`,
    such as "images", says which results they are.  Raises `UsageError` that names the
    files for which `look` raises `DecodeError`.
    """

    def measure() -> dict[str, np.ndarray]:
        rows = np.empty((len(files.paths), columns), np.int32)

        def look_at(i: int) -> None:
            rows[i] = look(files.root / files.paths[i])

        files.visit(look_at, f"looking at all {what}, once")
        return {"rows": rows}

    if len(files.paths) < _CACHED_FROM:
        return measure()["rows"]
    path = user_cache() / "surveys" / f"{_digest(files, what)}.npz"
    with contextlib.suppress(OSError):  # then it is done without
        path.parent.mkdir(parents=True, exist_ok=True)
    return array_cache.cached(path, [], measure)["rows"]


def verify(source: Source) -> None:
    """Decode every file of a source, and of the one it was carved from.

    For streaming, which meets a damaged file only when its turn comes.  Called at the
    first failure, this names all others with it, so that a run fails once and not once
    an hour.  Does nothing for sources that are not made of files.

    Raises one `UsageError` for all files that cannot be decoded.
    """
    files, maps = source.encoded, source.maps
    while isinstance(files, Subset):
        files = files.whole
        maps = maps.whole if isinstance(maps, Subset) else maps
    if isinstance(files, Joined):
        of_maps = maps.parts if isinstance(maps, Joined) else [None] * len(files.parts)
        for part, its_maps in zip(files.parts, of_maps, strict=True):
            verify(source._replace(encoded=part, maps=its_maps))
        return
    if not isinstance(files, ImageFiles):
        return

    def look_at(i: int) -> None:
        files.decode(i)
        if maps is not None:
            maps(i)

    files.visit(look_at, "decoding all images")


def _carve_test(name: str, train: Annotated) -> tuple[Annotated, Annotated]:
    size = round(TEST_SHARE * len(train.paths))
    if size == 0:
        raise UsageError(
            f"{name} has {len(train.paths)} images and no test split: too few to hold "
            "some out for a test, so add more, or a test split"
        )
    labels = train.targets.get("label", np.zeros(len(train.paths), np.int32))
    held_out = stratified(labels, size, SEED)
    return train.rows(~held_out), train.rows(held_out)


_USES = ("trained on", "tested on", "validated on")
"""What is done with the splits, in the order of `Splits`."""


def _check_images(name: str, parts: Sequence[Annotated], words: Sequence[str]) -> None:
    for part, use, choice in zip(parts, _USES, words, strict=False):
        if not part.paths:
            raise UsageError(
                f"{name} has no image to be {use}: there is none in {choice}.  Add "
                "some, or remove what declares that split"
            )


def _check_disjoint(name: str, root: Path, splits: Sequence[Sequence[str]]) -> None:
    @functools.cache
    def real_folder(folder: str) -> str:
        return os.path.realpath(root / folder)

    def real(path: str) -> str:
        folder, file = os.path.split(path)
        place = os.path.join(real_folder(folder), file)
        return os.path.realpath(place) if os.path.islink(place) else place

    places = [{real(path): path for path in paths} for paths in splits]
    used = zip(places, _USES, strict=False)
    for (earlier, use), (later, again) in itertools.combinations(used, 2):
        if both := [path for place, path in later.items() if place in earlier]:
            raise UsageError(
                f"{name} would be {again} {len(both)} images that it is {use}, such "
                f"as {some(both)}: give each image to one split"
            )


def _check_encoding(root: Path, paths: Sequence[str]) -> None:
    foreign = [path for path in (str(root), *paths) if not fields.is_unicode(path)]
    if foreign:
        raise UsageError(
            f"the names of {len(foreign)} files or folders are not UTF-8, such as "
            f"{foreign[0]!a}: rename them, for example with "
            "convmv -f latin1 -t utf8 -r --notest FOLDER"
        )


def _read(
    name: str,
    files: ImageFiles,
    annotated: Annotated,
    shape: tuple[int | None, int | None, int],
) -> dict[str, np.ndarray]:
    height, width, channels = shape
    if height is None or width is None:
        raise UsageError(
            f"the images of {name} differ in size, so that they cannot be one array: "
            "choose an experiment that streams and crops them, or resize the files"
        )
    count = len(annotated.paths)
    arrays = {"image": np.empty((count, height, width, channels), np.uint8)}
    if annotated.maps is not None:
        for key, first in annotated.maps(0).items():
            arrays[key] = np.empty((count, *first.shape), first.dtype)

    def fill(i: int) -> None:
        image = files.decode(i)
        if image.shape != shape:
            raise DecodeError(f"is {_size(image.shape)} now, was {_size(shape)}")
        arrays["image"][i] = image
        if annotated.maps is not None:
            for key, array in annotated.maps(i).items():
                if array.shape != arrays[key].shape[1:]:
                    raise DecodeError(
                        f"its {key} is {_size(array.shape)} now, "
                        f"was {_size(arrays[key].shape[1:])}"
                    )
                arrays[key][i] = array

    files.visit(fill, f"reading {name}")
    return arrays | {key: array.copy() for key, array in annotated.targets.items()}


def _digest(files: ImageFiles, what: str) -> str:
    """16 hex digits of which files there are, their sizes and times of modification."""
    root = str(files.root.absolute())
    digest = hashlib.sha256(f"{_CACHE_VERSION} {what} ".encode())
    digest.update(os.fsencode(root))
    for path in files.paths:
        try:
            stat = os.stat(os.path.join(root, path))  # a Path would double the time
        except OSError:  # `inspect` will say so
            continue
        digest.update(os.fsencode(f"\n{path} {stat.st_size} {stat.st_mtime_ns}"))
    return digest.hexdigest()[:16]


def _unreadable(files: ImageFiles, broken: Sequence[tuple[str, str]]) -> UsageError:
    listed = "".join(f"  {path}: {reason}\n" for path, reason in broken[:LISTED])
    if len(broken) > LISTED:
        rest = f"  … and {len(broken) - LISTED} more"
        path = user_cache() / f"unreadable-{_digest(files, 'list')}.txt"
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, "".join(f"{path}\n" for path, _ in broken))
            rest += f"; all are listed in {path}"
        listed += f"{rest}\n"
    return UsageError(
        f"{len(broken)} of {len(files.paths)} images below {files.root} cannot be "
        f"read:\n{listed}Replace them, or {files.remedy}"
    )


def _size(shape: Sequence[int | None]) -> str:
    return "×".join(map(str, shape))
