"""`folder:PATH`: a folder of one's own images, sorted into one folder per class."""

import os
from pathlib import Path

import numpy as np

from jaxvision.data.image_files import Labelled, splits
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
"""Of the files that count as images, in upper or lower case."""

TEST_FOLDERS = ("test", "validation", "val", "valid")
"""Where the test split is looked for, in this order."""

WORDS = ("words.txt", "classes.txt")
"""Files that may translate folder names, one `n01443537<tab>goldfish` a line."""

EXCLUDE = "exclude.txt"
"""Files that are no part of the set, one path a line, relative to it."""

_LAYOUT = """\
wanted is one folder per class, in splits or not:
  PATH/                    or   PATH/
    train/                        cat/
      cat/                          1.jpg
        1.jpg                       …
        …                         dog/
      dog/                          …
        …
    val/  (or test/)
      …"""


def load(name: str) -> Splits:
    """The set called `folder:PATH`.

    PATH holds `train/` and one of `test/`, `validation/`, `val/`, each with one folder
    per class; or the class folders alone, and then a fifth of each class becomes the
    test split.  Where there are both, `test/` is used and `val/` is not: validation
    examples are carved from `train/`.  Images may lie deeper; symbolic links are
    followed, to each folder once.  Hidden files are ignored, and so are those that
    `exclude.txt` in PATH lists.

    Classes are the folders of `train/`, sorted by their names.  They are called by what
    `words.txt` in PATH says, the first of several synonyms if that is unambiguous.

    Raises `UsageError` for another layout, fewer than two classes, a class without
    images, one that only the test has, and images that cannot be read.
    """
    root = Path(name.partition(":")[2]).expanduser()
    if not root.is_dir():
        raise UsageError(_no_folder(root))
    exclude = _Exclude(root)

    if (root / "train").is_dir():
        train = _classes(root, root / "train", exclude)
        test = _find_test(root, train, exclude)
    else:
        train = _classes(root, root, exclude)
        test = None
    _check(root, train, test)
    exclude.check_all_found()

    indices = {folder: i for i, folder in enumerate(train)}
    return splits(
        name,
        root,
        train=_labelled(train, indices),
        test=None if test is None else _labelled(test, indices),
        class_names=_class_names(root, list(train)),
        remedy=f"list them in {root / EXCLUDE}, one path a line, to leave them out",
    )


class _Exclude:
    """The lines of `exclude.txt`, and which of them named a file."""

    def __init__(self, root: Path):
        self.path = root / EXCLUDE
        self.wanted: set[str] = set()
        if self.path.exists():
            lines = map(str.strip, self.path.read_text("utf-8-sig").splitlines())
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
                f"{_some(missing)}.  Write paths relative to {self.path.parent}, such "
                "as train/cat/1.jpg, or remove those lines"
            )


def _classes(root: Path, split: Path, exclude: _Exclude) -> dict[str, list[str]]:
    """The images in each folder of `split`, as paths relative to `root`, sorted."""
    return {
        folder: sorted(
            path for path in _images(root, split / folder) if path not in exclude
        )
        for folder in sorted(
            entry.name
            for entry in split.iterdir()
            if entry.is_dir() and not _hidden(entry.name)
        )
    }


def _images(root: Path, folder: Path) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for path, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:  # a link back would otherwise be followed for ever
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(sub for sub in folders if not _hidden(sub))
        inside = Path(path).relative_to(root).as_posix()
        found += (
            f"{inside}/{file}"
            for file in files
            if os.path.splitext(file)[1].lower() in EXTENSIONS and not _hidden(file)
        )
    return found


def _find_test(
    root: Path, train: dict[str, list[str]], exclude: _Exclude
) -> dict[str, list[str]] | None:
    there = [folder for folder in TEST_FOLDERS if (root / folder).is_dir()]
    for folder in there:
        test = _classes(root, root / folder, exclude)
        if train.keys() & test.keys():  # a test split without labels has none of them
            return test
    if there:
        raise UsageError(
            f"{root} has no folder of train/ in {' or '.join(f'{f}/' for f in there)}: "
            + _LAYOUT
        )
    return None


def _check(
    root: Path, train: dict[str, list[str]], test: dict[str, list[str]] | None
) -> None:
    if not train:
        flat = len([p for p in root.iterdir() if p.suffix.lower() in EXTENSIONS])
        raise UsageError(
            f"{root} has no class folders"
            + f", but {flat} images of unknown class" * bool(flat)
            + f": {_LAYOUT}"
        )
    problems = []
    splits = {"train", "training", *TEST_FOLDERS}
    if test is None and (like := [f for f in train if f.lower() in splits]):
        problems.append(
            f"it has {_some(like)} beside its class folders, or has splits but no "
            f"train/: {_LAYOUT}"
        )
    if len(train) == 1:
        problems.append(
            f"it has only one class, {next(iter(train))!r}, and to tell classes "
            f"apart takes two: {_LAYOUT}"
        )
    for split, classes in (("train", train), ("test", test or {})):
        if empty := [folder for folder, paths in classes.items() if not paths]:
            problems.append(
                f"no image in {len(empty)} class folders of the {split} split: "
                f"{_some(empty)}.  Add images ({' '.join(sorted(EXTENSIONS))}) or "
                "remove the folders"
            )
    if strange := sorted((test or {}).keys() - train.keys()):
        problems.append(
            f"{len(strange)} class folders of the test split are not in train/: "
            f"{_some(strange)}.  Give the folders of a class the same name in both"
        )
    if problems:
        raise UsageError(f"{root} cannot be used:\n" + "\n".join(problems))


def _labelled(classes: dict[str, list[str]], indices: dict[str, int]) -> Labelled:
    counts = [len(paths) for paths in classes.values()]
    return Labelled(
        paths=tuple(path for paths in classes.values() for path in paths),
        labels=np.repeat([indices[folder] for folder in classes], counts).astype(
            np.int32
        ),
    )


def _class_names(root: Path, folders: list[str]) -> tuple[str, ...]:
    words: dict[str, str] = {}
    for file in WORDS:
        if (root / file).is_file():
            for line in (root / file).read_text("utf-8-sig").splitlines():
                folder, _, word = line.strip().partition("\t" if "\t" in line else " ")
                if word.strip():
                    words[folder] = word.strip()
    full = [words.get(folder, folder) for folder in folders]
    short = [
        words[folder].split(",")[0] if folder in words else folder for folder in folders
    ]
    return tuple(
        brief if short.count(brief) == 1 else whole
        for brief, whole in zip(short, full, strict=True)
    )


def _no_folder(root: Path) -> str:
    if root.exists():
        return f"{root} is a file, not a folder: use csv:, jsonl: or npz: for files"
    there = next(parent for parent in root.absolute().parents if parent.is_dir())
    return f"there is no folder {root}: the nearest that exists is {there}"


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + f" and {len(names) - 10} more" * (len(names) > 10)
