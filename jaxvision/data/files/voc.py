"""`voc:PATH`: boxes as Pascal VOC has them, in an XML file for each image.

Everingham et al. 2010, https://doi.org/10.1007/s11263-009-0275-4
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from jaxvision.data.files import (
    classes,
    fields,
    image_files,
    listing,
    reading,
    split_names,
)
from jaxvision.data.files.decoding import DecodeError, numbers
from jaxvision.data.files.image_files import Annotated
from jaxvision.data.files.objects import (
    Listed,
    Object,
    annotate,
)
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""The classes of VOC 2007 to 2012, in alphabetical order, as they are numbered."""

Pairs = dict[str, str]
"""Images and their annotation files, as paths relative to the root."""

_LAYOUT = """\
expected an XML file for each image, of the same name but for the extension:
  PATH/                        or   PATH/          or   PATH/
    JPEGImages/1.jpg                  train/              images/1.jpg
    Annotations/1.xml                   1.jpg             annotations/1.xml
    ImageSets/Main/train.txt            1.xml
    ImageSets/Main/val.txt            test/  (or val/)"""


def load(name: Name) -> Splits:
    """The set called `voc:PATH`, with boxes, classes and crowd.

    PATH is a folder of VOCdevkit such as `VOC2007`, whose `ImageSets/Main` says which
    images are in which split: `train`, `val` and `test` if the annotations of the last
    are there, else `train` and, to test on, `val`; `trainval` takes the place of
    `train` where no `val` beside it is used.  Or it holds images and XML files, in
    folders `images/` and `annotations/` or beside each other, in `train/`, `test/` and
    `val/` or without splits; then a fifth becomes the test split.  Other lists and
    folders that look like splits are refused.  Images in `exclude.txt` are left out.

    Pixels count from 1 in these files, and boxes contain their last row and column: 1 1
    2 2 becomes 0 0 2 2.  Objects marked `difficult` are `crowd`.  Classes are those of
    the training objects, sorted, or of `classes.txt` in PATH, one per line.  If every
    image has a mask in `SegmentationObject/`, `instances` come from there.

    Raises `UsageError` for files that deviate from this, and as `objects.annotate`
    does.
    """
    root = devkit(listing.folder(name.path))
    exclude = listing.Exclude(root)
    problems: list[str] = []
    pairs, words = _pairs(root, exclude, problems)
    exclude.check_all_found()
    refuse(root, problems)

    files = [_read(root, split, problems) for split in pairs]
    names = _names(root, files[0])
    listed = []
    for split, found in zip(pairs, files, strict=True):
        shapes = image_files.shapes(root, tuple(split), exclude.remedy)
        _check_sizes(split, found, shapes, problems)
        objects = [
            _numbered(split[path], file, names, problems)
            for path, file in zip(split, found, strict=True)
        ]
        listed.append(Listed(tuple(split), shapes, objects))
    annotated = _with_masks(
        root, annotate(root, names, listed, problems), exclude.remedy
    )
    return image_files.splits(name.text, root, annotated, words, names, exclude.remedy)


@dataclass(frozen=True)
class ObjectMasks:
    """`Source.maps` of masks whose numbers are objects, as in `SegmentationObject/`."""

    root: Path
    paths: tuple[str, ...]
    most: int
    numbered: Sequence[Sequence[int]] | None = None
    """The numbers of the objects of each image; None: from 1 on."""

    def __call__(self, i: int) -> dict[str, np.ndarray]:
        try:
            mask = numbers(reading.read_bytes(self.root / self.paths[i]))
        except (DecodeError, OSError) as error:
            raise DecodeError(f"its mask {self.paths[i]}: {error}") from error
        own = range(1, self.most + 1) if self.numbered is None else self.numbered[i]
        instances = np.zeros((self.most, *mask.shape), np.uint8)
        for instance, number in zip(instances, own, strict=False):
            instance[:] = mask == number
        return {"instances": instances}


def devkit(root: Path) -> Path:
    """The folder of a year, where `root` is the `VOCdevkit` that holds it."""
    years = sorted(root.glob("VOC20[0-9][0-9]"))
    if len(years) > 1:
        raise UsageError(
            f"{root} holds {some([year.name for year in years])}: name one of them, "
            f"such as {years[0]}"
        )
    return years[0] if years else root


def is_layout(root: Path, annotations: str) -> bool:
    return all((root / part).is_dir() for part in ("JPEGImages", annotations))


def listed(
    root: Path,
    kind: str,
    annotation: str,
    exclude: listing.Exclude,
    problems: list[str],
) -> tuple[list[Pairs], tuple[str, ...]]:
    """The training split, and what is declared beside it; `Choice.words`.

    From the lists in `ImageSets/<kind>/`; without any, all images are for training.  A
    list of test images of which none is annotated is passed over.

    annotation: the path of the annotation of an image, such as `"Annotations/{}.xml"`
    with the name of the image in place of the braces.
    """
    splits = []
    sets, words = _image_sets(root, kind, annotation, problems)
    for names in sets:
        found = _images(root, names, problems)
        problems += [
            f"there is no file {root / annotation.format(name)}"
            for name in names
            if not (root / annotation.format(name)).is_file()
        ]
        splits.append(
            {
                path: annotation.format(name)
                for name, path in found.items()
                if path not in exclude
            }
        )
    return splits, words


TRAINVAL = "trainval"
"""The list of the training and validation images together."""


def _image_sets(
    root: Path, kind: str, annotation: str, problems: list[str]
) -> tuple[list[list[str]], tuple[str, ...]]:
    """Names of the images of each split, and `Choice.words`."""
    folder = root / "ImageSets" / kind
    there = listing.with_suffix(folder, ".txt")
    both = [path for path in there if path.stem.casefold() == TRAINVAL]
    splits = split_names.unique(
        ((path.name, split_names.role(path.stem), path) for path in there),
        f"{folder} has the lists",
    )
    known = {*splits.values(), *both}
    elsewhere = () if known else (root / "ImageSets").rglob("*.txt")
    split_names.refuse_unread(
        root,
        {
            path.relative_to(root).as_posix()
            for path in (*there, *elsewhere)
            if path not in known
            and split_names.mentions(path.stem)
            # Beside those of images there are lists of a class: `cat_train.txt`.
            and not (known and _is_of_class(path))
        },
    )
    if not known:
        found = listing.images(root, root / "JPEGImages")
        return [[Path(path).stem for path in found]], split_names.NOTHING.words
    lists = {path: _lines(path, problems) for path in sorted(known)}
    choice = split_names.choose(
        splits,
        describe=lambda path: f"the list {path.relative_to(root).as_posix()}",
        answered=lambda path: any(
            (root / annotation.format(name)).is_file() for name in lists[path]
        ),
    )
    if both and splits.get("validation") not in choice.splits:
        train = both[0]
    elif "train" in splits:
        train = splits["train"]
    else:
        raise UsageError(f"{folder} has no train.txt: it lists the images to train on")
    if not lists[train]:
        raise UsageError(f"{train} lists no image")
    used = [train, *choice.splits]
    for first, second in itertools.combinations(used, 2):
        if shared := sorted(set(lists[first]) & set(lists[second])):
            problems.append(f"{first.name} and {second.name} both list {some(shared)}")
    return [lists[path] for path in used], choice.words


def _lines(path: Path, problems: list[str]) -> list[str]:
    """The images that a list names."""
    names = [line for line in reading.lines(path) if line]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        problems.append(f"{path} lists {some(twice)} more than once")
    return names


def _is_of_class(path: Path) -> bool:
    """Whether a list says of each image if it shows a class: -1, 0 (difficult) or 1."""
    lines = reading.lines(path)
    return all(line.split()[-1] in ("-1", "0", "1") for line in lines if line)


def _images(root: Path, names: Sequence[str], problems: list[str]) -> dict[str, str]:
    """The images of these names, as paths relative to `root`."""
    found = listing.by_stem(
        root,
        root / "JPEGImages",
        listing.images(root, root / "JPEGImages"),
        problems,
    )
    problems += [
        f"there is no image {name} in {root / 'JPEGImages'}"
        for name in names
        if name not in found
    ]
    return {name: found[name] for name in names if name in found}


def _pairs(
    root: Path, exclude: listing.Exclude, problems: list[str]
) -> tuple[list[Pairs], tuple[str, ...]]:
    if is_layout(root, "Annotations"):
        return listed(root, "Main", "Annotations/{}.xml", exclude, problems)
    splits = listing.split_folders(root)
    if any(_has_xml(folder) for folder in splits.values()):
        pairs = {split: (folder, folder) for split, folder in splits.items()}
        folders, words = listing.chosen_pairs(root, pairs, _LAYOUT, _has_xml)
    elif _has_xml(root):
        folders, words = [(root, root)], split_names.NOTHING.words
    else:
        folders, words = listing.paired_folders(
            root, "images", ["annotations"], _LAYOUT
        )
    return [_beside(root, *pair, exclude, problems) for pair in folders], words


def _has_xml(folder: Path) -> bool:
    return bool(listing.with_suffix(folder, ".xml"))


def _beside(
    root: Path,
    folder: Path,
    annotations: Path,
    exclude: listing.Exclude,
    problems: list[str],
) -> Pairs:
    found = listing.by_stem(root, folder, listing.images(root, folder), problems)
    xml = {path.stem: path for path in listing.with_suffix(annotations, ".xml")}
    left_out = {stem for stem, path in found.items() if path in exclude}
    problems += [
        f"{found[stem]} has no {stem}.xml in {annotations}"
        for stem in sorted(found.keys() - xml.keys() - left_out)
    ]
    problems += [
        f"{xml[stem].relative_to(root)} has no image"
        for stem in sorted(xml.keys() - found.keys())
    ]
    both = sorted((found.keys() & xml.keys()) - left_out)
    return {found[stem]: xml[stem].relative_to(root).as_posix() for stem in both}


class _Declared(NamedTuple):
    name: str
    where: str
    box: tuple[float, ...]
    difficult: bool


class _File(NamedTuple):
    """The content of an XML file."""

    size: tuple[int, int] | None
    """Height and width of its image; None if they are not given."""
    objects: list[_Declared]


def _read(root: Path, pairs: Pairs, problems: list[str]) -> list[_File]:
    files = []
    for path in pairs.values():
        try:
            files.append(_parse(reading.xml(root / path)))
        except UsageError as error:  # which says in which file
            problems.append(str(error))
            files.append(_File(None, []))
        except ValueError as error:
            problems.append(f"{path}: {error}")
            files.append(_File(None, []))
    return files


def _parse(annotation: Element) -> _File:
    """Raises `ValueError` for a malformed annotation."""
    if annotation.tag != "annotation":
        raise ValueError(f"its root is <{annotation.tag}> and not <annotation>")
    size = annotation.find("size")
    height, width = (
        (0, 0)
        if size is None
        else (_field(size, side, "size", fields.whole) for side in ("height", "width"))
    )
    objects = []
    for n, found in enumerate(annotation.findall("object"), start=1):
        where = f"object {n}"
        box = found.find("bndbox")
        if box is None:
            raise ValueError(f"{where} has no <bndbox>")
        left, top, right, bottom = (
            _field(box, side, where, fields.number)
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
        name = _field(found, "name", where, fields.name)
        if not name:
            raise ValueError(f"{where} has no <name>")
        objects.append(
            _Declared(
                name,
                where,
                (left - 1, top - 1, right, bottom),
                _field(found, "difficult", where, fields.truth),
            )
        )
    return _File((height, width) if height and width else None, objects)


def _field[Value](
    element: Element, tag: str, where: str, meaning: Callable[[str], Value]
) -> Value:
    try:
        return meaning((element.findtext(tag) or "").strip())
    except ValueError as error:
        raise ValueError(f"{tag} of {where}: {error}") from error


def _names(root: Path, train: Sequence[_File]) -> tuple[str, ...]:
    if (root / classes.FILE).is_file():
        return classes.read(root / classes.FILE)
    return tuple(sorted({found.name for file in train for found in file.objects}))


def _numbered(
    path: str, file: _File, names: tuple[str, ...], problems: list[str]
) -> list[Object]:
    objects = []
    for found in file.objects:
        if found.name not in names:
            problems.append(
                f"{path}, {found.where}: no training image has a {found.name!r}, and "
                f"no {classes.FILE} declares it"
            )
            continue
        left, top, right, bottom = found.box
        objects.append(
            Object(
                where=found.where,
                category=names.index(found.name),
                box=(left, top, right, bottom),
                crowd=found.difficult,
            )
        )
    return objects


def _check_sizes(
    pairs: Pairs, files: Sequence[_File], shapes: np.ndarray, problems: list[str]
) -> None:
    for (path, xml), file, (height, width, _) in zip(
        pairs.items(), files, shapes.tolist(), strict=True
    ):
        if file.size and file.size != (height, width):
            problems.append(
                f"{xml} says {file.size[0]}×{file.size[1]} (height × width), and "
                f"{path} is {height}×{width}, upright"
            )


def _with_masks(
    root: Path, splits: Sequence[Annotated], remedy: str
) -> Sequence[Annotated]:
    """With `instances`, if there is a mask of objects for every image."""
    found = {
        path.stem: path.relative_to(root).as_posix()
        for path in listing.with_suffix(root / "SegmentationObject", ".png")
    }
    stems = [[Path(path).stem for path in split.paths] for split in splits]
    if any(stem not in found for each in stems for stem in each):
        return splits
    masks = [tuple(found[stem] for stem in each) for each in stems]
    problems = []
    for split, paths in zip(splits, masks, strict=True):
        assert split.shapes is not None  # `annotate` asked for them
        sizes = image_files.shapes(root, paths, remedy)[:, :2]
        problems += [
            f"{paths[i]} is {sizes[i][0]}×{sizes[i][1]} (height × width), its image "
            f"{split.shapes[i][0]}×{split.shapes[i][1]}"
            for i in np.flatnonzero((sizes != split.shapes[:, :2]).any(axis=1))
        ]
    refuse(root, problems)
    return [
        split._replace(maps=ObjectMasks(root, paths, split.targets["classes"].shape[1]))
        for split, paths in zip(splits, masks, strict=True)
    ]
