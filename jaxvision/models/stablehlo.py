"""Functions, and with them networks, as programs that need none of our code.

    program = to_stablehlo(model, variables, jax.ShapeDtypeStruct((1, 32, 32, 1), "f4"))
    same = from_stablehlo(program)
    outputs, _ = same.apply(variables, images)

The programs are those of `jax.export`: StableHLO with the names and shapes of what goes
in and comes out.  They run on CPU, CUDA and TPU, for any number of images, and JAX
promises to read them for half a year at least.  Weights are arguments, not constants:
a program stays small, is compiled sooner, and several share one copy.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from jaxvision.errors import UsageError, check, unknown
from jaxvision.ops.target import portable
from jaxvision.types import Model, PyTree, Variables

PLATFORMS = ("cpu", "cuda", "tpu")


def any_number(*inputs: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """The shapes and types of arrays [B,…], with one symbol in place of all their B."""
    (batch,) = jax.export.symbolic_shape("b")
    return tuple(
        jax.ShapeDtypeStruct((batch, *each.shape[1:]), each.dtype) for each in inputs
    )


def serialize(function: Callable[..., PyTree], *arguments: PyTree) -> bytes:
    """`function` as a program for arguments of these shapes and types.

    Args:
      function: of arrays and nested dicts, lists and tuples of arrays.
      arguments: arrays or `jax.ShapeDtypeStruct`, such as those of `any_number`.

    Raises `UsageError` for a function that cannot do without the number of images or
    without Python, or that calls what XLA does not promise to keep.
    """

    def traced(*arguments):  # not `function` itself, whose traces JAX may have kept
        return function(*arguments)

    try:
        with portable(), _without_paths():
            exported = jax.export.export(jax.jit(traced), platforms=PLATFORMS)(
                *jax.tree.map(_shape, arguments)
            )
        return bytes(exported.serialize())
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        raise UsageError(
            f"programs are written by the package {error.name}: pip install "
            f"{error.name}"
        ) from error
    except jax.errors.InconclusiveDimensionOperation as error:
        raise UsageError(
            "the network depends on the number of images in more than its shapes, and "
            "a program is for any number: write it without comparing or looping over "
            f"that number ({_first_line(error)})"
        ) from error
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UsageError(
            "the network holds an operation that a StableHLO program cannot express: "
            f"{_first_line(error)}"
        ) from error


def deserialize(program: bytes) -> Callable[..., PyTree]:
    """What `serialize` has written, as a function to be called under `jax.jit` or not.

    Raises `UsageError` for bytes that are no such program, and the function does for
    arguments of other shapes.
    """
    exported = _read(program)

    def call(*arguments: PyTree) -> PyTree:
        try:
            return exported.call(*arguments)
        except ValueError as error:
            raise UsageError(f"the program {_first_line(error)}") from error

    return call


def arguments(program: bytes) -> tuple[PyTree, ...]:
    """What a program takes, with a `jax.ShapeDtypeStruct` for each array."""
    exported = _read(program)
    shapes = map(_shape, exported.in_avals)
    positional, _ = jax.tree.unflatten(exported.in_tree, shapes)
    return positional


def _read(program: bytes) -> jax.export.Exported:
    try:
        return jax.export.deserialize(bytearray(program))
    except ModuleNotFoundError as error:
        raise UsageError(
            f"programs are read by the package {error.name}: pip install {error.name}"
        ) from error
    except Exception as error:  # of any kind: the bytes may be anything
        raise UsageError(
            f"these bytes are no program of jax.export, or one of another version "
            f"({_first_line(error)}): export it again"
        ) from error


def to_stablehlo(
    model: Model,
    variables: Variables,
    *inputs: Any,
    names: Sequence[str] | None = None,
) -> bytes:
    """The network in evaluation, `(variables, *inputs) -> named activations`.

    Args:
      variables: arrays or `jax.ShapeDtypeStruct`; only their shapes and types count.
      inputs: the same, [B,…]: images first.  The program takes any B.
      names: which activations; None: all of them, of which those that nobody reads
        cost nothing where the program is called under `jax.jit`.
    """

    def network(variables, *inputs):
        outputs, _ = model.apply(variables, *inputs)
        for name in names or ():
            if name not in outputs:
                raise unknown("activation", name, outputs)
        return {name: outputs[name] for name in names or outputs}

    return serialize(network, variables, *any_number(*inputs))


def from_stablehlo(program: bytes) -> Model:
    """The network that `to_stablehlo` has written, without its code.

    It predicts only: `init`, training and further entries raise `UsageError`.
    """
    call = deserialize(program)

    def init(key, *inputs):
        raise UsageError(
            "the network is an exported program, which cannot draw weights: use those "
            "that were saved with it"
        )

    def apply(variables, *inputs, entry=None, train=False, key=None):
        check(
            (
                not train,
                "the network is an exported program, which cannot be trained: load it "
                "by its model's name or code",
            ),
            (
                entry is None,
                f"the exported program has one entry, the network, and no {entry!r}: "
                "load it by its model's name or code",
            ),
        )
        state = {name: value for name, value in variables.items() if name != "params"}
        return call(variables, *inputs), state

    return Model(init, apply)


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
    """Else a program would name the files of this machine that it was traced from."""
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    if not hasattr(leaf, "shape"):
        leaf = jnp.asarray(leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
