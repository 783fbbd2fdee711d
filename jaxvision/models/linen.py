"""Any Linen module as a `Model`."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
from flax.errors import ScopeParamShapeError

from jaxvision.errors import UsageError, unknown
from jaxvision.ops.convolution import WindowError
from jaxvision.types import Model


def from_linen(module: nn.Module) -> Model:
    """A Linen module as a pair of pure functions.

    `apply` calls `module(*inputs, train=…)`, or the method that `entry` names, with the
    same arguments.  An entry is a public method that takes `train`: a head that is
    called on chosen regions, a discriminator, an encoder.  What it returns is up to the
    module; `__call__` returns a dict of named activations, in the order of their depth.

    `init` calls `__call__` alone.  A module whose entries have parameters of their own
    must therefore create all of them there while `self.is_initializing()`.

    A class attribute `no_weight_decay` of the module names what weight decay leaves
    alone, as `Model.no_weight_decay` describes it.

    In training, random draws such as those of dropout take the `key` given to `apply`,
    and every collection but `params` comes back as the new model state.

    Both functions raise `UsageError` for images that are too small for the network.
    `apply` also does for inputs or options that the variables were not made for, and
    for an unknown entry.
    """

    def init(key, *inputs):
        with _explained(module, inputs):
            return module.init(key, *inputs, train=False)

    def apply(variables, *inputs, entry=None, train=False, key=None):
        if entry is not None and entry not in (known := _entries(module)):
            raise unknown(f"entry of {type(module).__name__}", entry, known)
        state = {name: value for name, value in variables.items() if name != "params"}
        with _explained(module, inputs, entry):
            if not train:
                outputs = module.apply(variables, *inputs, train=False, method=entry)
                return outputs, state
            rngs = None if key is None else {"dropout": key}
            outputs, new_state = module.apply(
                variables,
                *inputs,
                train=True,
                rngs=rngs,
                mutable=list(state),
                method=entry,
            )
            return outputs, new_state

    def rebuild(**options):
        check_options(type(module).__name__, type(module), options)
        return from_linen(module.clone(**options))

    return Model(init, apply, rebuild, getattr(module, "no_weight_decay", ()))


def check_options(owner: str, build: Callable, options: Iterable[str]) -> None:
    """Raise `UsageError` unless `build` takes all of the keyword `options`."""
    known = set(inspect.signature(build).parameters) - {"parent", "name"}
    for option in options:
        if option not in known:
            raise unknown(f"option of {owner}", option, known)


def _entries(module: nn.Module) -> list[str]:
    methods = inspect.getmembers(type(module), inspect.isfunction)
    return [
        name
        for name, method in methods
        if not name.startswith("_") and "train" in inspect.signature(method).parameters
    ]


@contextmanager
def _explained(
    module: nn.Module, inputs: Sequence[Any], entry: str | None = None
) -> Iterator[None]:
    """Errors from the inside of a network, in terms of what its user gave it."""
    try:
        yield
    except WindowError as error:
        if len(inputs[0].shape) != 4:
            raise
        least = _smallest_side(module, inputs, entry)
        raise UsageError(
            f"images of {_size(inputs)} are too small for {type(module).__name__}, "
            f"which takes {least}×{least} and more: enlarge them"
        ) from error
    except ScopeParamShapeError as error:
        kind = "images" if len(inputs[0].shape) == 4 else "inputs"
        raise UsageError(
            f"these variables were not made for {type(module).__name__} with {kind} of "
            f"{_size(inputs)}: they belong to another number of channels, another "
            f"size, or other options ({error})"
        ) from error


def _size(inputs: Sequence[Any]) -> str:
    return "×".join(map(str, inputs[0].shape[1:]))


def _smallest_side(module: nn.Module, inputs: Sequence[Any], entry: str | None) -> int:
    """The side of the smallest square image that the network takes.

    Other inputs of the size of the images are resized with them.
    """
    size = inputs[0].shape[1:3]

    def fits(side: int) -> bool:
        def resized(x):
            if len(x.shape) != 4 or x.shape[1:3] != size:
                return x
            return jax.ShapeDtypeStruct((x.shape[0], side, side, x.shape[3]), x.dtype)

        try:
            jax.eval_shape(
                lambda *inputs: module.init(
                    jax.random.key(0), *inputs, train=False, method=entry
                ),
                *jax.tree.map(resized, inputs),
            )
        except WindowError:
            return False
        return True

    low, high = 0, 1
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
