"""Any Linen module as a `Model`."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
from flax.errors import ScopeParamShapeError

from jaxvision.errors import UsageError, unknown
from jaxvision.ops.convolution import WindowError
from jaxvision.ops.convolution.drop_in import conv_general_dilated
from jaxvision.types import Model, Outputs

MODES = ("train", "training", "is_training")
"""What modules call the keyword, or the field, that is true in training."""

OPPOSITES = ("deterministic", "use_running_average")
"""The same for what is false there."""


def from_linen(module: nn.Module) -> Model:
    """A Linen module as a pair of pure functions.

    `apply` calls `module(*inputs, train=…)`, or the method that `entry` names, with the
    same arguments.  An entry is a public method that takes `train`: a head that is
    called on chosen regions, a discriminator, an encoder.  What it returns is up to the
    module; `__call__` returns a dict of named activations, in the order of their depth.

    Modules that were not written for this serve as well.  `train` may have one of the
    names in `MODES` or `OPPOSITES`, may be a field of the module, or be missing; an
    array that is returned is called `logits`.  On CPU the convolutions of `nn.Conv` are
    ours, whose gradients are fast in a `lax.scan`.

    `init` calls `__call__` alone.  A module whose entries have parameters of their own
    must therefore create all of them there while `self.is_initializing()`.

    A class attribute `no_weight_decay` of the module names what weight decay leaves
    alone, as `Model.no_weight_decay` describes it.

    In training, random draws such as those of dropout take the `key` given to `apply`,
    and every collection but `params` comes back as the new model state.

    Both functions raise `UsageError` for images that are too small for the network, for
    inputs that the module does not take, and for outputs without a name.  `apply` also
    does for inputs or options that the variables were not made for, and for an unknown
    entry.
    """
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"from_linen takes a Linen module such as Net(num_classes=10), got {module}"
            ": an NNX module is for from_nnx"
        )

    def init(key, *inputs):
        with _explained(module, inputs), _our_convolution():
            called, mode = _in_mode(module, inputs, None, train=False)
            return nn.meta.unbox(called.init(key, *inputs, **mode))

    def apply(variables, *inputs, entry=None, train=False, key=None):
        if entry is not None and entry not in (known := _entries(module)):
            raise unknown(f"entry of {type(module).__name__}", entry, known)
        state = {name: value for name, value in variables.items() if name != "params"}
        options: dict[str, Any] = dict(mutable=list(state)) if train else {}
        if train and key is not None:
            # What draws from a stream of another name draws from that of `params`.
            options["rngs"] = {"dropout": key, "params": jax.random.fold_in(key, 1)}
        with _explained(module, inputs, entry), _our_convolution():
            called, mode = _in_mode(module, inputs, entry, train=train)
            found: Any = called.apply(
                variables, *inputs, **mode, **options, method=entry
            )
        outputs, state = found if train else (found, state)
        return named(outputs, module) if entry is None else outputs, state

    def rebuild(**options):
        check_options(type(module).__name__, type(module), options)
        return from_linen(module.clone(**options))

    return Model(init, apply, rebuild, getattr(module, "no_weight_decay", ()))


def named(outputs: Any, module: Any) -> Outputs:
    """What a module returned, as named activations.

    Raises `UsageError` for what is neither a dict nor a single array.
    """
    if isinstance(outputs, Mapping):
        return outputs
    if hasattr(outputs, "shape"):
        return {"logits": outputs}
    raise UsageError(
        f"{type(module).__name__} returns a {type(outputs).__name__}: return a dict of "
        "named activations instead, such as {'stage1': x, 'logits': y}"
    )


def _in_mode(
    module: nn.Module, inputs: Sequence[Any], entry: str | None, *, train: bool
) -> tuple[nn.Module, dict[str, Any]]:
    """The module and the keywords that it is called with in training or evaluation.

    Raises `UsageError` if it cannot be called with them.
    """
    signature = inspect.signature(getattr(module, entry or "__call__"))
    modes: dict[str, Any] = dict.fromkeys(MODES, train)
    modes |= dict.fromkeys(OPPOSITES, not train)
    mode = {name: modes[name] for name in modes if name in signature.parameters}
    fields = {field.name for field in dataclasses.fields(module)}
    if not mode and (of_module := {n: modes[n] for n in modes if n in fields}):
        module = module.clone(**of_module)
    try:
        signature.bind(*inputs, **mode)
    except TypeError as error:
        raise UsageError(
            f"{type(module).__name__}{signature} cannot be called with {len(inputs)} "
            f"inputs ({error}): give what else it takes a default, or let "
            "Task.inputs return it"
        ) from None
    return module, mode


@contextmanager
def _our_convolution() -> Iterator[None]:
    """Within it `nn.Conv` computes by `conv2d` where that has the faster gradients."""

    def call(method, args, kwargs, context):
        conv = context.module
        if not (
            isinstance(conv, nn.Conv)
            and context.method_name == "__call__"
            and conv.conv_general_dilated is None
            and conv.conv_general_dilated_cls is None
        ):
            return method(*args, **kwargs)
        # Modules are frozen; this one is a copy that belongs to the call.
        object.__setattr__(conv, "conv_general_dilated", conv_general_dilated)
        return method(*args, **kwargs)

    with nn.intercept_methods(call):
        yield


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
    called, mode = _in_mode(module, inputs, entry, train=False)

    def fits(side: int) -> bool:
        def resized(x):
            if len(x.shape) != 4 or x.shape[1:3] != size:
                return x
            return jax.ShapeDtypeStruct((x.shape[0], side, side, x.shape[3]), x.dtype)

        try:
            jax.eval_shape(
                lambda *inputs: called.init(
                    jax.random.key(0), *inputs, **mode, method=entry
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
