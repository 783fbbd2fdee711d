"""The variables of models as shapes, which is what most questions about them need."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.models import registry
from jaxvision.types import Variables


def variables(
    name: str, input_shape: tuple[int, ...] | None = None, **options
) -> Variables:
    """The variables of the named model, with a `jax.ShapeDtypeStruct` for each array.

    `input_shape` (H, W, C) is by default that of the model's paper, and `options` are
    those of `models.create`.  Nothing is computed: the model is traced, and the same
    one only once.  Whoever changes the result changes a copy.
    """
    size = tuple(input_shape or registry.default_input(name))
    try:
        return _traced(name, size, tuple(sorted(options.items())))
    except TypeError:  # an option that is no key, such as a list
        return _trace(name, size, options)


@lru_cache(maxsize=64)
def _traced(
    name: str, input_shape: tuple[int, ...], options: tuple[tuple[str, Any], ...]
) -> Variables:
    return _trace(name, input_shape, dict(options))


def _trace(
    name: str, input_shape: tuple[int, ...], options: dict[str, Any]
) -> Variables:
    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    model = registry.create(name, **options)
    return jax.eval_shape(model.init, jax.random.key(0), images)
