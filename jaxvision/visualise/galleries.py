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
