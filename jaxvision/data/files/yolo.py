"""`yolo:PATH`: boxes, outlines and keypoints as YOLO has them, in text files.

The formats: https://docs.ultralytics.com/datasets/detect (and segment, pose)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxvision.data.files import (
    classes,
    fields,
    image_files,
    listing,
    reading,
)
from jaxvision.data.files.objects import (
    Listed,
    Object,
    annotate,
)
from jaxvision.data.files.problems import refuse
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError

MOST_KEYPOINTS = 1_000

NAMES = (classes.FILE, "obj.names")
"""Files with the names of the classes, one per line, for want of a `data.yaml`."""

_LAYOUT = """\
expected a text file for each image, of the same name but for the extension:
  PATH/                  or   PATH/             or   PATH/
    data.yaml                   classes.txt            classes.txt
    train/                      images/1.jpg           1.jpg
      images/1.jpg              labels/1.txt           1.txt
      labels/1.txt
    val/  (or test/)"""


def load(name: Name) -> Splits:
    """The set called `yolo:PATH`, with boxes, classes, and what else there is.

    PATH, or the folder of the YAML file that PATH is, holds `images/` and `labels/`,
    alone or in each of `train/` and one of `test/`, `validation/`, `val/`, `valid/`
    (or with these in each of them); without splits a fifth becomes the test split.  Or
    it holds images and text files side by side.  Where `train` and `val` or `test` in
    the YAML file are folders of images in PATH, these are used.  Images in
    `exclude.txt` are left out.

    The classes are the `names` in `data.yaml`, or the lines of `classes.txt` or
    `obj.names`.  A line of a text file is an object: its class and, in shares of the
    image's width and height, the centre, width and height of its box; or the corners of
    a polygon, whose bounding box is taken; or, if `data.yaml` has a `kpt_shape`, a box
    and its keypoints.  If every object has a polygon, `instances` are drawn from them.
    An image without a text file shows no object.

    Raises `UsageError` for files that deviate from this, a text file without an image,
    and duplicate lines, and as `objects.annotate` does.
    """
    given = Path(name.rest).expanduser()
    declared = _declared(given)
    exclude = listing.Exclude(declared.root)
    problems: list[str] = []
    splits = [
        _paired(declared.root, *folders, exclude, problems)
        for folders in _folders(declared)
    ]
    exclude.check_all_found()
    if not problems and not any(text for split in splits for text in split.values()):
        raise UsageError(f"no image of {declared.root} has a text file: {_LAYOUT}")
    refuse(declared.root, problems)

    listed = []
    for split in splits:
        paths = tuple(split)
        shapes = image_files.shapes(declared.root, paths, exclude.remedy)
        objects = [
            _read(declared, text, height, width, problems) if text else []
            for text, (height, width, _) in zip(
                split.values(), shapes.tolist(), strict=True
            )
        ]
        listed.append(Listed(paths, shapes, objects))
    train, *test = annotate(declared.root, declared.names, listed, problems)
    return image_files.splits(
        name.text,
        declared.root,
        train,
        test[0] if test else None,
        declared.names,
        exclude.remedy,
    )


class _Declared(NamedTuple):
    """What `data.yaml` declares, or what is found without it."""

    root: Path
    names: tuple[str, ...]
    keypoints: tuple[int, int] | None
    """How many keypoints an object has, and the numbers of each: 2 or 3."""
    images: Mapping[str, Path]
    """Folders of images by split, as far as they exist."""


def _declared(given: Path) -> _Declared:
    if given.suffix.lower() in (".yaml", ".yml") and given.is_file():
        return _from_yaml(given)
    root = listing.folder(str(given))
    yaml = [path for path in (root / "data.yaml", root / "data.yml") if path.is_file()]
    if yaml:
        return _from_yaml(yaml[0])
    for file in NAMES:
        if (root / file).is_file():
            return _Declared(root, classes.read(root / file), None, {})
    raise UsageError(
        f"{root} has neither data.yaml nor {' nor '.join(NAMES)}, which would name its "
        f"classes: write {root / classes.FILE}, one name per line"
    )


def _from_yaml(path: Path) -> _Declared:
    content = reading.yaml(path)
    content = content if isinstance(content, dict) else {}
    names = _names(path, content.get("names"))
    try:
        count = fields.whole(content.get("nc", len(names)))
    except ValueError as error:
        raise UsageError(f"{path} has a wrong nc: {error}") from error
    if count != len(names):
        raise UsageError(f"{path} has nc: {count}, and {len(names)} names")
    shape = None
    if "kpt_shape" in content:
        shape = _keypoint_shape(path, content["kpt_shape"])
    images = {}
    for split in ("train", *listing.TEST_FOLDERS):
        if found := _images_folder(path, content, split):
            images[split] = found
    return _Declared(path.parent, names, shape, images)


def _names(path: Path, given: Any) -> tuple[str, ...]:
    """The names of the classes: a list, or a mapping from their numbers."""
    try:
        if isinstance(given, dict):
            numbered = {fields.whole(k): name for k, name in given.items()}
            if len(numbered) < len(given):
                raise ValueError("it numbers two classes alike")
            given = [numbered[k] for k in range(len(numbered))]
        if not isinstance(given, list):
            raise ValueError(f"names is {fields.shown(given)}")
        names = tuple(map(fields.name, given))
    except KeyError as error:
        raise _without_names(path, f"it has no class {error}") from error
    except ValueError as error:
        raise _without_names(path, str(error)) from error
    classes.check_names(path, names)
    return names


def _without_names(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} does not name its classes ({reason}): expected such as names: [cat, "
        "dog], or numbers from 0 without gaps and a name for each"
    )


def _keypoint_shape(path: Path, given: Any) -> tuple[int, int]:
    try:
        count, each = map(fields.whole, given if isinstance(given, list) else [])
    except ValueError:
        count = each = 0
    if not 1 <= count <= MOST_KEYPOINTS or each not in (2, 3):
        raise UsageError(
            f"{path} has kpt_shape: {fields.shown(given)}: expected such as [17, 3], "
            f"up to {MOST_KEYPOINTS} of 2 or 3 numbers"
        )
    return count, each


def _images_folder(path: Path, content: Mapping[str, Any], split: str) -> Path | None:
    """The folder a YAML file gives for a split, if it is in that of the file."""
    value = content.get(split)
    if not isinstance(value, str):
        return None
    # What other tools write is relative to here, to `path`, or to where it once was.
    inside = Path(*(part for part in Path(value).parts if part != ".."))
    above = Path(str(content.get("path") or "."))
    for folder in (path.parent / above / value, path.parent / inside):
        if folder.is_dir() and folder.resolve().is_relative_to(path.parent.resolve()):
            return path.parent / folder.resolve().relative_to(path.parent.resolve())
    return None


def _folders(declared: _Declared) -> list[tuple[Path, Path]]:
    """Images and text files of the training split, and of the test split if any."""
    root = declared.root
    found = {
        split: (images, _labels(root, images))
        for split, images in declared.images.items()
    }
    if "train" not in found:
        found = listing.paired_folders(root, "images", "labels")
    if not found and listing.images(root, root):
        found[""] = root, root
    if not found:
        raise UsageError(f"{root} has no images/ and labels/: {_LAYOUT}")
    train = "train" if "train" in found else ""
    test = next((split for split in listing.TEST_FOLDERS if split in found), None)
    if train not in found:
        raise UsageError(f"{root} has images and labels in {test}/, but none in train/")
    if test and found[test] != found[train]:
        return [found[train], found[test]]
    return [found[train]]


def _labels(root: Path, images: Path) -> Path:
    """The folder of the text files: `labels` where the images have `images`."""
    parts = list(images.relative_to(root).parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return root.joinpath(*parts)


def _paired(
    root: Path,
    images: Path,
    labels: Path,
    exclude: listing.Exclude,
    problems: list[str],
) -> dict[str, str]:
    """Images and their text files, "" for none, as paths relative to the root."""
    found = listing.by_stem(root, images, listing.images(root, images), problems)
    text_files = [
        path.relative_to(root).as_posix()
        for path in sorted(labels.rglob("*"))
        if path.suffix.lower() == ".txt"
        and path.name.lower() not in (*NAMES, listing.EXCLUDE)
        and not listing.hidden(path.name)
    ]
    texts = listing.by_stem(root, labels, text_files, problems)
    problems += [
        f"{texts[stem]} has no image in {images.relative_to(root)}/"
        for stem in sorted(texts.keys() - found.keys())
    ]
    if not found:
        problems.append(f"no images in {images}")
    return {
        path: texts.get(stem, "") for stem, path in found.items() if path not in exclude
    }


def _read(
    declared: _Declared, text: str, height: int, width: int, problems: list[str]
) -> list[Object]:
    """The objects that a text file lists."""
    try:
        lines = reading.lines(declared.root / text)
    except UsageError as error:  # which says in which file
        problems.append(str(error))
        return []
    objects: list[Object] = []
    first: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(map(str.split, lines), start=1):
        if not row:
            continue
        key = tuple(row)
        if key in first:
            problems.append(f"{text}, line {line}: the same as line {first[key]}")
            continue
        first[key] = line
        try:
            objects.append(_object(declared, row, f"line {line}", height, width))
        except ValueError as error:
            problems.append(f"{text}, line {line}: {error}")
    return objects


def _object(
    declared: _Declared, row: list[str], where: str, height: int, width: int
) -> Object:
    """Raises `ValueError` for a malformed row."""
    try:
        category = fields.whole(row[0])
    except ValueError:
        category = -1
    if not 0 <= category < len(declared.names):
        raise ValueError(
            f"there is no class {row[0]:.40}, only those from 0 to "
            f"{len(declared.names) - 1}"
        )
    try:
        values = [fields.number(text) for text in row[1:]]
    except ValueError:
        what = f"{' '.join(row[1:])!r:.60} are not all numbers"
        raise ValueError(what) from None

    points, each = declared.keypoints or (0, 0)
    if len(values) == 4 + points * each:
        x, y, w, h = values[:4]
        box = (
            (x - w / 2) * width,
            (y - h / 2) * height,
            (x + w / 2) * width,
            (y + h / 2) * height,
        )
        keypoints = _keypoints(values[4:], each, height, width) if points else []
        return Object(where, category, box, keypoints=keypoints)
    if declared.keypoints or len(values) < 6 or len(values) % 2:
        wanted = (
            f"a box and {points} keypoints of {each} numbers"
            if declared.keypoints
            else "a box of 4, or a polygon of x and y for three corners or more"
        )
        raise ValueError(f"{len(values)} numbers after the class: expected {wanted}")
    xs = [x * width for x in values[::2]]
    ys = [y * height for y in values[1::2]]
    polygon = [value for corner in zip(xs, ys, strict=True) for value in corner]
    box = min(xs), min(ys), max(xs), max(ys)
    return Object(where, category, box, outline=[polygon])


def _keypoints(values: list[float], each: int, height: int, width: int) -> list[float]:
    keypoints: list[float] = []
    for k in range(0, len(values), each):
        x, y = values[k] * width, values[k + 1] * height
        if each == 3:
            keypoints += (x, y, values[k + 2])
        else:  # what has no visibility is seen, unless it has no place
            keypoints += (x, y, 2 if x or y else 0)
    return keypoints
