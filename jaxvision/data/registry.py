"""Data sets by name."""

import re
from pathlib import Path

from jaxvision.data import exclusion, folds
from jaxvision.data.files import (
    arrays,
    coco,
    folder,
    masks,
    table,
    voc,
    yolo,
)
from jaxvision.data.made import (
    embedded,
    scenes,
    signals,
    synthetic,
)
from jaxvision.data.source import Splits
from jaxvision.data.tfds import source as tfds_source
from jaxvision.errors import UsageError, unknown

OWN = {
    "folder": folder.load,
    "csv": table.load,
    "jsonl": table.load,
    "npz": arrays.load,
    "masks": masks.load,
    "coco": coco.load,
    "voc": voc.load,
    "yolo": yolo.load,
}
"""Kinds of one's own data: what stands before the colon of `folder:PATH`, …"""

MADE = {
    synthetic.NAME: synthetic.load,
    scenes.NAME: scenes.load,
    **signals.LOADERS,
}
"""Sets whose images are made here, of nothing or of signals, by what their names begin
with."""


def load(
    name: str, *, data_dir: str | None = None, exclude: str | Path | None = None
) -> Splits:
    """Describe a data set; the images are decoded by each source's `read`.

    Args:
      name: `mnist_5k` (embedded), `synthetic[:HxWxC][:classes]` and
        `scenes[:HxW[xC]][:TRAIN[:TEST]]` (generated), `sounds:`, `series:`,
        `binaries:` and `tracks:PATH` (see `scenes` and `signals`), one's own
        images (`folder:PATH`, `csv:PATH`, and the other kinds in `OWN`), or a set of
        TensorFlow Datasets: `mnist`, `mnist:3.0.1`, `imagenette/160px-v2`, and with
        what to train and to test on, `mnist@train[:90%],train[90%:]`.
        `fold:I/K:NAME` is the I-th of K folds of the training split of any of them.
      data_dir: where TensorFlow Datasets keeps its sets; else the environment's
        `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
      exclude: a list of examples to leave out (see `exclusion`), made for this set; of
        a fold, for the whole that it is taken from.

    A set of TensorFlow Datasets that is not there yet is downloaded and prepared.
    Where it has no `test` split, or one without answers, `validation` takes its place,
    and else a fifth of each class of `train`.

    Raises `UsageError` if there is no such set, or no way to read it.
    """
    if name.startswith(f"{folds.NAME}:"):
        fold, count, whole = folds.parse(name)
        train = load(whole, data_dir=data_dir, exclude=exclude).train
        return folds.split(train, fold, count, name=name)
    splits = _load(name, data_dir)
    if exclude is None:
        return splits
    listed = exclusion.read(exclude)
    return Splits(*(exclusion.exclude(split, listed) for split in splits))


def _load(name: str, data_dir: str | None) -> Splits:
    if name == embedded.NAME:
        return embedded.load()
    kind, colon, path = name.partition(":")
    if kind in MADE:
        return MADE[kind](name)
    if colon and kind in OWN:
        if not path:
            raise UsageError(f"{name!r} names no file or folder: write {kind}:PATH")
        return OWN[kind](name)
    _check_kind(name)
    return tfds_source.load(name, data_dir)


def prepare(name: str, data_dir: str | None = None) -> Path:
    """Download and prepare a set unless it is there; return the folder it is in.

    Raises `UsageError` as `load` does, and for the sets that need no preparation.
    """
    kind, colon, _ = name.partition(":")
    if kind in (embedded.NAME, *MADE) or (colon and kind in OWN):
        raise UsageError(f"{name!r} needs no preparation: use it as it is")
    _check_kind(name)
    return tfds_source.prepare(name, data_dir)


_NAMESAKES = ("coco", "voc")
"""Kinds of one's own data that without a path are sets of TensorFlow Datasets."""


def _check_kind(name: str) -> None:
    """What looks like one's own data and is none; versions have a colon, too."""
    kind, _, path = name.partition("@")[0].partition(":")
    if path and not re.fullmatch(r"[\d.*]+", path) and ("/" in path or "." in path):
        raise unknown("kind of data", kind, [*OWN, *MADE])
    own = kind in OWN and kind not in _NAMESAKES
    if own or ("/" in name and Path(name).expanduser().exists()):
        given = Path(path or name)
        fitting = given.suffix[1:] if given.suffix[1:] in OWN else "folder"
        raise UsageError(
            f"unknown dataset {name!r}: one's own images are named by their kind, such "
            f"as {fitting}:{'PATH' if own else name}"
        )
