"""Sets of TensorFlow Datasets (TFDS), read without TensorFlow.

TFDS knows where hundreds of public sets are and stores each as encoded images in
ArrayRecord files: https://www.tensorflow.org/datasets/catalog/overview.
"""

import contextlib
import functools
import io
import itertools
import os
import re
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.data import array_cache
from jaxvision.data.carving import with_test
from jaxvision.data.files import split_names
from jaxvision.data.source import Source, Splits
from jaxvision.data.tfds import records as tfds_records
from jaxvision.data.tfds.preparation import (
    command,
    download_and_prepare,
    is_prepared,
    one_line,
    quiet_logs,
)
from jaxvision.data.tfds.records import Layout, Records
from jaxvision.errors import UsageError, unknown
from jaxvision.files import expanded


def load(
    name: str, data_dir: str | None = None, *, others: Sequence[str] = ()
) -> Splits:
    """Describe the set called `name`, once it is prepared: see `registry.load`.

    others: names that are not of TFDS, to be suggested for one that is not known.
    """
    base, splits = _parse(name)
    builder = _prepared(base, data_dir, others)
    layout = tfds_records.layout(base, builder.info.features)
    if splits:
        _check_chosen(name, builder, splits)
        train, *validation, test = (
            _source(base, builder, layout, split)._replace(
                choice=f"the split {split}, as the name of the set says"
            )
            for split in splits
        )
        return Splits(train._replace(choice=""), test, *validation)
    there = list(builder.info.splits)
    if "train" not in there:
        raise UsageError(
            f"dataset {name!r} has the splits {', '.join(map(repr, there))}: choose "
            "what to train and to test on, such as "
            f"{base}@{there[0]}[:80%],{there[0]}[80%:]"
        )
    source = _source(base, builder, layout, "train")
    chosen, words = split_names.choose(
        {role: split for split in there if (role := split_names.role(split))},
        describe=lambda split: f"the split {split}",
        # The answers to the test splits of contests are kept secret.
        answered=lambda split: tfds_records.annotated(Records(builder, split), layout),
    )
    if chosen:
        declared = (
            _source(base, builder, layout, split)._replace(choice=choice)
            for split, choice in zip(chosen, words, strict=True)
        )
        return Splits(source, *declared)
    unread = [split for split in there if split_names.mentions(split)]
    if unread := [split for split in unread if split_names.role(split) is None]:
        raise UsageError(
            f"dataset {name!r} has the splits {', '.join(map(repr, there))}: say what "
            f"to train and to test on, such as {base}@train,{unread[0]}"
        )
    return with_test(source, base, words[0])


def prepare(
    name: str, data_dir: str | None = None, *, others: Sequence[str] = ()
) -> Path:
    """Prepare the set called `name` if need be: see `registry.prepare`."""
    return Path(_prepared(_parse(name)[0], data_dir, others).data_path)


def offered() -> dict[str, tuple[int | None, int | None, int]]:
    """Image shapes of the sets that `load` takes, by name, from TFDS's catalogue.

    Every set of the catalogue is opened for it, which takes a second or two and no
    network.  Of a set with variants this is the first one's.  Whether a set can be
    prepared without TensorFlow shows when it is.
    """
    import tensorflow_datasets as tfds

    shapes = {}
    for name in tfds.list_builders(with_community_datasets=False):
        with contextlib.suppress(UsageError):
            features = _open(name, str(data_folder())).info.features
            shapes[name] = tfds_records.layout(name, features).image_shape
    return shapes


def data_folder(data_dir: str | None = None) -> Path:
    """Where TFDS keeps its sets: see `registry.load`."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return expanded(folder)


def _prepared(name: str, data_dir: str | None, others: Sequence[str]) -> Any:
    """The TFDS builder of a set whose files are there.

    A set that cannot be used is refused before anything is downloaded.
    """
    folder = str(data_folder(data_dir))
    builder = _open(name, folder, others)
    tfds_records.layout(name, builder.info.features)
    if not builder.data_path.exists():
        download_and_prepare(name, builder)
        builder = _open(name, folder)  # now with the sizes and class names it came with
    _check_files(name, builder)
    return builder


def _parse(name: str) -> tuple[str, tuple[str, ...]]:
    """`name@train,test` in parts; TFDS's own names have no `@`."""
    base, at, splits = name.partition("@")
    parts = tuple(part.strip() for part in splits.split(",")) if at else ()
    if at and not (len(parts) in (2, 3) and all(parts)):
        raise UsageError(
            f"{name!r} does not say what to train and to test on: write the two after "
            f"the @, such as {base}@train[:90%],train[90%:], or three, that for "
            "validation in the middle"
        )
    return base, parts


def _check_chosen(name: str, builder: Any, splits: tuple[str, ...]) -> None:
    """Raises `UsageError` unless splits of a name are there and share no example."""
    examples = []
    for split in splits:
        try:
            with quiet_logs():
                info = builder.info.splits[split]
        except Exception as error:
            there = ", ".join(map(repr, builder.info.splits))
            raise UsageError(
                f"dataset {name!r} has no split {split!r} ({one_line(error)}): it "
                f"has {there}, and parts of them are written train[:90%]"
            ) from error
        if info.num_examples <= 0:
            raise UsageError(f"the split {split!r} of dataset {name!r} is empty")
        examples.append(
            {
                file.filename: range(file.skip, file.skip + file.take)
                for file in info.file_instructions
            }
        )
    for first, second in itertools.combinations(range(len(splits)), 2):
        shared = sum(
            len(range(max(part.start, of.start), min(part.stop, of.stop)))
            for path, part in examples[first].items()
            for of in [examples[second].get(path, range(0))]
        )
        if shared:
            raise UsageError(
                f"dataset {name!r} has {shared:,} examples in {splits[first]} and in "
                f"{splits[second]}: choose splits that share none"
            )


def _source(name: str, builder: Any, layout: Layout, split: str) -> Source:
    records = Records(builder, split)
    folder = Path(builder.data_path)
    info = builder.info.splits[split]
    origins = [
        folder / "dataset_info.json",
        folder / "features.json",
        *(Path(file.filename) for file in info.file_instructions),
    ]

    def cached(kind: str, make: Callable[[], dict[str, np.ndarray]]):
        """From a file next to the set's own: see `array_cache`."""

        def made() -> dict[str, np.ndarray]:
            try:
                return make()
            except Exception as error:
                raise _damaged(name, builder, one_line(error)) from error

        path = folder / f"{kind}-{urllib.parse.quote(split, safe='')}.npz"
        return array_cache.cached(path, origins, made)

    @functools.cache
    def targets() -> dict[str, np.ndarray]:
        arrays = cached("targets", lambda: tfds_records.targets(records, layout))
        for array in arrays.values():
            array.flags.writeable = False  # every call hands out the same arrays
        return arrays

    def read() -> dict[str, np.ndarray]:
        if None in layout.image_shape:
            raise UsageError(
                f"the images of {name}:{split} differ in size, so that they cannot be "
                "one array: choose an experiment that streams and crops them"
            )
        images = cached(
            "decoded", lambda: {"image": tfds_records.images(records, layout)}
        )
        return images | targets()

    return Source(
        name=f"{name}:{split}",
        size=info.num_examples,
        image_shape=layout.image_shape,
        class_names=layout.class_names,
        read=read,
        targets=lambda: dict(targets()),
        encoded=records,
    )


def _open(name: str, folder: str, others: Sequence[str] = ()) -> Any:
    import tensorflow_datasets as tfds

    try:
        # TFDS prints and logs what the errors raised here say once, and shorter.
        with quiet_logs(), contextlib.redirect_stdout(io.StringIO()):
            return tfds.builder(name, data_dir=folder)
    except Exception as error:
        raise _cannot_open(name, folder, others, error) from error


def _cannot_open(
    name: str, folder: str, others: Sequence[str], error: Exception
) -> UsageError:
    import tensorflow_datasets as tfds

    catalogue = tfds.list_builders(with_community_datasets=False)
    base = re.split("[/:]", name)[0]
    variant = name.partition("/")[2].partition(":")[0]
    if base not in catalogue:
        return unknown("dataset", name, [*others, *catalogue])
    if isinstance(error, ImportError) and "'tensorflow'" in str(error):
        return UsageError(
            f"dataset {name!r} needs TensorFlow: "
            "pip install 'jaxvision-research[tensorflow]'"
        )
    variants = tfds.builder_cls(base).builder_configs
    if variant and variant not in variants:
        known = [base, *(f"{base}/{known}" for known in variants)]
        return unknown("variant of the dataset", name, known)
    reason = re.sub('^Failed to construct dataset .*?}": ', "", one_line(error))
    return UsageError(
        f"dataset {name!r} cannot be opened in {folder}: {reason}.  If the files in "
        f"{Path(folder) / base} are damaged, delete that folder and prepare it again:\n"
        f"  {command(base, folder)}"
    )


def _check_files(name: str, builder: Any) -> None:
    if not is_prepared(builder):
        raise _damaged(name, builder, "dataset_info.json or features.json is missing")
    formats = {form.value for form in builder.info.available_file_formats()}
    if "array_record" not in formats:
        stored = ", ".join(sorted(formats))
        raise _damaged(name, builder, f"it is stored as {stored}, not as array_record")
    for split in builder.info.splits.values():
        for path in split.filepaths:
            if not path.exists():
                raise _damaged(name, builder, f"{path.name} is missing")


def _damaged(name: str, builder: Any, reason: str) -> UsageError:
    return UsageError(
        f"dataset {name!r} in {builder.data_path} cannot be read: {reason}.  Delete "
        "that folder, or choose another --data-dir, and prepare the set again:\n"
        f"  {command(name, builder.data_dir_root)}"
    )
