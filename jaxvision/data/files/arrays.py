"""`npz:PATH`: one's own images as NumPy arrays."""

import itertools
from pathlib import Path

import numpy as np

from jaxvision.data.carving import with_test
from jaxvision.data.files import classes as class_files
from jaxvision.data.files import fields, reading, split_names
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.names import Name
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError

NAMINGS = (
    ("image_{}", "label_{}"),
    ("x_{}", "y_{}"),  # Keras
    ("{}_images", "{}_labels"),  # MedMNIST
)
"""How the arrays of a split may be called, with its name in place of the braces."""

WHOLE = ("image", "label")
"""How those of a set without splits are called."""


def load(name: Name) -> Splits:
    """The set called `npz:PATH`, a file that `numpy.savez` wrote.

    Images are uint8 [N,H,W], [N,H,W,1] or [N,H,W,3], labels whole numbers [N] or [N,1]
    from 0 to the number of classes - 1, of the splits that `folder:` has, or of a whole
    set; see `NAMINGS` and `WHOLE` for what they are called.  An array `class_names`, of
    strings, is optional.  Of a whole set, a fifth of each class becomes the test split.
    Other arrays beside those of splits are ignored.

    Labels are checked here, of images only the shape: their values are read later.

    Raises `UsageError` that lists what deviates from this.
    """
    path = name.path
    if not path.is_file():
        raise UsageError(f"there is no file {path}, which {name.text!r} asks for")
    keys = reading.array_names(path)
    pairs, words = _pairs(path, keys)
    class_names = _class_names(path, keys)

    problems: list[str] = []
    sources = [
        _source(name.text, path, image, label, split, problems)
        for (image, label), split in zip(pairs, Splits._fields, strict=False)
    ]
    refuse(path, problems)
    classes = len(class_names) or int(sources[0].targets()["label"].max()) + 1  # type: ignore[misc]
    problems = [
        problem
        for source, (_, key) in zip(sources, pairs, strict=True)
        for problem in _check_labels(source, key, classes)
    ]
    if len({source.image_shape for source in sources}) > 1:
        shapes = " and ".join(str(source.image_shape) for source in sources)
        problems.append(f"the images of the splits differ in shape: {shapes}")
    refuse(path, problems)

    names = class_names or tuple(map(str, range(classes)))
    sources = [source._replace(class_names=names) for source in sources]
    if len(sources) == 1:
        return with_test(sources[0], name.text, words[0])
    return Splits(
        *(
            source._replace(choice=choice)
            for source, choice in zip(sources, ["", *words], strict=True)
        )
    )


def _pairs(
    path: Path, keys: list[str]
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The arrays with images and with labels of each split, and `Choice.words`."""
    for naming in NAMINGS:
        there = split_names.unique(
            (
                (pair[0], role, pair)
                for role, names in split_names.NAMES.items()
                for name in names
                if (pair := tuple(form.format(name) for form in naming))[0] in keys
            ),
            f"{path} has the arrays",
        )
        choice = split_names.choose(
            there,
            describe=lambda pair: f"the arrays {' and '.join(pair)}",
            answered=lambda pair: pair[1] in keys,
        )
        if choice.splits and there.get("train", ("", ""))[1] in keys:
            return [there["train"], *choice.splits], choice.words
    if set(WHOLE) <= set(keys):
        split_names.refuse_unread(
            path, [f"the array {key}" for key in keys if split_names.mentions(key)]
        )
        return [WHOLE], split_names.NOTHING.words
    wanted = "; or ".join(
        ", ".join(form.format(split) for split in ("train", "test") for form in naming)
        for naming in NAMINGS
    )
    raise UsageError(
        f"{path} holds {some(keys) or 'nothing'}: expected the arrays {wanted}, and "
        f"perhaps those of a validation split; or {', '.join(WHOLE)}"
    )


def _class_names(path: Path, keys: list[str]) -> tuple[str, ...]:
    if "class_names" not in keys:
        return ()
    given = reading.array(path, "class_names")
    if given.ndim != 1 or given.dtype.kind != "U":
        raise UsageError(
            f"class_names in {path} is {given.dtype} {list(given.shape)}: expected "
            "strings [classes]"
        )
    try:
        names = tuple(map(fields.name, given.tolist()))
    except ValueError as error:
        raise UsageError(f"class_names in {path}: {error}") from error
    class_files.check_names(path, names)
    return names


def _source(
    name: str, path: Path, image: str, label: str, split: str, problems: list[str]
) -> Source:
    shape, dtype = reading.array_header(path, image)
    if dtype != np.uint8:
        problems.append(f"{image} is {dtype}: expected uint8, from 0 to 255")
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        problems.append(
            f"{image} is {list(shape)}, channels first: expected channels last, "
            f"numpy.moveaxis({image}, 1, -1)"
        )
    elif len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        problems.append(
            f"{image} is {list(shape)}: expected [N,H,W], [N,H,W,1] or [N,H,W,3]"
        )
    elif 0 in shape:
        problems.append(f"{image} is empty: {list(shape)}")

    label_shape, label_dtype = reading.array_header(path, label)
    labels = np.zeros(0, np.int32)
    if len(label_shape) == 2 and label_shape[1] > 1:
        problems.append(
            f"{label} is {label_dtype} {list(label_shape)}: expected whole numbers "
            f"[N]; if it is one-hot, numpy.argmax({label}, axis=1)"
        )
    elif label_dtype.kind not in "iuf" or label_shape not in (
        shape[:1],
        (*shape[:1], 1),
    ):
        problems.append(
            f"{label} is {label_dtype} {list(label_shape)}: expected whole numbers, "
            f"as many as {image} has images: {list(shape[:1])}"
        )
    else:
        labels = reading.array(path, label).reshape(-1)
        limits = np.iinfo(np.int32)
        for worst in (labels.min(initial=0), labels.max(initial=0)):
            if not limits.min <= worst <= limits.max:
                problems.append(f"{label} holds {worst}, out of range")
                labels = labels[:0]
        if (labels != np.floor(labels)).any():
            problems.append(f"{label} is {label_dtype}: expected whole numbers [N]")
        labels = labels.astype(np.int32)

    image_shape = shape[1:] if len(shape) == 4 else (*shape[1:], 1)

    def read() -> dict[str, np.ndarray]:
        images = reading.array(path, image)
        return {
            "image": images.reshape(-1, *image_shape),
            "label": labels.copy(),
        }

    return Source(
        name=f"{name}:{split}",
        size=len(labels),
        image_shape=image_shape,  # type: ignore[arg-type]
        class_names=(),
        read=read,
        targets=lambda: {"label": labels.copy()},
    )


def _check_labels(source: Source, key: str, classes: int) -> list[str]:
    assert source.targets
    labels = source.targets()["label"]
    problems = []
    if outside := sorted(set(labels[(labels < 0) | (labels >= classes)].tolist())):
        problems.append(
            f"{key} holds {', '.join(map(str, outside[:10]))}, out of range: labels "
            f"go from 0 to {classes - 1}"
        )
    if source.name.endswith(":train"):
        present = set(labels.tolist())
        absent = (i for i in range(classes) if i not in present)
        if first := [str(i) for i in itertools.islice(absent, 10)]:
            problems.append(
                f"{key} has no example of class {', '.join(first)}"
                f"{' …' * (len(first) == 10)}: number the classes from 0 without gaps"
            )
        if classes < 2:
            problems.append(f"{key} has one class only: classification needs two")
    return problems
