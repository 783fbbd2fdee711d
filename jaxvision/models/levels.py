"""Which named activations of a model have which stride: its feature pyramid.

Names differ between architectures: `stage2` is at stride 8 in a ResNet-18, at 4 in a
MobileNet and at 16 in a ViT.  A neck asks for strides instead:

    maps = [outputs[levels[stride].name] for stride in (8, 16, 32)]
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError
from jaxvision.models import registry
from jaxvision.models.pyramid import GROWTH, Level, pyramid
from jaxvision.types import Model


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
    return pyramid(shapes)


def _shapes(model: Model, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of the outputs for one image, in the order of their names."""
    shapes: dict[str, tuple[int, ...]] = {}

    def forward(images):
        outputs, _ = model.apply(model.init(jax.random.key(0), images), images)
        # What leaves a traced function is sorted by name.
        shapes.update((name, value.shape) for name, value in outputs.items())

    jax.eval_shape(forward, jax.ShapeDtypeStruct((1, *input_shape), jnp.float32))
    return shapes
