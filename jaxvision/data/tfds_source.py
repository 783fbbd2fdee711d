"""Sets of TensorFlow Datasets (TFDS), read without TensorFlow.

TFDS knows where hundreds of public sets are and stores each as encoded images in
ArrayRecord files: https://www.tensorflow.org/datasets/catalog/overview.
"""

import contextlib
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.data import array_cache, embedded, synthetic
from jaxvision.data.source import Source, Splits
from jaxvision.data.tfds_preparation import (
    command,
    download_and_prepare,
    is_prepared,
    one_line,
    quiet_logs,
)
from jaxvision.errors import UsageError, unknown


def load(name: str, data_dir: str | None = None) -> Splits:
    """Describe the set called `name`, once it is prepared: see `registry.load`."""
    builder = _prepared(name, data_dir)
    splits = builder.info.splits
    test = "test" if "test" in splits else "validation"
    if "train" not in splits or test not in splits:
        raise UsageError(
            f"dataset {name!r} comes as {', '.join(map(repr, splits))}: wanted "
            "'train', and 'test' or 'validation'"
        )
    return Splits(
        train=_source(name, builder, "train"),
        test=_source(name, builder, test),
    )


def prepare(name: str, data_dir: str | None = None) -> Path:
    """Prepare the set called `name` if need be: see `registry.prepare`."""
    return Path(_prepared(name, data_dir).data_path)


def offered() -> dict[str, tuple[int, int, int]]:
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
            _check_features(name, features)
            shapes[name] = features["image"].shape
    return shapes


def data_folder(data_dir: str | None = None) -> Path:
    """Where TFDS keeps its sets: see `registry.load`."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(folder).expanduser()


def _prepared(name: str, data_dir: str | None) -> Any:
    """The TFDS builder of a set whose files are there.

    What is wrong with the set itself is said before anything is downloaded.
    """
    folder = str(data_folder(data_dir))
    builder = _open(name, folder)
    _check_features(name, builder.info.features)
    if not builder.data_path.exists():
        download_and_prepare(name, builder)
        builder = _open(name, folder)  # now with the sizes and class names it came with
    _check_files(name, builder)
    return builder


def _source(name: str, builder: Any, split: str) -> Source:
    features = builder.info.features
    return Source(
        name=f"{name}:{split}",
        size=builder.info.splits[split].num_examples,
        image_shape=features["image"].shape,
        class_names=tuple(features["label"].names),
        read=lambda: _read(name, builder, split),
    )


def _read(name: str, builder: Any, split: str) -> dict[str, np.ndarray]:
    """Decode a split, or take what is cached next to its files: see `array_cache`."""
    folder = Path(builder.data_path)
    return array_cache.cached(
        folder / f"decoded-{split}.npz",
        [
            folder / "dataset_info.json",
            folder / "features.json",
            *map(Path, builder.info.splits[split].filepaths),
        ],
        lambda: _decode(name, builder, split),
    )


def _decode(name: str, builder: Any, split: str) -> dict[str, np.ndarray]:
    """Decode a split into one array, some 60,000 MNIST images a second.

    That is twice the speed of the records TFDS itself would decode.  More threads are
    slower: small images decode faster than Python's lock changes hands.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    features = builder.info.features
    size = builder.info.splits[split].num_examples
    image = np.empty((size, *features["image"].shape), np.uint8)
    label = np.empty(size, np.int32)
    chunk = 1_024
    try:
        records = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        for start in range(0, size, chunk):
            indices = list(range(start, min(start + chunk, size)))
            for i, record in zip(indices, records.__getitems__(indices), strict=True):
                example = tf_example_pb2.Example.FromString(record).features.feature
                encoded = example["image"].bytes_list.value[0]
                image[i] = features["image"].decode_example_np(encoded)
                label[i] = example["label"].int64_list.value[0]
    except Exception as error:
        raise _damaged(name, builder, one_line(error)) from error
    return {"image": image, "label": label}


def _open(name: str, folder: str) -> Any:
    import tensorflow_datasets as tfds

    try:
        # TFDS prints and logs what the errors raised here say once, and shorter.
        with quiet_logs(), contextlib.redirect_stdout(io.StringIO()):
            return tfds.builder(name, data_dir=folder)
    except Exception as error:
        raise _cannot_open(name, folder, error) from error


def _cannot_open(name: str, folder: str, error: Exception) -> UsageError:
    import tensorflow_datasets as tfds

    catalogue = tfds.list_builders(with_community_datasets=False)
    base = re.split("[/:]", name)[0]
    variant = name.partition("/")[2].partition(":")[0]
    if base not in catalogue:
        return unknown("dataset", name, [embedded.NAME, synthetic.NAME, *catalogue])
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


def _check_features(name: str, features: Any) -> None:
    import tensorflow_datasets as tfds

    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    features = dict(features)
    for feature, kind in kinds.items():
        if not isinstance(features.get(feature), kind):
            raise UsageError(
                f"dataset {name!r} has no {kind.__name__} called {feature!r} among "
                f"{', '.join(map(repr, features))}: choose a set of labelled images"
            )
    image = features["image"]
    if None in image.shape:
        raise UsageError(
            f"dataset {name!r} has images of varying size {image.shape}: streaming "
            "sets are not supported yet, choose one whose images have a fixed size"
        )
    if image.np_dtype != np.uint8:
        raise UsageError(
            f"dataset {name!r} has images of {np.dtype(image.np_dtype)}: wanted uint8"
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
