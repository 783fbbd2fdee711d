"""Data sets by name."""

import re
from pathlib import Path

from jaxvision.data import arrays, embedded, folder, synthetic, table, tfds_source
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError, unknown

OWN = {
    "folder": folder.load,
    "csv": table.load,
    "jsonl": table.load,
    "npz": arrays.load,
}
"""Kinds of one's own data: what stands before the colon of `folder:PATH`, …"""


def load(name: str, *, data_dir: str | None = None) -> Splits:
    """Describe a data set; the images are decoded by each source's `read`.

    Args:
      name: `mnist_5k` (embedded), `synthetic[:HxWxC][:classes]` (generated), one's own
        images (`folder:PATH`, `csv:PATH`, `jsonl:PATH`, `npz:PATH`), or a set of
        TensorFlow Datasets with an image of fixed shape and a label: `mnist`,
        `fashion_mnist`, `cifar10`, `cifar100`, `eurosat/rgb`, `mnist:3.0.1`, …
      data_dir: where TensorFlow Datasets keeps its sets; else the environment's
        `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    A set of TensorFlow Datasets that is not there yet is downloaded and prepared.
    Where it has no `test` split, `validation` takes its place.

    Raises `UsageError` if there is no such set, or no way to read it.
    """
    if name == embedded.NAME:
        return embedded.load()
    kind, colon, path = name.partition(":")
    if kind == synthetic.NAME:
        return synthetic.load(name)
    if colon and kind in OWN:
        if not path:
            raise UsageError(f"{name!r} names no file or folder: write {kind}:PATH")
        return OWN[kind](name)
    _check_kind(name, kind, path)
    return tfds_source.load(name, data_dir)


def prepare(name: str, data_dir: str | None = None) -> Path:
    """Download and prepare a set unless it is there; return the folder it is in.

    Raises `UsageError` as `load` does, and for the sets that need no preparation.
    """
    kind, _, path = name.partition(":")
    if kind in (embedded.NAME, synthetic.NAME, *OWN):
        raise UsageError(f"{name!r} needs no preparation: use it as it is")
    _check_kind(name, kind, path)
    return tfds_source.prepare(name, data_dir)


def _check_kind(name: str, kind: str, path: str) -> None:
    """What looks like one's own data and is none; versions have a colon, too."""
    if path and not re.fullmatch(r"[\d.*]+", path) and ("/" in path or "." in path):
        raise unknown("kind of data", kind, OWN)
    if kind in OWN or ("/" in name and Path(name).expanduser().exists()):
        given = Path(path or name)
        fitting = given.suffix[1:] if given.suffix[1:] in OWN else "folder"
        raise UsageError(
            f"unknown dataset {name!r}: one's own images are named by their kind, such "
            f"as {fitting}:{'PATH' if kind in OWN else name}"
        )
