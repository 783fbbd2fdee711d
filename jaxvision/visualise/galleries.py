"""The examples that pictures of predictions show: the worst, and a sample."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxvision.types import Galleries

SHOWN = 12
"""Examples of the worst, and of the sample, that a picture has room for."""


class Shown(NamedTuple):
    """One of them."""

    caption: str
    """Which it is: `worst 1: image 17`."""
    difficulty: float
    example: Mapping[str, np.ndarray]
    """As it was read."""
    input: Mapping[str, np.ndarray]
    """As the task saw it."""
    prediction: Mapping[str, np.ndarray]


def shown(galleries: Galleries) -> Iterator[Shown]:
    """At most `SHOWN` of the worst, the worst first, and as many of the sample."""
    for name, gallery in galleries._asdict().items():
        for i in range(min(SHOWN, len(gallery.indices))):
            parts = (gallery.example, gallery.input, gallery.prediction)
            yield Shown(
                f"{name} {i + 1}: image {gallery.indices[i]}",
                float(gallery.difficulty[i]),
                *({key: array[i] for key, array in part.items()} for part in parts),
            )


def as_seen(one: Shown, *, moved: bool) -> dict[str, np.ndarray]:
    """The example in the frame of its prediction, with its image in bytes.

    moved: whether a transform has moved the pixels; what came out of it is then shown.
    """
    example = dict(one.example)
    if "taken" in example:
        height, width = (int(example["canvas"].any(axis=1 - i).sum()) for i in (0, 1))
        example["image"] = _whole(example["image"], example["taken"], height, width)
    elif moved:
        from jaxvision.visualise import style

        stored = example["image"]
        example = dict(one.input)
        example["image"] = style.as_bytes(example["image"], stored)
    return example


def _whole(image: np.ndarray, taken: np.ndarray, height: int, width: int) -> np.ndarray:
    """What the network saw, uint8 [S,T,C], at the size of the original that it was
    taken from: black where it saw nothing."""
    grids = []
    for low, high, count, side in (
        (taken[1], taken[3], height, image.shape[0]),
        (taken[0], taken[2], width, image.shape[1]),
    ):
        places = (np.arange(count) + 0.5 - low) * side / (high - low)
        grids.append(np.floor(places).astype(int))
    rows, columns = grids
    inside = np.ix_(
        (rows >= 0) & (rows < image.shape[0]),
        (columns >= 0) & (columns < image.shape[1]),
    )
    seen = np.zeros((height, width, image.shape[2]), np.uint8)
    nearest = image[rows.clip(0, image.shape[0] - 1)]
    nearest = nearest[:, columns.clip(0, image.shape[1] - 1)]
    seen[inside] = nearest[inside]
    return seen
