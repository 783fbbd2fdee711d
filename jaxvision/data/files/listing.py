"""Which files of a folder are images, and which of them the user leaves out."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from jaxvision.data.files import fields, reading
from jaxvision.data.files.problems import some
from jaxvision.errors import UsageError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
"""Extensions of image files, in upper or lower case."""

TEST_FOLDERS = ("test", "validation", "val", "valid")
"""Where the test split is looked for, in this order."""

SPLIT_FOLDERS = frozenset({"train", "training", *TEST_FOLDERS})
"""Folders with these names are splits, not classes."""

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
    """The image files in and below `folder`, as paths relative to `root`, sorted.

    Symbolic links are followed, to each folder once.  Hidden files are left out.
    """
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
            if os.path.splitext(name)[1].lower() in EXTENSIONS and not hidden(name)
        )
    return sorted(found)


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


def find_test[Classes: Mapping](
    root: Path, train: Classes, classes: Callable[[Path], Classes], wanted: str
) -> Classes | None:
    """The first test split with a class of `train`; None if there is no test split.

    (A test split whose labels are secret has no class folder of `train`.)  `classes`
    finds the classes of a folder.  Raises `UsageError`, with the expected layout
    `wanted`, if no split fits.
    """
    there = [split for split in TEST_FOLDERS if (root / split).is_dir()]
    for split in there:
        test = classes(root / split)
        if train.keys() & test.keys():
            return test
    if there:
        raise UsageError(
            f"{root} has no folder of train/ in {' or '.join(f'{f}/' for f in there)}: "
            + wanted
        )
    return None


def paired_folders(root: Path, first: str, second: str) -> dict[str, tuple[Path, Path]]:
    """The folders called `first` and `second` of each split in which there are both.

    They are `train/first` or `first/train`; without splits they are in `root`, and
    their split is called "".
    """
    found = {}
    for split in ("train", *TEST_FOLDERS):
        inside = root / split / first, root / split / second
        outside = root / first / split, root / second / split
        for pair in (inside, outside):
            if all(folder.is_dir() for folder in pair):
                found[split] = pair
    whole = root / first, root / second
    if not found and all(folder.is_dir() for folder in whole):
        found[""] = whole
    return found


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


def folder(given: str) -> Path:
    """The folder that a set is in.  Raises `UsageError` if there is none."""
    root = Path(given).expanduser()
    if root.is_dir():
        return root
    if root.exists():
        raise UsageError(
            f"{root} is a file, not a folder: use csv:, jsonl: or npz: for files"
        )
    there = next(parent for parent in root.absolute().parents if parent.is_dir())
    raise UsageError(f"there is no folder {root}: the nearest that exists is {there}")


def hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or was added by an archiver."""
    return name.startswith(".") or name == "__MACOSX"
