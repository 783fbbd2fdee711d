"""`folder:PATH`: a folder of one's own images, sorted into one folder per class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvision.data.files import fields, listing, reading
from jaxvision.data.files.image_files import Annotated, splits
from jaxvision.data.files.listing import EXTENSIONS, Exclude
from jaxvision.data.files.problems import some
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError

WORDS = ("words.txt", "classes.txt")
"""Files that may translate folder names, one `n01443537<tab>goldfish` per line."""

_LAYOUT = """\
expected one folder per class, with or without splits:
  PATH/                    or   PATH/
    train/                        cat/
      cat/                          1.jpg
        1.jpg                       …
        …                         dog/
      dog/                          …
        …
    val/  (or test/)
      …"""


def load(name: Name) -> Splits:
    """The set called `folder:PATH`.

    PATH holds `train/` and one of `test/`, `validation/`, `val/`, each with one folder
    per class (`split_names.NAMES` has what else these may be called); or the class
    folders alone, and then a fifth of each class becomes the test split.  Where there
    are both, `val/` is the validation split.  Images may lie deeper; symbolic links are
    followed, to each folder once.  Hidden and system files are ignored, and so are
    those that `exclude.txt` in PATH lists.

    Classes are the folders of `train/`, sorted by their names.  If `words.txt` in PATH
    translates these, the class names are the translations, or the first of several
    synonyms if that is unambiguous.

    Raises `UsageError` for another layout, folders that look like splits and are not
    read as such, fewer than two classes, a class without images, one that `train/` has
    not, and images that cannot be read.
    """
    root = listing.folder(name.path)
    exclude = Exclude(root)

    train, (others, words) = listing.classes_of_splits(
        root, lambda split: _classes(root, split, exclude), _LAYOUT
    )
    _check(root, train, others)
    exclude.check_all_found()

    indices = {folder: i for i, folder in enumerate(train)}
    return splits(
        name.text,
        root,
        [_labelled(split, indices) for split in (train, *others)],
        words,
        class_names=_class_names(root, list(train)),
        remedy=exclude.remedy,
    )


def _classes(root: Path, split: Path, exclude: Exclude) -> dict[str, list[str]]:
    """The images in each folder of `split`, as paths relative to `root`, sorted."""
    return {
        name: sorted(
            path
            for folder in folders
            for path in listing.images(root, folder)
            if path not in exclude
        )
        for name, folders in listing.class_folders(split).items()
    }


def _check(
    root: Path, train: dict[str, list[str]], others: Sequence[dict[str, list[str]]]
) -> None:
    if not train:
        flat = len([p for p in root.iterdir() if p.suffix.lower() in EXTENSIONS])
        raise UsageError(
            f"{root} has no class folders"
            + f", but {flat} images of unknown class" * bool(flat)
            + f": {_LAYOUT}"
        )
    problems = []
    if len(train) == 1:
        problems.append(
            f"it has only one class, {next(iter(train))!r}, and classification "
            f"needs two: {_LAYOUT}"
        )
    declared = [*zip(Splits._fields, (train, *others), strict=False)]
    for split, classes in declared:
        if empty := [folder for folder, paths in classes.items() if not paths]:
            problems.append(
                f"no image in {len(empty)} class folders of the {split} split: "
                f"{some(empty)}.  Add images ({' '.join(sorted(EXTENSIONS))}) or "
                "remove the folders"
            )
        if strange := sorted(classes.keys() - train.keys()):
            problems.append(
                f"{len(strange)} class folders of the {split} split are not in train/: "
                f"{some(strange)}.  Give the folders of a class the same name in both"
            )
    if problems:
        raise UsageError(f"{root} cannot be used:\n" + "\n".join(problems))


def _labelled(classes: dict[str, list[str]], indices: dict[str, int]) -> Annotated:
    counts = [len(paths) for paths in classes.values()]
    labels = np.repeat([indices[folder] for folder in classes], counts)
    return Annotated(
        paths=tuple(path for paths in classes.values() for path in paths),
        targets={"label": labels.astype(np.int32)},
    )


def _class_names(root: Path, folders: list[str]) -> tuple[str, ...]:
    words: dict[str, str] = {}
    for file in WORDS:
        if (root / file).is_file():
            for number, line in enumerate(reading.lines(root / file), start=1):
                folder, _, word = line.partition("\t" if "\t" in line else " ")
                try:
                    if word.strip():
                        words[fields.name(folder)] = fields.name(word.strip())
                except ValueError as error:
                    raise UsageError(
                        f"{root / file}, line {number}: {error}"
                    ) from error
    full = [words.get(folder, folder) for folder in folders]
    short = [
        words[folder].split(",")[0] if folder in words else folder for folder in folders
    ]
    return tuple(
        brief if short.count(brief) == 1 else whole
        for brief, whole in zip(short, full, strict=True)
    )
