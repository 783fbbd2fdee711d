"""Which files and folders belong to a set: its images, its splits, what is left out."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from jaxvision.data.files import fields, reading, split_names
from jaxvision.data.files.problems import some
from jaxvision.data.files.split_names import Choice, Role
from jaxvision.errors import UsageError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
"""Extensions of image files, in upper or lower case."""

SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",  # archives made by macOS
        "@eadir",  # thumbnails and indices of Synology
        "#recycle",
        "@recycle",  # QNAP
        "#snapshot",
        "$recycle.bin",  # Windows
        "system volume information",
        "lost+found",  # ext4
        "__pycache__",
    }
)
"""Folders that systems put beside one's own files, in lower case.  They are no classes,
and the copies of images in them are no images; hidden folders are neither."""

EXCLUDE = "exclude.txt"
"""A list of files to leave out of the set, one relative path per line."""


class Exclude:
    """The lines of `exclude.txt`, and which of them named a file of the set."""

    def __init__(self, root: Path):
        self.path = root / EXCLUDE
        self.remedy = f"list them in {self.path}, one path per line, to leave them out"
        self.wanted: set[str] = set()
        if self.path.exists():
            lines = reading.lines(self.path)
            self.wanted = {
                Path(line).as_posix() for line in lines if line and line[0] != "#"
            }
        self.found: set[str] = set()

    def __contains__(self, path: str) -> bool:
        if path in self.wanted:
            self.found.add(path)
            return True
        return False

    def check_all_found(self) -> None:
        """A line with a typing error must not leave its image in the set unnoticed."""
        missing = sorted(self.wanted - self.found)
        if missing:
            raise UsageError(
                f"{self.path} lists {len(missing)} images that are not in the set: "
                f"{some(missing)}.  Write paths relative to {self.path.parent}, such "
                "as train/cat/1.jpg, or remove those lines"
            )


def images(root: Path, folder: Path) -> list[str]:
    """The image files in and below `folder`, as paths relative to `root`, sorted."""
    return find(root, folder, EXTENSIONS)


def find(root: Path, folder: Path, suffixes: Iterable[str]) -> list[str]:
    """The files in and below `folder`, as paths relative to `root`, sorted.

    suffixes: of the files, in lower case, such as `".txt"`; none: all files.

    Symbolic links are followed, to each folder once.  Hidden files are left out.
    """
    wanted = frozenset(suffixes)
    found: list[str] = []
    seen: set[str] = set()
    for path, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:  # a link back would otherwise be followed for ever
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(sub for sub in folders if not hidden(sub))
        inside = Path(path).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += (
            f"{prefix}{name}"
            for name in names
            if not hidden(name)
            and (not wanted or os.path.splitext(name)[1].lower() in wanted)
        )
    return sorted(found)


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted by name, without hidden ones."""
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not hidden(path.name)
    )


def class_folders(split: Path) -> dict[str, list[Path]]:
    """The folders in `split` by their names, sorted.

    Two folders whose names differ in the spelling of Unicode alone are one class.
    Raises `UsageError` for a name that cannot be that of a class.
    """
    found: dict[str, list[Path]] = {}
    for folder in sorted(split.iterdir()):
        if folder.is_dir() and not hidden(folder.name):
            try:
                found.setdefault(fields.name(folder.name), []).append(folder)
            except ValueError as error:
                raise UsageError(
                    f"a folder in {split} cannot name a class: {error}.  Rename it, "
                    "for example with convmv -f latin1 -t utf8 -r --notest FOLDER"
                ) from error
    return dict(sorted(found.items()))


def with_suffix(folder: Path, suffix: str) -> list[Path]:
    """The files in `folder` with this suffix, in upper or lower case, sorted."""
    return sorted(
        path
        for path in folder.glob("*")
        if path.suffix.lower() == suffix and not hidden(path.name)
    )


def split_folders(root: Path) -> dict[Role, Path]:
    """The folders in `root` that are splits.

    Raises `UsageError` for two of one split and, naming them, for folders that look
    like a split and are not read as one.
    """
    there = subfolders(root)
    found = split_names.unique(
        ((path.name, split_names.role(path.name), path) for path in there),
        f"{root} has the folders",
    )
    looks = split_names.mentions if "train" in found else split_names.resembles
    split_names.refuse_unread(
        root,
        [
            f"{path.name}/"
            for path in there
            if path not in found.values() and looks(path.name)
        ],
    )
    return found


def classes_of_splits[Classes: Mapping](
    root: Path, classes: Callable[[Path], Classes], wanted: str
) -> tuple[Classes, Choice[Classes]]:
    """Classes of the training split, and of those for testing and validation.

    Splits are folders of `root` with a folder for each class; without a training split
    the folders of `root` are the classes.  A test split that has none of the classes
    is one whose labels are secret, and the next one is taken.

    Args:
      classes: finds what is in the class folders of a folder.
      wanted: the expected layout, for messages.

    Raises `UsageError` for splits without a training split, for other folders beside
    it that look like splits, by their name or by a class in them, and if there is a
    test split, but none that has a class of the training split.
    """
    splits = split_folders(root)
    if "train" not in splits:
        if splits:
            raise UsageError(
                f"{root} has {some([path.name + '/' for path in splits.values()])} "
                f"beside its class folders, or has splits but no train/: {wanted}"
            )
        return classes(root), split_names.NOTHING
    train = classes(splits["train"])
    split_names.refuse_unread(
        root,
        [
            f"{path.name}/ with {some(sorted(same))}/"
            for path in subfolders(root)
            if path not in splits.values()
            and (same := train.keys() & {sub.name for sub in subfolders(path)})
        ],
    )
    found = {split: (path, classes(path)) for split, path in splits.items()}
    choice = split_names.choose(
        found,
        describe=lambda split: f"the folder {split[0].name}/",
        answered=lambda split: bool(train.keys() & split[1].keys()),
    )
    strange = [
        path.name + "/"
        for split, (path, there) in found.items()
        if split != "train"
        and not train.keys() & there.keys()
        # One folder of images alone may be a test split whose labels are secret.
        and (not choice.splits or sum(map(bool, there.values())) > 1)
    ]
    if strange:
        raise UsageError(
            f"{root} has no folder of {splits['train'].name}/ in "
            f"{' or '.join(strange)}: {wanted}"
        )
    return train, Choice(tuple(there for _, there in choice.splits), choice.words)


def paired_folders(
    root: Path, first: str, seconds: Sequence[str], wanted: str
) -> tuple[list[tuple[Path, Path]], tuple[str, ...]]:
    """The folders `first` and `second` of the training split, and of those beside it.

    They are `train/first` and `train/second`, or `first/train` and `second/train`;
    without splits, they are in `root`.  They may be written in upper or lower case.
    Also returns `split_names.Choice.words`.

    Args:
      seconds: the names that `second` may have.  The first of them, which belongs to
        this kind of data, goes before the others.
      wanted: the expected layout, for messages.

    Raises `UsageError` as `split_folders` does, for splits without a training split, if
    there are no such folders, and where two of the others might be `second`.
    """

    def parts(folder: Path) -> tuple[Path, Path]:
        there = {path.name.casefold(): path for path in subfolders(folder)}
        found = [there[name] for name in seconds if name in there]
        if first in there and len(found) > 1 and seconds[0] not in there:
            raise UsageError(
                f"{folder} has {some([f'{path.name}/' for path in found])}: call that "
                f"which belongs to {first}/ {seconds[0]}/"
            )
        return there.get(first, folder / first), (*found, folder / seconds[0])[0]

    inside = [
        (parts(folder)[0], split, parts(folder))
        for split, folder in split_folders(root).items()
        if parts(folder)[0].is_dir()
    ]
    outside = []
    whole = parts(root)
    if whole[0].is_dir():
        others = split_folders(whole[1]) if whole[1].is_dir() else {}
        outside = [
            (folder, split, (folder, others.get(split, whole[1] / folder.name)))
            for split, folder in split_folders(whole[0]).items()
        ]
    pairs = split_names.unique(
        (
            (folder.relative_to(root).as_posix(), split, pair)
            for folder, split, pair in (*inside, *outside)
        ),
        f"{root} has the folders",
    )
    if not pairs and all(part.is_dir() for part in whole):
        return [whole], split_names.NOTHING.words
    if not pairs:
        raise UsageError(f"{root} has no {first}/ and {seconds[0]}/: {wanted}")
    return chosen_pairs(root, pairs, wanted, lambda annotations: annotations.is_dir())


def chosen_pairs(
    root: Path,
    pairs: Mapping[Role, tuple[Path, Path]],
    wanted: str,
    annotated: Callable[[Path], bool],
) -> tuple[list[tuple[Path, Path]], tuple[str, ...]]:
    """As `paired_folders`, of the pairs of folders that a set has.

    annotated: whether there are annotations in the second folder of a split.
    """
    if "train" in pairs and not annotated(pairs["train"][1]):
        images, annotations = pairs["train"]
        raise UsageError(f"{images} has no annotations in {annotations}: {wanted}")
    if "train" not in pairs:
        names = [pair[0].relative_to(root).as_posix() + "/" for pair in pairs.values()]
        raise UsageError(f"{root} has {some(names)}, but nothing to train on: {wanted}")
    choice = split_names.choose(
        pairs,
        describe=lambda pair: f"the folder {pair[0].relative_to(root).as_posix()}/",
        answered=lambda pair: annotated(pair[1]),
    )
    return [pairs["train"], *choice.splits], choice.words


def by_stem(
    root: Path, folder: Path, paths: Iterable[str], problems: list[str]
) -> dict[str, str]:
    """Paths by their names below `folder` without extension.

    Two of the same name would share one annotation: that is added to `problems`.
    """
    found: dict[str, str] = {}
    for path in paths:
        stem = (root / path).relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            problems.append(f"{path} and {found[stem]} differ in extension only")
        found.setdefault(stem, path)
    return found


def folder(root: Path) -> Path:
    """The folder that a set is in.  Raises `UsageError` if there is none."""
    if root.is_dir():
        return root
    if root.exists():
        raise UsageError(
            f"{root} is a file, not a folder: use csv:, jsonl: or npz: for files"
        )
    there = next(parent for parent in root.absolute().parents if parent.is_dir())
    raise UsageError(f"there is no folder {root}: the nearest that exists is {there}")


def hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or is the system's."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS
