"""What augmentation makes of the images that a model learns from."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.types import UNKNOWN
from jaxvision.visualise import style
from jaxvision.visualise.annotation_overlay import class_colour, overlay
from jaxvision.visualise.comparison_grid import comparison

_SHOWN = 16
_ANNOTATIONS = (
    "segmentation", "boxes", "classes", "crowd", "instances", "keypoints", "presence",
)  # fmt: skip


def training_batch(
    stored: Mapping[str, np.ndarray],
    seen: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> Figure:
    """The first 16 examples of a batch, each as it is `stored` and as it is `seen` by
    the model, with the annotations that go along.

    Both are a `types.Batch` on the host; images are [B,H,W,C], those that are stored in
    bytes.  What is seen is made visible by the range of each channel in the batch.
    Where there are more classes than names, as in a task that is not about classes,
    their numbers stand for them.  As many names as an object has keypoints are those of
    the keypoints; objects, if all are of one class, stay without any.

    Raises `UsageError` for images of other shapes.
    """
    for name, batch in (("stored", stored), ("seen", seen)):
        shape = batch["image"].shape
        check((len(shape) == 4, f"{name} images must be [B,H,W,C], got {shape}"))
    classes = max(_classes_in(stored), _classes_in(seen))
    if "keypoints" in stored and stored["keypoints"].shape[2] == len(class_names):
        class_names = [""]
    if classes > len(class_names):
        class_names = list(map(str, range(classes)))
    pixels = style.as_bytes(seen["image"], stored["image"])
    rows = {}
    for i in range(min(_SHOWN, len(pixels))):
        before, after = (
            {k: v[i] for k, v in batch.items()} for batch in (stored, seen)
        )
        after["image"] = pixels[i]
        rows[f"{i + 1}: {_words(after, class_names)}".removesuffix(": ")] = [
            _drawn(before, class_names),
            _drawn(after, class_names),
        ]
    colours = {name: class_colour(k) for k, name in enumerate(class_names)}
    return comparison(
        rows,
        ("as it is stored", "as the model sees it"),
        colours=colours if "segmentation" in seen else None,
        title="The first training batch",
    )


def _classes_in(batch: Mapping[str, np.ndarray]) -> int:
    """How many classes there are, as far as the annotations tell."""
    counts = [
        int(batch[name].max(initial=-1)) + 1
        for name in ("label", "classes")
        if name in batch
    ]
    counts += [
        batch[name].shape[1]
        for name in ("presence", "target")
        if name in batch and batch[name].ndim == 2
    ]
    if "segmentation" in batch:
        numbers = batch["segmentation"].astype(int)
        counts.append(int(numbers.max(where=numbers != UNKNOWN, initial=-1)) + 1)
    return max(counts, default=0)


def _drawn(example: Mapping[str, np.ndarray], class_names: Sequence[str]) -> np.ndarray:
    known = {name: example[name] for name in _ANNOTATIONS if name in example}
    return overlay({"image": example["image"], **known}, class_names)


def _words(example: Mapping[str, np.ndarray], class_names: Sequence[str]) -> str:
    """The class, or the shares of those that were mixed."""
    shares = example.get("target")
    if shares is not None and shares.ndim == 1:
        most = np.argsort(-shares, kind="stable")[:2].tolist()
        return ", ".join(
            f"{style.shorten(class_names[k], 12)} {shares[k]:.0%}"
            for k in most
            if shares[k] >= 0.005
        )
    return class_names[int(example["label"])] if "label" in example else ""
