"""`coco:PATH`: boxes, outlines and keypoints as COCO has them, in JSON.

The format: https://cocodataset.org/#format-data
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    box_around,
)
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from jaxvision.skeletons import Skeleton, skeleton

_LAYOUT = """\
expected a JSON file for training, and optionally one for testing:
  PATH/                                       or   PATH/
    annotations/instances_train2017.json             train/_annotations.coco.json
    annotations/instances_val2017.json               train/1.jpg
    train2017/1.jpg                                  valid/_annotations.coco.json
    val2017/2.jpg                                    valid/2.jpg"""


def _box(given: Any) -> list[float]:
    box = _list_of_numbers(given)
    if len(box) != 4:
        raise ValueError("a box is x, y, width, height")
    return box


def _list_of_numbers(given: Any) -> list[float]:
    if not isinstance(given, list):
        raise ValueError("it is not a list of numbers")
    return list(map(fields.number, given))


def _path(given: Any) -> str:
    if not isinstance(given, str) or not fields.is_unicode(given):
        raise ValueError("it is not a path")
    return given


def _names(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise ValueError("it is not a list of names")
    return tuple(map(fields.name, given))


def _pairs(given: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(given, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in given
    ):
        raise ValueError("it is not a list of pairs of keypoints")
    return tuple((fields.whole(a), fields.whole(b)) for a, b in given)


_MEANINGS: dict[str, tuple[dict[str, Callable], dict[str, Callable]]] = {
    "images": (
        {"id": fields.identity, "file_name": _path},
        {"width": fields.whole, "height": fields.whole},
    ),
    "annotations": (
        {"image_id": fields.identity, "category_id": fields.identity, "bbox": _box},
        {
            "id": fields.identity,
            "iscrowd": fields.truth,
            "keypoints": _list_of_numbers,
        },
    ),
    "categories": (
        {"id": fields.identity, "name": fields.name},
        {"keypoints": _names, "skeleton": _pairs},
    ),
}
"""The lists in a file, what each of their entries must have, and what it may have."""


def load(name: Name) -> Splits:
    """The set called `coco:PATH`, with boxes, classes, crowd, and what else there is.

    PATH is a JSON file; or a folder with a JSON file that has `train` in its name, in
    the folder itself, in `annotations/` or in `train/`; of several, the one whose name
    begins with `instances`.  The test split is the file that has `test`, `validation`,
    `val` or `valid` in its name in place of `train`, or in that of its folder, and
    annotations; of two, that without `test` is the validation split; without one, a
    fifth of the images is held out.  A file with annotations for testing that belongs
    to no file for training is refused.

    Images are looked for in six folders, and taken from the first that holds one of
    them: for `annotations/instances_train2017.json` these are `annotations/` itself,
    the `images/` in it, beside it `train2017/`, `images/train2017/` and `images/`, and
    the folder above.

    Categories become the classes from 0 on, in the order of their ids; those of the
    training file count.  A `supercategory` without objects that has the name of a class
    is left out.  Objects with `iscrowd` are `crowd`.  Where an object has
    keypoints and no `bbox`, its box is around those that are labelled.  What
    `keypoints` are called and which are joined is in the categories that have them, as
    `keypoints` and `skeleton`, and all of these must say the same for the set to have
    it.  If every object has a
    `segmentation`, of polygons or run lengths, `instances` are drawn from it.  Lines of
    `exclude.txt` in the folder of the images leave out images, by their path, and
    annotations, as `train annotation 7`, `validation annotation 7` or `test …`.

    Raises `UsageError` for files that deviate from this, duplicate and dangling ids,
    and missing images, and as `objects.annotate` does.
    """
    files, words = _files(name.path)
    problems: list[str] = []
    numbers = _numbers(files, problems)
    names = tuple(_name_of(files[0])[id_] for id_ in numbers)
    folders = [_folder(file) for file in files]
    root = Path(os.path.commonpath(folders))
    exclude = listing.Exclude(root)
    images = [
        _images(root, folder, file, split, exclude, problems)
        for folder, file, split in zip(folders, files, Splits._fields, strict=False)
    ]
    exclude.check_all_found()
    bones = _skeleton(files[0], images, problems)
    times = Counter(image.path for one in images for image in one)
    if both := sorted(path for path, count in times.items() if count > 1):
        problems.append(f"more than once, or in two splits: {some(both)}")
    refuse(files[0].path, problems)

    remedy = (
        f"list them in {exclude.path}, one path or `train annotation ID` per line, to "
        "leave them out"
    )
    listed = []
    for one in images:
        paths = tuple(image.path for image in one)
        shapes = image_files.shapes(root, paths, remedy)
        for image, (height, width, _) in zip(one, shapes.tolist(), strict=True):
            if image.size not in (None, (height, width)):
                problems.append(
                    f"{image.path} is {height}×{width} (height × width), upright, and "
                    f"not {image.size[0]}×{image.size[1]} as its annotations say"
                )
        objects = [[_object(each, numbers) for each in image.objects] for image in one]
        listed.append(Listed(paths, shapes, objects))
    return image_files.splits(
        name.text,
        root,
        annotate(files[0].path, names, listed, problems),
        words,
        names,
        remedy,
        known=frozenset(path.name for path in root.glob("*.json")),
        skeleton=bones,
    )


class _File(NamedTuple):
    path: Path
    content: Mapping[str, list[dict[str, Any]]]


class _Image(NamedTuple):
    path: str
    """Relative to the root of the set."""
    size: tuple[int, int] | None
    """Height and width according to the annotations; None if they do not say."""
    objects: list[dict[str, Any]]


class _Candidate(NamedTuple):
    path: Path
    role: split_names.Role | None
    """The split that the name of the file mentions, or else that of its folder."""
    family: tuple[str, str]
    """The names of folder and file without the split: those of one set are equal."""


def _files(given: Path) -> tuple[list[_File], tuple[str, ...]]:
    """The files for training and what is declared beside it; `Choice.words`."""
    if given.is_dir():
        root, candidates = given, _candidates(given)
        train = _train_file(root, candidates)
    elif given.is_file():
        root = _root(given)
        candidates = _candidates(root)
        train = next(
            (found for found in candidates if found.path.samefile(given)),
            _candidate(given),
        )
    else:
        raise UsageError(f"there is no file {given}: {_LAYOUT}")
    files = {train.path: _parse(train.path)}
    if not files[train.path].content["annotations"]:
        raise UsageError(f"{train.path} has no annotations: {_LAYOUT}")

    others = [found for found in candidates if found.path != train.path]
    splits = split_names.unique(
        (
            (_within(root, found), found.role, found)
            for found in others
            if found.family == train.family
        ),
        f"{root} has the files",
    )
    tests = {role: found for role, found in splits.items() if role in split_names.TESTS}
    files |= {found.path: _parse(found.path) for found in tests.values()}
    choice = split_names.choose(
        tests,
        describe=lambda found: f"the file {_within(root, found)}",
        answered=lambda found: bool(files[found.path].content["annotations"]),
    )
    complete = {found.family for found in candidates if found.role == "train"}
    split_names.refuse_unread(
        root,
        [
            f"{_within(root, found)} (beside {train.path.name})"
            for found in others
            if found.family not in {*complete, train.family}
            and split_names.mentions(_within(root, found))
            and _is_annotated(found.path)
        ],
    )
    return [files[found.path] for found in (train, *choice.splits)], choice.words


def _root(file: Path) -> Path:
    """The folder of a set, given one of its files."""
    folder = file.absolute().parent
    above = split_names.role(folder.name) or folder.name.casefold() == "annotations"
    return folder.parent if above else folder


def _candidates(root: Path) -> list[_Candidate]:
    """The JSON files that may be of a set."""
    folders = [
        folder
        for folder in listing.subfolders(root)
        if split_names.mentions(folder.name) or folder.name.lower() == "annotations"
    ]
    return [
        _candidate(path, "" if folder == root else folder.name)
        for folder in (root, *folders)
        for path in sorted(folder.glob("*.json"))
        if not listing.hidden(path.name)
    ]


def _candidate(path: Path, folder: str = "") -> _Candidate:
    of_folder, rest = split_names.family(folder)
    role, stem = split_names.family(path.stem)
    return _Candidate(path, role or of_folder, (rest, stem))


def _train_file(root: Path, candidates: Sequence[_Candidate]) -> _Candidate:
    training = [found for found in candidates if found.role == "train"]
    chosen = training or [found for found in candidates if found.role is None]
    chosen = [
        found for found in chosen if found.path.name.startswith("instances")
    ] or chosen
    if not chosen:
        raise UsageError(
            f"{root} has no JSON file with annotations for training"
            + f", only {some([_within(root, one) for one in candidates])}"
            * bool(candidates)
            + f": {_LAYOUT}"
        )
    if len(chosen) > 1:
        raise UsageError(
            f"{root} has several files of annotations, "
            f"{some([_within(root, found) for found in chosen])}: name the one for "
            f"training, such as coco:{chosen[0].path}"
        )
    return chosen[0]


def _within(root: Path, found: _Candidate) -> str:
    return found.path.relative_to(root).as_posix()


def _is_annotated(path: Path) -> bool:
    """Whether a file has objects as COCO has them."""
    try:
        content = reading.json(path)
    except UsageError:
        return False
    return isinstance(content, dict) and all(content.get(key) for key in _MEANINGS)


def _parse(path: Path) -> _File:
    """A file whose entries have what they must have."""

    content = reading.json(path)
    if not isinstance(content, dict) or "images" not in content:
        raise UsageError(
            f"{path} is not a COCO file: it has no list of images beside those of "
            "annotations and categories"
        )
    lists: dict[str, list[dict[str, Any]]] = {}
    problems: list[str] = []
    for key in _MEANINGS:
        entries = content.get(key, [])
        if not isinstance(entries, list):
            raise UsageError(f"{path} is not a COCO file: its {key} are not a list")
        lists[key] = [
            _understood(key, _with_box(entry), f"{key}[{n}]", problems)
            for n, entry in enumerate(entries)
        ]
    refuse(path, problems)
    return _File(path, _without_roots(lists))


def _with_box(entry: Any) -> Any:
    """An annotation that has keypoints and no box, with that around them."""
    if not isinstance(entry, dict) or "bbox" in entry or "keypoints" not in entry:
        return entry
    try:
        keypoints = _list_of_numbers(entry["keypoints"])
    except ValueError:  # which `_understood` says
        return entry
    box = box_around(keypoints) if len(keypoints) % 3 == 0 else None
    if box is None:
        return entry
    x_min, y_min, x_max, y_max = box
    return {**entry, "bbox": [x_min, y_min, x_max - x_min, y_max - y_min]}


def _understood(
    key: str, entry: Any, where: str, problems: list[str]
) -> dict[str, Any]:
    """An entry of a list, with the meaning of its fields in place of how they are
    written; what has none is added to `problems`."""
    required, optional = _MEANINGS[key]
    if not isinstance(entry, dict):
        problems.append(f"{where} is {fields.shown(entry)}, and not an object")
        return {}
    if missing := [field for field in required if field not in entry]:
        problems.append(f"{where} has no {' and no '.join(missing)}")
        return entry
    understood = entry.copy()
    for field, meaning in (required | optional).items():
        if field in required or entry.get(field) is not None:
            try:
                understood[field] = meaning(entry[field])
            except ValueError as error:
                problems.append(
                    f"{where} has the {field} {fields.shown(entry[field])}: {error}"
                )
    return understood


def _without_roots(
    lists: dict[str, list[dict[str, Any]]],
) -> dict[str, list[dict[str, Any]]]:
    """Without a category above the others that has the name of one of them.

    Some exports have it.  No object is of it, and the one below is the class.
    """
    used = {one["category_id"] for one in lists["annotations"]}
    below = {
        entry["name"]
        for entry in lists["categories"]
        if entry["name"] == entry.get("supercategory")
    }
    kept = [
        entry
        for entry in lists["categories"]
        if entry["id"] in used
        or entry["name"] not in below
        or entry["name"] == entry.get("supercategory")
    ]
    return lists | {"categories": kept}


def _name_of(file: _File) -> dict[Any, str]:
    """The categories' names by their ids, in order: numbers before texts."""
    names = {entry["id"]: entry["name"] for entry in file.content["categories"]}
    return dict(sorted(names.items(), key=lambda item: (str(type(item[0])), item)))


def _numbers(files: Sequence[_File], problems: list[str]) -> dict[Any, int]:
    """The class of each category id."""
    train, *others = files
    for file in files:
        ids = [entry["id"] for entry in file.content["categories"]]
        problems += [f"{file.path.name}: {t}" for t in _twice("category id", ids)]
    names = _name_of(train)
    classes.check_names(train.path, tuple(names.values()))
    for file in others:
        for id_, name in _name_of(file).items():
            if names.get(id_) != name:
                problems.append(
                    f"{file.path.name}: category {id_} is {name!r}, and "
                    f"{names.get(id_, 'none')!r} in {train.path.name}"
                )
    return {id_: k for k, id_ in enumerate(names)}


def _skeleton(
    file: _File, splits: Sequence[Sequence[_Image]], problems: list[str]
) -> Skeleton | None:
    """What the keypoints of the set are; only numbered where categories differ in it,
    or do not say it."""
    wrong: list[str] = []
    declared: dict[Any, tuple[tuple[str, ...], tuple[tuple[int, int], ...]]] = {}
    for entry in file.content["categories"]:
        names, limbs = entry.get("keypoints") or (), entry.get("skeleton") or ()
        if limbs and not names:
            wrong.append(
                f"category {entry['name']!r} has a skeleton, and no keypoints that it "
                'joins: name them, as "keypoints": ["nose", …]'
            )
        elif names:
            declared[entry["id"]] = names, limbs
    most = 0
    every = [image for split in splits for image in split]
    for one in (found for image in every for found in image.objects):
        count = len(one.get("keypoints") or ()) // 3
        names, _ = declared.get(one["category_id"], ((), ()))
        if count and names and count != len(names):
            wrong.append(
                f"{one['where']}: it has {count} keypoints, and its category names "
                f"{len(names)}"
            )
        most = max(most, count)
    problems += [f"{file.path.name}: {what}" for what in wrong]
    if not most or wrong:
        return None
    if len({*declared.values()}) != 1:
        return skeleton([str(k) for k in range(1, most + 1)])
    ((names, limbs),) = {*declared.values()}
    try:  # in COCO they are counted from 1
        return skeleton(names, limbs=[(a - 1, b - 1) for a, b in limbs])
    except UsageError as error:
        problems.append(f"{file.path.name}: {error}")
    return None


def _folder(file: _File) -> Path:
    """Where the images are."""
    split = file.path.stem.rpartition("_")[2]
    here, above = file.path.parent, file.path.parent.parent
    folders = (
        here,
        here / "images",
        above / split,
        above / "images" / split,
        above / "images",
        above,
    )
    names = [image["file_name"] for image in file.content["images"]]
    for folder in folders:
        if any(os.path.isfile(folder / _inside(folder, name)) for name in names):
            return folder
    first = names[0] if names else "any image"
    raise UsageError(
        f"the images of {file.path} cannot be found: {first:.200} is in none of "
        f"{', '.join(map(str, folders))}"
    )


def _inside(folder: Path, name: str) -> str:
    """The path of an image in its folder; Windows writes it with backslashes."""
    if "\\" in name and not os.path.isfile(folder / name):
        return name.replace("\\", "/")
    return name


def _images(
    root: Path,
    folder: Path,
    file: _File,
    split: str,
    exclude: listing.Exclude,
    problems: list[str],
) -> list[_Image]:
    """The images with their annotations, without those that are left out."""
    content, inside = file.content, folder.relative_to(root)
    wrong: list[str] = []
    wrong += _twice("image id", [image["id"] for image in content["images"]])
    ids = [one["id"] for one in content["annotations"] if "id" in one]
    wrong += _twice("annotation id", ids)

    categories = _name_of(file)
    found: dict[Any, _Image] = {}
    left_out = set()
    for image in content["images"]:
        path = os.path.normpath(inside / _inside(folder, image["file_name"]))
        if path in exclude:
            left_out.add(image["id"])
            continue
        if not os.path.isfile(root / path):
            wrong.append(f"image {image['id']}: there is no file {root / path}")
        height, width = image.get("height"), image.get("width")
        size = (height, width) if height and width else None
        found[image["id"]] = _Image(path, size, [])
    for n, one in enumerate(content["annotations"]):
        # The ids of two files may be the same.
        which = f"{split} annotation {one.get('id', f'[{n}]')}"
        if which in exclude:
            continue
        if one["category_id"] not in categories:
            wrong.append(
                f"{which}: there is no category {one['category_id']}, only "
                f"{some([str(id_) for id_ in categories])}"
            )
        elif one["image_id"] in found:
            found[one["image_id"]].objects.append({"where": which, **one})
        elif one["image_id"] not in left_out:
            wrong.append(f"{which}: there is no image {one['image_id']}")
    problems += [f"{file.path.name}: {what}" for what in wrong]
    return list(found.values())


def _twice(what: str, ids: Iterable[Any]) -> list[str]:
    counts = Counter(map(str, ids))
    return [f"{what} {id_} occurs {n} times" for id_, n in counts.items() if n > 1]


def _object(annotation: dict[str, Any], numbers: Mapping[Any, int]) -> Object:
    x, y, width, height = annotation["bbox"]
    return Object(
        where=annotation["where"],
        category=numbers[annotation["category_id"]],
        box=(x, y, x + width, y + height),
        crowd=bool(annotation.get("iscrowd")),
        outline=annotation.get("segmentation") or None,
        keypoints=annotation.get("keypoints") or (),
    )
