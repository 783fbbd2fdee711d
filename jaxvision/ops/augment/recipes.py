"""Recipes: transforms as data that JSON can hold, to be saved and made again.

The recipe of a transform is the name of the function that made it with all of its
arguments, defaults included, so that a later default changes nothing that was saved:

    {"name": "random_shift",
     "arguments": {"distance": 4, "value": 0, "min_visible": 0.1}}

A transform made of others has their recipes among its arguments.  One that is made by a
special case of another function has the recipe of that: `random_rotation` makes a
`random_affine`.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxvision.errors import UsageError, check, unknown
from jaxvision.types import Batch

Transform = Callable[[jax.Array, Batch], Batch]
"""`(key, batch) -> batch`, pure and traceable."""

Recipe = dict[str, Any]
"""`{"name": …, "arguments": {…}}`."""

_factories: dict[str, Callable[..., Transform]] = {}


class _NotData(Exception):
    """JSON cannot hold an argument."""


def with_recipe[**P](make: Callable[P, Transform]) -> Callable[P, Transform]:
    """A decorator: the transforms that `make` returns carry their `recipe`.

    It is None where JSON cannot hold an argument: a function without a recipe, or a
    strength that is traced.
    """
    signature = inspect.signature(make)

    @functools.wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> Transform:
        transform = make(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            arguments = {name: _encode(v) for name, v in bound.arguments.items()}
            recipe = {"name": make.__name__, "arguments": arguments}
        except _NotData:
            recipe = None
        transform.recipe = recipe  # type: ignore[attr-defined]
        return transform

    _factories[make.__name__] = made
    return made


def recipe_of(transform: Transform) -> Recipe | None:
    """The recipe of a transform, which `from_recipe` makes it from again.

    None for functions that were not made by `jaxvision.ops.augment`, and for transforms
    that were made with arguments that JSON cannot hold, such as another function.
    """
    return getattr(transform, "recipe", None)


def from_recipe(recipe: Mapping[str, Any]) -> Transform:
    """The transform of a recipe: for equal keys its results are the same, bit for bit.

    Raises `UsageError` for a name or an argument that is unknown, and where a required
    argument is missing.
    """
    check(
        (
            isinstance(recipe, Mapping) and recipe.keys() == {"name", "arguments"},
            'a recipe must be {"name": …, "arguments": {…}}, as `recipe_of` makes it, '
            f"got {recipe!r}",
        )
    )
    name = recipe["name"]
    if name not in _factories:
        raise unknown("transform", name, _factories)
    parameters = inspect.signature(_factories[name]).parameters
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for argument, value in recipe["arguments"].items():
        if argument not in parameters:
            raise unknown(f"argument of {name}", argument, parameters)
        if parameters[argument].kind == inspect.Parameter.VAR_POSITIONAL:
            positional = _decode(value)
        else:
            named[argument] = _decode(value)
    missing = [
        argument
        for argument, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind != inspect.Parameter.VAR_POSITIONAL
        and argument not in named
    ]
    if missing:
        raise UsageError(
            f"{name} needs {' and '.join(missing)}, got a recipe with the arguments "
            f"{recipe['arguments']}"
        )
    return _factories[name](*positional, **named)


def _encode(value: Any) -> Any:
    match value:
        case jax.core.Tracer():
            raise _NotData
        case np.ndarray() | np.generic() | jax.Array():
            return _encode(value.tolist())
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case Sequence():
            return [_encode(each) for each in value]
    recipe = recipe_of(value)
    if recipe is None:
        raise _NotData
    return recipe


def _decode(value: Any) -> Any:
    match value:
        case Mapping():
            return from_recipe(value)
        case list() | tuple():
            return [_decode(each) for each in value]
    return value
