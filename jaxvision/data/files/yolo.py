"""`yolo:PATH`: boxes, outlines and keypoints as YOLO has them, in text files.

The formats: https://docs.ultralytics.com/datasets/detect (and segment, pose)
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxvision.data.files import (
    classes,
    fields,
    image_files,
    listing,
    reading,
    split_names,
)
from jaxvision.data.files.objects import (
    Listed,
    Object,
    annotate,
)
from jaxvision.data.files.problems import refuse
from jaxvision.data.files.split_names import Role
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from jaxvision.skeletons import Skeleton, skeleton

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
    (or with these in each of them); without splits a fifth becomes the test split, and
    beside `test/` one of the others is the validation split.  Or it holds images and
    text files side by side, in such folders or without splits.
    Where the YAML file has `train`, `val` or `test`, these alone are used: each is a
    folder of images in PATH, a text file that lists images, or a list of these.  Images
    in `exclude.txt` are left out.

    The classes are the `names` in `data.yaml`, or the lines of `classes.txt` or
    `obj.names`.  A line of a text file is an object: its class and, in shares of the
    image's width and height, the centre, width and height of its box; or the corners of
    a polygon, whose bounding box is taken; or, if `data.yaml` has a `kpt_shape`, a box
    and its keypoints, of which `flip_idx` and `kpt_names` are what `Source.skeleton`
    says.  If every object has a polygon, `instances` are drawn from them.
    An image without a text file shows no object.

    Raises `UsageError` for files that deviate from this, a split that is declared and
    cannot be found, a text file without an image, and duplicate lines, and as
    `objects.annotate` does.
    """
    given = name.path
    declared = _declared(given)
    exclude = listing.Exclude(declared.root)
    problems: list[str] = []
    splits, words = _splits(declared, exclude, problems)
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
    return image_files.splits(
        name.text,
        declared.root,
        annotate(declared.root, declared.names, listed, problems),
        words,
        declared.names,
        exclude.remedy,
        skeleton=declared.skeleton,
    )


class _Declared(NamedTuple):
    """What `data.yaml` declares, or what is found without it."""

    root: Path
    names: tuple[str, ...]
    keypoints: tuple[int, int] | None
    """How many keypoints an object has, and the numbers of each: 2 or 3."""
    skeleton: Skeleton | None
    splits: Mapping[Role, "_Split"]
    """Empty where nothing is declared."""


class _Split(NamedTuple):
    """A split that `data.yaml` declares."""

    words: str
    """Such as `"val: images/val2017 in data.yaml"`."""
    places: list[Path]
    """Folders of images, and images."""


def _declared(given: Path) -> _Declared:
    if given.suffix.lower() in (".yaml", ".yml") and given.is_file():
        return _from_yaml(given)
    root = listing.folder(given)
    yaml = [path for path in (root / "data.yaml", root / "data.yml") if path.is_file()]
    if yaml:
        return _from_yaml(yaml[0])
    for file in NAMES:
        if (root / file).is_file():
            return _Declared(root, classes.read(root / file), None, None, {})
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
    shape = bones = None
    if "kpt_shape" in content:
        shape = _keypoint_shape(path, content["kpt_shape"])
        bones = _skeleton(path, content, shape[0])
    return _Declared(path.parent, names, shape, bones, _declared_splits(path, content))


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


def _skeleton(path: Path, content: Mapping[str, Any], count: int) -> Skeleton:
    """What the keypoints are: `flip_idx`, and `kpt_names` where all classes have the
    same ones."""
    names, mirrored = [str(k) for k in range(1, count + 1)], None
    given = content.get("kpt_names") or names
    of_classes = [*given.values()] if isinstance(given, dict) else [given]
    try:
        if not all(isinstance(each, list) for each in of_classes):
            raise ValueError(f"kpt_names is {fields.shown(given)}")
        if "flip_idx" in content:
            mirrored = [*map(fields.whole, content["flip_idx"])]
        if all(each == of_classes[0] for each in of_classes):
            names = [*map(fields.name, of_classes[0])]
        if len(names) != count:
            raise ValueError(f"kpt_names are {len(names)}, and the keypoints {count}")
        return skeleton(names, mirrored=mirrored)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path} does not say what its {count} keypoints are, by flip_idx and "
            f"kpt_names: {error}"
        ) from error


def _declared_splits(path: Path, content: Mapping[str, Any]) -> dict[Role, _Split]:
    # As YAML has it, all scalars are text; these stand for none.
    keys = [key for key, value in content.items() if value not in ("", "~", "null", [])]
    found = split_names.unique(
        ((key, split_names.role(key), key) for key in keys), f"{path} has the keys"
    )
    split_names.refuse_unread(
        path,
        [
            f"the key {key}"
            for key in keys
            if key not in found.values() and split_names.mentions(key)
        ],
    )
    if found and "train" not in found:
        raise UsageError(
            f"{path} declares {', '.join(found.values())}, and not what to train on: "
            "add a line such as train: images/train"
        )
    splits = {}
    for split, key in found.items():
        value = content[key]
        values = value if isinstance(value, list) else [value]
        places = [place for each in values for place in _places(path, content, each)]
        splits[split] = _Split(f"{key}: {value} in {path.name}", places)
    return splits


def _places(path: Path, content: Mapping[str, Any], value: Any) -> list[Path]:
    """What a YAML file gives for a split: a folder, or the images that a text lists.

    Raises `UsageError` for what is not in the folder of the YAML file.
    """
    root = path.parent
    bases = (root / str(content.get("path") or "."), root)
    place = _located(root, bases, str(value))
    if place is not None and place.is_dir():
        return [place]
    if place is None or place.suffix != ".txt":
        raise UsageError(
            f"{path} declares {value!r}, and {root} holds no such folder of images or "
            ".txt file that lists them: correct that line; or remove it, if its images "
            "are not here"
        )
    listed = {
        line: _located(root, (place.parent, *bases), line)
        for line in reading.lines(place)
        if line
    }
    problems = [
        f"it lists {line}, which is not in {root}"
        for line, image in listed.items()
        if image is None or not image.is_file()
    ]
    if not listed:
        problems.append("it lists no image")
    refuse(place, problems)
    return [image for image in listed.values() if image]


def _located(root: Path, bases: Iterable[Path], value: str) -> Path | None:
    """The file or folder in `root` that is meant by a path in a declaration.

    What tools write is relative to one of `bases`, or to where the set once was: then
    it is what the end of the path leads to.
    """
    here = os.path.abspath(root)
    parts = [part for part in Path(value.replace("\\", "/")).parts if part != ".."]
    ends = (root.joinpath(*parts[i:]) for i in range(len(parts)) if parts[i] != "/")
    for candidate in (*(base / value for base in bases), *ends):
        whole = Path(os.path.abspath(candidate))
        if whole.is_relative_to(here) and whole.exists():
            return root / whole.relative_to(here)
    return None


def _splits(
    declared: _Declared, exclude: listing.Exclude, problems: list[str]
) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """Images and their text files, of the training split, and of those beside it.

    Also returns `split_names.Choice.words`.
    """
    root = declared.root
    if not declared.splits:
        folders, words = _folders(root)
        return [_paired(root, *pair, exclude, problems) for pair in folders], words
    wrong: dict[str, list[str]] = {}
    found = {
        role: (split.words, _listed(root, split, exclude, wrong.setdefault(role, [])))
        for role, split in declared.splits.items()
    }
    choice = split_names.choose(
        found,
        describe=lambda split: split[0],
        answered=lambda split: any(split[1].values()),
    )
    used = [found["train"], *choice.splits]
    for role, split in found.items():
        problems += wrong[role] if split in used else []
    return [pairs for _, pairs in used], choice.words


def _listed(
    root: Path, split: _Split, exclude: listing.Exclude, problems: list[str]
) -> dict[str, str]:
    """As `_paired`, of a declared split."""
    pairs: dict[str, str] = {}
    for place in split.places:
        if place.is_dir():
            more = _paired(root, place, _labels(root, place), exclude, problems)
        else:
            path = place.relative_to(root).as_posix()
            text = _labels(root, place).with_suffix(".txt").relative_to(root)
            more = {path: text.as_posix() if (root / text).is_file() else ""}
            more = {path: text for path, text in more.items() if path not in exclude}
        problems += [
            f"{split.words}: {path} is in it more than once"
            for path in more
            if path in pairs
        ]
        pairs |= more
    return pairs


def _folders(root: Path) -> tuple[list[tuple[Path, Path]], tuple[str, ...]]:
    """As `listing.paired_folders`, with texts beside the images too."""
    splits = listing.split_folders(root)
    if any(_has_texts(folder) for folder in splits.values()):
        pairs = {split: (folder, folder) for split, folder in splits.items()}
        return listing.chosen_pairs(root, pairs, _LAYOUT, _has_texts)
    apart = any((folder / "labels").is_dir() for folder in (root, *splits.values()))
    if not apart and listing.images(root, root):
        return [(root, root)], split_names.NOTHING.words
    return listing.paired_folders(root, "images", ["labels"], _LAYOUT)


def _has_texts(folder: Path) -> bool:
    return bool(listing.with_suffix(folder, ".txt"))


def _labels(root: Path, images: Path) -> Path:
    """Where the texts of a folder or of an image are: `labels` in place of `images`."""
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
        path
        for path in listing.find(root, labels, (".txt",))
        if Path(path).name.lower() not in (*NAMES, listing.EXCLUDE)
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
