"""The data sets at hand: those that are built in, and those that are prepared."""

import json
from pathlib import Path
from typing import NamedTuple

from jaxvision.data import registry
from jaxvision.data.source import Splits

ONLINE = "https://www.tensorflow.org/datasets/catalog/overview"


class Prepared(NamedTuple):
    """A set that TensorFlow Datasets has prepared in a folder."""

    name: str
    """`name:version` or `name/variant:version`, as `registry.load` takes it."""
    folder: Path
    splits: dict[str, int]
    """Examples by split; empty where the set's description cannot be read."""
    size: int
    """Bytes on the disk, caches included."""


def built_in() -> dict[str, Splits]:
    """The sets that need neither a network nor preparation."""
    return {
        name: registry.load(name)
        for kind in registry.KINDS.values()
        if not kind.own
        for name in kind.examples
    }


def own() -> tuple[list[str], list[str]]:
    """Forms of the names of one's own data, and sets that Python packages carry."""
    kinds = [kind for kind in registry.KINDS.values() if kind.own]
    return (
        [kind.form for kind in kinds],
        [name for kind in kinds for name in kind.examples],
    )


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
