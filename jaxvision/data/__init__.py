"""Data: where images come from and how they reach the device.

`train` and `evaluation` are for sets that fit in memory, `stream_train` and
`stream_eval` for those that do not, or whose images differ in size.
"""

from jaxvision.data.carving import carve
from jaxvision.data.loader import evaluation, train
from jaxvision.data.registry import load
from jaxvision.data.source import Source, Splits
from jaxvision.data.streaming import stream_eval, stream_train

__all__ = [
    "Source",
    "Splits",
    "carve",
    "evaluation",
    "load",
    "stream_eval",
    "stream_train",
    "train",
]
