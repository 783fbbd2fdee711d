"""From the records of TensorFlow Datasets (TFDS) to the arrays of `types.Batch`.

TFDS stores an example as a `tf.Example`, whose images are encoded files and whose
sequences are flat lists.
"""

import functools
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data import progress
from jaxvision.data.files import decoding
from jaxvision.data.files.decoding import decode
from jaxvision.errors import UsageError

_CHUNK = 1_024  # records read at a time: thirty times as fast as one by one


class Layout(NamedTuple):
    """Which features of a set are used."""

    image_shape: tuple[int | None, int | None, int]
    class_names: tuple[str, ...]
    label: bool
    presence: str | None
    """The feature that lists the classes of an image."""
    objects: bool
    crowd: str | None
    """The feature of an object by which it becomes `crowd`."""


def layout(name: str, features: Mapping[str, Any]) -> Layout:
    """Reads TFDS's description of a set's features.

    Taken are an `image`, with a `label`, a list of them (also called `labels`), or
    `objects` with `bbox` and `label`.

    Raises `UsageError` for a set without images or without any of these annotations.
    """
    from tensorflow_datasets import features as kinds

    features = dict(features)
    image, label = features.get("image"), features.get("label")
    if not isinstance(image, kinds.Image):
        raise UsageError(
            f"dataset {name!r} has no Image called 'image' among "
            f"{', '.join(map(repr, features))}: choose a set of images"
        )
    if image.np_dtype != np.uint8 or image.shape[-1] not in (1, 3):
        raise UsageError(
            f"dataset {name!r} has images {image.shape} of "
            f"{np.dtype(image.np_dtype)}: expected uint8 with one or three channels"
        )
    lists = {
        key: features[key].feature
        for key in ("labels", "label")
        if isinstance(features.get(key), kinds.Sequence)
    }
    presence = next((k for k in lists if isinstance(lists[k], kinds.ClassLabel)), None)
    parts = _parts(features.get("objects"))
    objects = isinstance(parts.get("bbox"), kinds.BBoxFeature) and isinstance(
        parts.get("label"), kinds.ClassLabel
    )
    names = []
    if isinstance(label, kinds.ClassLabel):
        names.append(label.names)
    if presence is not None:
        names.append(lists[presence].names)
    if objects:
        names.append(parts["label"].names)
    if not names:
        raise UsageError(
            f"dataset {name!r} has no ClassLabel called 'label', no list of them "
            "called 'labels' and no 'objects' with 'bbox' and 'label' among "
            f"{', '.join(map(repr, features))}: choose a set of labelled images"
        )
    if any(other != names[0] for other in names):
        raise UsageError(
            f"dataset {name!r} numbers the classes of its images and of its objects "
            "differently: choose another set"
        )
    crowd = [key for key in ("is_crowd", "is_difficult") if key in parts]
    height, width, channels = image.shape
    return Layout(
        image_shape=(height, width, channels)
        if height and width
        else (None, None, channels),
        class_names=tuple(names[0] or ()),
        label=isinstance(label, kinds.ClassLabel),
        presence=presence,
        objects=objects,
        crowd=crowd[0] if crowd else None,
    )


class Records:
    """Examples of a split by their index; `Source.encoded` of it.

    Files are opened when the first is asked for.  Safe to call from several threads,
    and to pickle.
    """

    def __init__(self, builder: Any, split: str):
        self._builder, self._split = builder, split

    @functools.cached_property
    def _source(self) -> Any:
        from tensorflow_datasets import decode

        raw = decode.DeserializeMethod.RAW_BYTES
        return self._builder.as_data_source(self._split, deserialize_method=raw)

    def __len__(self) -> int:
        return len(self._source)

    def __call__(self, i: int) -> bytes:
        return _image(_features(self._source[i]))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """All examples in order, as features of `tf.Example`."""
        for start in range(0, len(self), _CHUNK):
            indices = list(range(start, min(start + _CHUNK, len(self))))
            yield from map(_features, self._source.__getitems__(indices))


def annotated(records: Records, layout: Layout) -> bool:
    """Whether the images of a split are annotated; judged by the first ones.

    Raises nothing: a split that cannot be read says so when it is.
    """
    try:
        for example in itertools.islice(records, 64):
            if not layout.label or example["label"].int64_list.value[0] >= 0:
                classes = [layout.presence] if layout.presence else []
                classes += ["objects/label"] if layout.objects else []
                if not classes or any(example[c].int64_list.value for c in classes):
                    return True
    except Exception:
        return True
    return False


def targets(records: Records, layout: Layout) -> dict[str, np.ndarray]:
    """`Source.targets`: all records are read, and no image is decoded."""
    count, classes = len(records), len(layout.class_names)
    arrays: dict[str, np.ndarray] = {}
    if layout.label:
        arrays["label"] = np.empty(count, np.int32)
    if layout.presence:
        arrays["presence"] = np.zeros((count, classes), np.uint8)
    objects = []
    for i, example in enumerate(_each(records, "reading annotations, once")):
        if layout.label:
            label = example["label"].int64_list.value[0]
            if not 0 <= label < classes:
                raise UsageError(f"record {i} has the label {label}, of {classes}")
            arrays["label"][i] = label
        if layout.presence:
            arrays["presence"][i, example[layout.presence].int64_list.value[:]] = 1
        if layout.objects:
            objects.append(_objects(example, layout))
    if layout.objects:
        arrays |= _padded(objects, layout.crowd is not None)
    return arrays


def images(records: Records, layout: Layout) -> np.ndarray:
    """All images, uint8 [N,H,W,C], of a set whose images have one size.

    More threads are slower: small images decode faster than Python's lock changes
    hands.
    """
    shape: tuple[Any, ...] = layout.image_shape
    array = np.empty((len(records), *shape), np.uint8)
    for i, example in enumerate(_each(records, "decoding images, once")):
        array[i] = decode(_image(example), array.shape[-1])
    return array


class _Objects(NamedTuple):
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray


def _objects(example: Mapping[str, Any], layout: Layout) -> _Objects:
    # TFDS's are y_min, x_min, y_max, x_max as shares of the image's sides.
    shares = np.array(example["objects/bbox"].float_list.value, np.float32)
    image = decoding.open_image(io.BytesIO(_image(example)))
    sides = np.array(image.size * 2, np.float32)
    classes = np.array(example["objects/label"].int64_list.value, np.int32)
    crowd = np.zeros(len(classes), np.uint8)
    if layout.crowd:
        crowd[:] = example[f"objects/{layout.crowd}"].int64_list.value[:]
    return _Objects(shares.reshape(-1, 4)[:, [1, 0, 3, 2]] * sides, classes, crowd)


def _padded(objects: list[_Objects], crowd: bool) -> dict[str, np.ndarray]:
    count, most = len(objects), max([1, *(len(each.classes) for each in objects)])
    arrays = {
        "boxes": np.zeros((count, most, 4), np.float32),
        "classes": np.full((count, most), -1, np.int32),
    }
    if crowd:
        arrays["crowd"] = np.zeros((count, most), np.uint8)
    for i, each in enumerate(objects):
        for key, array in arrays.items():
            array[i, : len(each.classes)] = getattr(each, key)
    return arrays


def _parts(feature: Any) -> dict[str, Any]:
    """The features of a list of objects."""
    from tensorflow_datasets import features as kinds

    inner = getattr(feature, "feature", None)
    return dict(inner) if isinstance(inner, kinds.FeaturesDict) else {}


def _features(record: bytes) -> Mapping[str, Any]:
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example.FromString(record).features.feature


def _image(example: Mapping[str, Any]) -> bytes:
    return example["image"].bytes_list.value[0]


def _each(records: Records, doing: str) -> Iterable[Mapping[str, Any]]:
    return progress.bar(records, len(records), doing, least=100_000)
