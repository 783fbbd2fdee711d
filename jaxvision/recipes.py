"""Recipes: values made of functions as data that JSON can hold, to be made again.

The recipe of a value is the name of the function that made it with all of its
arguments, defaults included, so that a later default changes nothing that was saved:

    {"name": "random_shift",
     "arguments": {"distance": 4, "value": 0, "min_visible": 0.1}}

Each kind of value (transforms, crops, models, tasks, …) has a `Kind`, whose decorator
`recorded` stands at the functions that make such values.  A value that is made of
others has their recipes among its arguments.  Nothing but the functions so marked, and
public functions of the package, is ever called by a recipe: to read one is safe.
"""

import functools
import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jax
import numpy as np

from jaxvision.errors import UsageError, check, unknown

Recipe = dict[str, Any]
"""`{"name": …, "arguments": {…}}`."""

_kinds: dict[str, "Kind"] = {}


class _NotData(Exception):
    """JSON cannot hold an argument."""


class Kind:
    """A kind of value, and the functions by which its recipes are made again."""

    def __init__(self, name: str, package: str, *, strict: bool = True):
        """`name` is what errors call such a value, and `package` the one whose import
        brings the functions that make it.  If not `strict`, functions of the user's own
        among the arguments do not prevent a recipe: they are left out, and the value
        that is made again raises a `UsageError` where it needs them."""
        self.name = name
        self._package = package
        self._strict = strict
        self._makers: dict[str, Callable[..., Any]] = {}
        _kinds[name] = self

    def recorded[**P, T](self, make: Callable[P, T]) -> Callable[P, T]:
        """A decorator: what `make` returns is known to `recipe_of`.

        It returns a new function, or a NamedTuple that has one.
        """
        signature = inspect.signature(make)

        @functools.wraps(make)
        def made(*args: P.args, **kwargs: P.kwargs) -> T:
            value = make(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            try:
                recipe = self._recipe(make.__name__, bound.arguments)
            except _NotData:
                recipe = None
            # Another value may share the function: a task, and what was made of it.
            carrier: Any = _first_function(value)
            carrier.made = (*getattr(carrier, "made", ()), (value, self, recipe))
            return value

        self._makers[make.__name__] = made
        return made

    def names(self) -> list[str]:
        """Of the functions whose values have recipes."""
        return [*self._makers]

    def make(self, recipe: Any) -> Any:
        """The value of a recipe, the same as the one that it was the recipe of.

        Raises `UsageError` for a name or an argument that is unknown, and where a
        required argument is missing.
        """
        check(
            (
                isinstance(recipe, Mapping) and recipe.keys() >= {"name", "arguments"},
                'a recipe must be {"name": …, "arguments": {…}}, as `recipe_of` makes '
                f"it, got {recipe!r}",
            )
        )
        importlib.import_module(f"{__package__}.{self._package}")
        name = recipe["name"]
        if name not in self._makers:
            raise unknown(self.name, name, self._makers)
        make = self._makers[name]
        parameters = inspect.signature(make).parameters
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for argument, value in recipe["arguments"].items():
            if argument not in parameters:
                raise unknown(f"argument of {name}", argument, parameters)
            match parameters[argument].kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    positional = self._decode(value)
                case inspect.Parameter.VAR_KEYWORD:
                    named |= self._decode(value)
                case _:
                    named[argument] = self._decode(value)
        missing = [
            argument
            for argument, parameter in parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind
            not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            and argument not in named
        ]
        if missing:
            raise UsageError(
                f"{name} needs {' and '.join(missing)}, got a recipe with the "
                f"arguments {recipe['arguments']}"
            )
        return make(*positional, **named)

    def _recipe(self, name: str, arguments: Mapping[str, Any]) -> Recipe:
        return {
            "name": name,
            "arguments": {key: self._encode(each) for key, each in arguments.items()},
        }

    def _encode(self, value: Any) -> Any:
        match value:
            case jax.core.Tracer():
                raise _NotData
            case np.ndarray() | np.generic() | jax.Array():
                return self._encode(value.tolist())
            case None | bool() | int() | str():
                return value
            case float() if math.isfinite(value):
                return value
            case Mapping():
                return {"dict": {k: self._encode(each) for k, each in value.items()}}
        made = _made(value)
        if made is not None:
            kind, recipe = made
            if recipe is None:
                raise _NotData
            return recipe if kind is self else recipe | {"kind": kind.name}
        match value:
            case Sequence():
                return [self._encode(each) for each in value]
            case np.dtype():
                return {"dtype": value.name}
            case type() if hasattr(value, "dtype"):  # such as jnp.bfloat16
                return {"dtype": np.dtype(value).name}
        if path := _public(value):
            return {"function": path}
        if callable(value) and not self._strict:
            return {"elsewhere": _called(value)}
        raise _NotData

    def _decode(self, value: Any) -> Any:
        match value:
            case {"kind": kind}:
                if kind not in _kinds:
                    raise unknown("kind of recipe", kind, _kinds)
                return _kinds[kind].make(value)
            case {"name": _, "arguments": _}:
                return self.make(value)
            case {"dict": Mapping() as entries}:
                return {key: self._decode(each) for key, each in entries.items()}
            case {"dtype": str(name)}:
                return jax.numpy.dtype(name)
            case {"function": str(path)}:
                return _function(path)
            case {"elsewhere": str(name)}:
                return _missing(name)
            case list() | tuple():
                return [self._decode(each) for each in value]
            case Mapping():
                return self.make(value)
        return value


TRANSFORMS = Kind("transform", "ops.augment")
CROPS = Kind("crop", "data.feed.crops")
MODELS = Kind("model", "models")
LOSSES = Kind("loss", "losses")
DETECTORS = Kind("detector", "tasks")
LOCALISERS = Kind("localiser", "tasks")
NORMS = Kind("norm", "metrics.landmarks")
TASKS = Kind("task", "tasks", strict=False)
VIEWS = Kind("views", "tasks")
SHOWS = Kind("show", "visualise", strict=False)


def recipe_of(value: Any) -> Recipe | None:
    """The recipe of a value, by which `Kind.make` makes it again.

    None for what no function that is `recorded` has made, or has been changed since
    (`_replace`), and for what was made with arguments that JSON cannot hold, such as
    a strength that is traced, or another function.
    """
    made = _made(value)
    return None if made is None else made[1]


def _first_function(value: Any) -> Any:
    """The first function that a value has, or is: it carries the recipe."""
    if callable(value):
        return value
    return next(filter(inspect.isfunction, value), None)


def _made(value: Any) -> tuple[Kind, Recipe | None] | None:
    """The kind and the recipe of a value that a recorded function made."""
    if not callable(value) and not isinstance(value, tuple):
        return None
    # One function may have finished what another one made: the last one counts.
    for made, kind, recipe in reversed(getattr(_first_function(value), "made", ())):
        if isinstance(value, tuple) and type(made) is type(value):
            same = all(a is b for a, b in zip(made, value, strict=True))
        else:
            same = made is value
        if same:
            return kind, recipe
    return None


def _public(value: Any) -> str | None:
    """`package:name` of a function that a package of ours exports."""
    package, _, rest = str(getattr(value, "__module__", "")).partition(".")
    if package != __package__ or not callable(value):
        return None
    path = f"{rest.partition('.')[0]}:{getattr(value, '__name__', '')}"
    try:
        return path if _function(path) is value else None
    except UsageError:
        return None


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    try:
        found = importlib.import_module(f"{__package__}.{module}")
        if name in found.__all__ and callable(function := getattr(found, name)):
            return function
    except (ImportError, AttributeError):
        pass
    raise UsageError(
        f"this version of jaxvision has no function {path}: read the recipe with the "
        "version that wrote it"
    )


def _called(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', '')}.{name}"


def _missing(name: str) -> Callable[..., NoReturn]:
    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise UsageError(
            f"this needs {name}, the user's own function, which was not saved: load "
            "the run where the code of its experiment is"
        )

    missing.__module__, _, missing.__qualname__ = name.partition(".")
    return missing
