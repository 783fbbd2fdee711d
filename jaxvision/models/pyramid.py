"""Maps by their stride, found by the shapes of named activations."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

GROWTH = 1344
"""Pixels by which images are widened to see how much wider maps become.  A multiple of
the strides that occur, powers of two up to 64 and patches of 12 or 14 pixels, and of
the 224 pixels by which images of MaxViT must grow."""

LARGEST = 64
"""The largest stride that is told: coarser maps grow by so few columns that rounding
decides."""

CLASSIFIER = ("pre_logits", "scores", "logits", "aux_logits", "heatmaps")
"""Outputs that may be maps, too, but are not features."""


class Level(NamedTuple):
    """The deepest named activation of a stride."""

    name: str
    """Of the activation [B,H/stride,W/stride,channels] in the model's outputs."""
    stride: int
    """Pixels of the image between neighbouring positions of the map."""
    channels: int


def strides(shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The strides of the maps among the named activations, in their order.

    `shapes` are those for images that are `GROWTH` pixels wider than tall.
    """
    found: dict[str, int] = {}
    for name, shape in shapes.items():
        if name in CLASSIFIER or len(shape) != 4 or shape[2] <= shape[1]:
            continue
        # Without padding a map is smaller than the image's share of it, but grows by
        # a column for each `stride` columns of the image all the same.
        stride, rest = divmod(GROWTH, shape[2] - shape[1])
        if rest == 0 and stride <= LARGEST:
            found[name] = stride
    return found


def pyramid(shapes: Mapping[str, Sequence[int]]) -> Mapping[int, Level]:
    """The level of each stride: the last activation that has it, by rising stride."""
    levels = {
        stride: Level(name, stride, shapes[name][3])
        for name, stride in strides(shapes).items()
    }
    return MappingProxyType(dict(sorted(levels.items())))
