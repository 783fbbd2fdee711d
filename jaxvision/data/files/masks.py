"""`masks:PATH`: images, each with a mask that gives the class of every pixel."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvision.data.files import (
    classes,
    fields,
    image_files,
    listing,
    reading,
    voc,
)
from jaxvision.data.files.decoding import DecodeError, numbers
from jaxvision.data.files.image_files import Annotated, ImageFiles
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from jaxvision.types import UNKNOWN

COLOURS = "label_colors.txt"
"""The classes of colours in masks, one `64 128 64 Animal` per line, as in CamVid."""

VOID = frozenset({"void", "unknown", "unlabelled", "unlabeled", "ignore"})
"""Names of classes, in lower case, whose pixels are unknown."""

FOLDERS = ("masks", "labels", "annotations")
"""What the folder of the masks beside `images/` may be called."""

Colours = dict[tuple[int, int, int], int]

_LAYOUT = """\
expected a mask for each image, of the same name but for the extension:
  PATH/                  or   PATH/            or   PATH/   (Pascal VOC)
    images/                     train/                JPEGImages/1.jpg
      1.jpg                       images/1.jpg        SegmentationClass/1.png
    masks/  (or labels/)          masks/1.png         ImageSets/Segmentation/
      1.png                     val/ , test/            train.txt
                                  …                     val.txt"""


def load(name: Name) -> Splits:
    """The set called `masks:PATH`, with `segmentation` as its annotation.

    PATH holds `images/` and `masks/`, alone or in each of `train/`, `test/` and
    `validation/` or `val/` (or with these in each of them); or the folders of Pascal
    VOC.  `FOLDERS` has what else that of the masks may be called.  The splits are found
    as in `folder:`, and so is what `exclude.txt` does.

    The number of a pixel is its index into the mask's palette or its grey level; 255 is
    unknown.  `classes.txt` in PATH names these numbers from 0 on, one per line; without
    it, their names are their numbers.  `label_colors.txt` instead names the colours of
    RGB masks.  What is called void, unknown, unlabelled or ignore is unknown, and the
    others are the classes, numbered in the order of the file without a gap.

    All masks are decoded once, to see their sizes and numbers; of many that is kept in
    the user's cache.  Masks belong to the upright image, and so does their size.

    Raises `UsageError` naming the images without a mask, masks without an image, of
    another size or with other numbers than there are classes, and unreadable files.
    """
    root = voc.devkit(listing.folder(name.path))
    exclude = listing.Exclude(root)
    problems: list[str] = []
    pairs, words = _pairs(root, exclude, problems)
    exclude.check_all_found()
    refuse(root, problems)

    given = _legend(root)
    colours = given.colours if given else None
    found = [_look(root, split, colours, exclude.remedy) for split in pairs]
    for split in found:
        problems += split.wrong_sizes()
    refuse(root, problems)
    legend = given or _numbered(root, found, problems)
    for split in found:
        problems += split.wrong_numbers(legend)
    refuse(root, problems)

    problems += _check_classes(legend, found)
    refuse(root, problems)
    parts = [split.annotated(root, legend) for split in found]
    return image_files.splits(
        name.text, root, parts, words, legend.names, exclude.remedy
    )


class Pairs(NamedTuple):
    """The images of a split and their masks, as paths relative to the root."""

    images: tuple[str, ...]
    masks: tuple[str, ...]


class Legend(NamedTuple):
    """What the pixels of masks mean."""

    names: tuple[str, ...]
    """Of the classes."""
    classes: tuple[int, ...]
    """The class of each number that a mask may hold, from 0 on; `UNKNOWN` for none."""
    colours: Colours | None = None
    """The numbers of colours; None: masks hold numbers."""

    @classmethod
    def of(cls, declared: Sequence[str], colours: Colours | None = None) -> "Legend":
        """That of names for the numbers from 0 on, of which some are of no class."""
        known = [name.casefold() not in VOID for name in declared]
        counted = itertools.accumulate(known)
        return cls(
            tuple(itertools.compress(declared, known)),
            tuple(
                n - 1 if is_known else UNKNOWN
                for n, is_known in zip(counted, known, strict=True)
            ),
            colours,
        )

    def table(self) -> np.ndarray:
        """The class of every number, uint8 [256]."""
        table = np.full(256, UNKNOWN, np.uint8)
        table[: len(self.classes)] = self.classes
        return table


@dataclass(frozen=True)
class Masks:
    """`Source.maps` of mask files."""

    root: Path
    paths: tuple[str, ...]
    legend: Legend

    @functools.cached_property
    def _table(self) -> np.ndarray:
        return self.legend.table()

    def __call__(self, i: int) -> dict[str, np.ndarray]:
        path = self.root / self.paths[i]
        try:
            found = numbers(reading.read_bytes(path), self.legend.colours)
        except (DecodeError, OSError) as error:
            raise DecodeError(f"its mask {self.paths[i]}: {error}") from error
        return {"segmentation": self._table[found]}


class _Looked(NamedTuple):
    """A split and the content of its files."""

    pairs: Pairs
    shapes: np.ndarray
    """Height, width and channels of the images, int32 [N,3]."""
    sizes: np.ndarray
    """Height and width of the masks, int32 [N,2]."""
    counts: np.ndarray
    """Pixels of each number, int32 [N,256]."""

    def wrong_sizes(self) -> list[str]:
        return [
            f"{image} is {height}×{width} (height × width, upright), its mask {mask} "
            f"{mask_height}×{mask_width}"
            for image, mask, (height, width, _), (mask_height, mask_width) in zip(
                *self.pairs, self.shapes.tolist(), self.sizes.tolist(), strict=True
            )
            if (height, width) != (mask_height, mask_width)
        ]

    def wrong_numbers(self, legend: Legend) -> list[str]:
        declared = len(legend.classes)
        beyond = self.counts[:, declared:UNKNOWN] > 0
        return [
            f"{self.pairs.masks[i]} holds "
            f"{some([str(k + declared) for k in np.flatnonzero(beyond[i])])}, and "
            f"there are {declared} classes, from 0 on, and {UNKNOWN} for unknown"
            for i in np.flatnonzero(beyond.any(axis=1))
        ]

    def histogram(self) -> np.ndarray:
        """Pixels of each number, int64 [256]."""
        return self.counts.sum(axis=0, dtype=np.int64)

    def pixels(self, legend: Legend) -> np.ndarray:
        """Pixels of each class, int64 [K]."""
        pixels = np.zeros(256, np.int64)
        np.add.at(pixels, legend.table(), self.histogram())
        return pixels[: len(legend.names)]

    def annotated(self, root: Path, legend: Legend) -> Annotated:
        maps = Masks(root, self.pairs.masks, legend)
        return Annotated(self.pairs.images, {}, maps, self.shapes)


def _pairs(
    root: Path, exclude: listing.Exclude, problems: list[str]
) -> tuple[list[Pairs], tuple[str, ...]]:
    """Of the splits that are declared, and `Choice.words`."""
    if voc.is_layout(root, "SegmentationClass"):
        splits, words = voc.listed(
            root, "Segmentation", "SegmentationClass/{}.png", exclude, problems
        )
        return [Pairs(tuple(one), tuple(one.values())) for one in splits], words
    folders, words = listing.paired_folders(root, "images", FOLDERS, _LAYOUT)
    return [paired(root, *pair, exclude, problems) for pair in folders], words


def paired(
    root: Path,
    images: Path,
    masks: Path,
    exclude: listing.Exclude,
    problems: list[str],
) -> Pairs:
    image_of, mask_of = (
        listing.by_stem(root, folder, listing.images(root, folder), problems)
        for folder in (images, masks)
    )
    left_out = {
        stem
        for found in (image_of, mask_of)
        for stem, path in found.items()
        if path in exclude
    }
    problems += [
        f"{image_of[stem]} has no mask in {masks.relative_to(root)}/"
        for stem in sorted(image_of.keys() - mask_of.keys() - left_out)
    ]
    problems += [
        f"{mask_of[stem]} is a mask that has no image in {images.relative_to(root)}/"
        for stem in sorted(mask_of.keys() - image_of.keys() - left_out)
    ]
    both = sorted((image_of.keys() & mask_of.keys()) - left_out)
    if not both and not problems:
        problems.append(f"no images in {images.relative_to(root)}/")
    return Pairs(
        tuple(image_of[stem] for stem in both), tuple(mask_of[stem] for stem in both)
    )


def _legend(root: Path) -> Legend | None:
    """That which a file in the root gives."""
    for file, read in ((COLOURS, _read_colours), (classes.FILE, _read_names)):
        if (root / file).is_file():
            legend = read(root / file)
            classes.check_names(root / file, legend.names)
            return legend
    return None


def _read_names(path: Path) -> Legend:
    names = classes.read(path)
    if len(names) > UNKNOWN:
        raise UsageError(
            f"{path} names {len(names)} classes: masks of 8 bits hold at most {UNKNOWN}"
        )
    return Legend.of(names)


def _read_colours(path: Path) -> Legend:
    names: list[str] = []
    colours: Colours = {}
    problems = []
    for line, text in enumerate(reading.lines(path), start=1):
        if not text or text.startswith("#"):
            continue
        try:
            *levels, name = text.split(maxsplit=3)
            red, green, blue = map(fields.whole, levels)
            name = fields.name(name)
        except ValueError:
            red = green = blue = -1
        if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
            problems.append(
                f"line {line}: {text!r:.80} is not of the form 64 128 64 Animal"
            )
            continue
        if (red, green, blue) in colours:
            problems.append(f"line {line}: the colour of {name} is taken")
        colours[red, green, blue] = len(names)
        names.append(name)
    if len(names) > UNKNOWN:
        problems.append(f"{len(names)} classes: at most {UNKNOWN} are possible")
    refuse(path, problems)
    return Legend.of(names, colours)


def _look(root: Path, pairs: Pairs, colours: Colours | None, remedy: str) -> _Looked:
    shapes = image_files.shapes(root, pairs.images, remedy)
    rows = image_files.survey(
        ImageFiles(root, pairs.masks, 1, remedy),
        f"masks {sorted((colours or {}).items())}",
        functools.partial(_count, colours=colours),
        2 + 256,
    )
    return _Looked(pairs, shapes, rows[:, :2], rows[:, 2:])


def _count(path: Path, colours: Colours | None) -> list[int]:
    """Height, width and the number of pixels of each number."""
    try:
        mask = numbers(reading.read_bytes(path), colours)
    except OSError as error:
        raise DecodeError(error.strerror or str(error)) from error
    return [*mask.shape, *np.bincount(mask.ravel(), minlength=256).tolist()]


def _numbered(root: Path, splits: Sequence[_Looked], problems: list[str]) -> Legend:
    """The numbers in the training masks as names, where nothing else names them."""
    present = np.flatnonzero(splits[0].histogram()[:UNKNOWN])
    count = int(present.max()) + 1 if len(present) else 0
    if root.name.startswith("VOC20") and count <= 1 + len(voc.CLASSES):
        return Legend.of(("background", *voc.CLASSES))
    if gaps := sorted(set(range(count)) - set(present.tolist())):
        problems.append(
            f"the training masks hold the numbers up to {count - 1}, but not "
            f"{some([str(k) for k in gaps])}: number the classes from 0 without gaps, "
            f"or name all of them in {root / classes.FILE}, one per line"
        )
    return Legend.of([str(number) for number in range(count)])


def _check_classes(legend: Legend, splits: Sequence[_Looked]) -> list[str]:
    names, counts = legend.names, [split.pixels(legend) for split in splits]
    train = counts[0]
    if np.count_nonzero(train) < 2:
        held = "".join(f" ({name})" for name, n in zip(names, train, strict=True) if n)
        hint = ""
        if splits[0].counts[:, UNKNOWN].any():
            hint = (
                ".  255 means unknown; if it is a class here, say so in "
                f"{COLOURS}: 0 0 0 background, 255 255 255 object"
            )
        return [
            f"the training masks hold {np.count_nonzero(train)} class{held}, and "
            f"classification needs two{hint}"
        ]
    for split, pixels in zip(Splits._fields, counts, strict=False):
        if not pixels.any():
            return [f"no pixel of the {split} masks is of a class: all are {UNKNOWN}"]
    return classes.check_used(names, counts)
