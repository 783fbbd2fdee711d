"""Which named activations of a model have which stride: its feature pyramid.

Names differ between architectures: `stage2` is at stride 8 in a ResNet-18, at 4 in a
MobileNet and at 16 in a ViT.  A neck asks for strides instead:

    maps = [outputs[levels[stride].name] for stride in (8, 16, 32)]
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError
from jaxvision.models import registry
from jaxvision.types import Model

GROWTH = 1344
"""Pixels by which images are widened to see how much wider maps become.  A multiple of
the strides that occur, powers of two up to 64 and patches of 12 or 14 pixels, and of
the 224 pixels by which images of MaxViT must grow."""

CLASSIFIER = ("pre_logits", "scores", "logits")
"""Outputs that may be maps, too, but are not features."""


class Level(NamedTuple):
    """The deepest named activation of a stride."""

    name: str
    """Of the activation [B,H/stride,W/stride,channels] in the model's outputs."""
    stride: int
    """Pixels of the image between neighbouring positions of the map."""
    channels: int


def levels(
    model: Model | str, input_shape: tuple[int, int, int] | None = None
) -> Mapping[int, Level]:
    """The levels of a model, or of the model of that name, by rising stride.

    A model names its activations in the order of their depth; of those that have the
    same stride the last one counts.  There are none where no activation is a map, and
    none for a network that takes one size of images only.

    `input_shape` (H, W, C) is a size that the model takes; the default is that of the
    named model, or 224×224×3.  Nothing is computed: shapes alone are traced.
    """
    if isinstance(model, str):
        return _of_name(model, input_shape or registry.default_input(model))
    return _of_model(model, input_shape or (224, 224, 3))


@cache
def _of_name(name: str, input_shape: tuple[int, int, int]) -> Mapping[int, Level]:
    return _of_model(registry.create(name), input_shape)


def _of_model(model: Model, input_shape: tuple[int, int, int]) -> Mapping[int, Level]:
    side, _, channels = input_shape
    try:
        shapes = _shapes(model, (side, side + GROWTH, channels))
    except UsageError:
        _shapes(model, input_shape)  # raises where the size itself is not accepted
        return MappingProxyType({})
    found: dict[int, Level] = {}
    for name, shape in shapes.items():
        if name in CLASSIFIER or len(shape) != 4 or shape[2] <= shape[1]:
            continue
        # Without padding a map is smaller than the image's share of it, but grows by
        # a column for each `stride` columns of the image all the same.
        stride, rest = divmod(GROWTH, shape[2] - shape[1])
        if rest == 0:
            found[stride] = Level(name, stride, shape[3])
    return MappingProxyType(dict(sorted(found.items())))


def _shapes(model: Model, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of the outputs for one image, in the order of their names."""
    shapes: dict[str, tuple[int, ...]] = {}

    def forward(images):
        outputs, _ = model.apply(model.init(jax.random.key(0), images), images)
        # What leaves a traced function is sorted by name.
        shapes.update((name, value.shape) for name, value in outputs.items())

    jax.eval_shape(forward, jax.ShapeDtypeStruct((1, *input_shape), jnp.float32))
    return shapes
