"""Data: where images come from and how they reach the device.

`load` a set, choose `train_and_validation`, and make pipelines by `train` and
`evaluation`, with a crop where images differ in size.
"""

from jaxvision.data.carving import carve, subset, train_and_validation
from jaxvision.data.feed.crops import (
    central_crop,
    letterbox,
    object_crop,
    padded,
    random_resized_crop,
    random_scaled_crop,
    resized_crop,
    stretch,
)
from jaxvision.data.feed.loader import (
    Storage,
    evaluation,
    train,
)
from jaxvision.data.feed.phases import Phases, in_turn, phases
from jaxvision.data.frequencies import label_counts, pixel_counts
from jaxvision.data.object_examples import each_object
from jaxvision.data.registry import load
from jaxvision.data.source import Source, Splits

__all__ = [
    "Phases",
    "Source",
    "Splits",
    "Storage",
    "carve",
    "central_crop",
    "each_object",
    "evaluation",
    "in_turn",
    "label_counts",
    "letterbox",
    "load",
    "object_crop",
    "padded",
    "phases",
    "pixel_counts",
    "random_resized_crop",
    "random_scaled_crop",
    "resized_crop",
    "stretch",
    "subset",
    "train",
    "train_and_validation",
]
