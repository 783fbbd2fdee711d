"""A traced function as one flat list of equations, to find things in it.

Functions that are called inside (of `jax.jit`, of custom derivatives) are laid open, so
that a pattern such as a softmax is seen wherever it stands.  Programs are traced in
their portable form, in which convolution and pooling are XLA's own operations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvision.ops.target import portable
from jaxvision.types import Array

_CALLS = (
    *("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
)
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")

MOVES = (
    *("reshape", "slice", "squeeze", "transpose", "broadcast_in_dim", "copy"),
    *("convert_element_type", "stop_gradient", "optimization_barrier"),
)
"""Operations after which values are what they were, in another order or type."""


class Equation(NamedTuple):
    """One operation; values are known by their numbers."""

    name: str
    params: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Of the outputs."""
    primitive: Any


class Program(NamedTuple):
    """What a function computes."""

    equations: Sequence[Equation]
    inputs: Sequence[int]
    """The leaves of the arguments."""
    outputs: Sequence[int]
    """The leaves of what is returned."""
    constants: Mapping[int, Any]
    """The arrays and numbers that it has by itself."""

    def depends_on(self, inputs: Sequence[int]) -> set[int]:
        """All values that depend on these."""
        found = set(inputs)
        for equation in self.equations:
            if found & {*equation.inputs}:
                found |= {*equation.outputs}
        return found

    def before(self, wanted: Sequence[int]) -> list[Equation]:
        """The equations by which these values are computed, in their order."""
        needed, kept = set(wanted), list[Equation]()
        for equation in reversed(self.equations):
            if needed & {*equation.outputs}:
                kept.insert(0, equation)
                needed |= {*equation.inputs}
        return kept

    def evaluate(self, arguments: Sequence[Array], wanted: Sequence[int]) -> list[Any]:
        """The values of these numbers."""
        known = {**self.constants, **dict(zip(self.inputs, arguments, strict=True))}
        for equation in self.before(wanted):
            given = [known[each] for each in equation.inputs]
            made = equation.primitive.bind(*given, **equation.params)
            several = made if equation.primitive.multiple_results else [made]
            known |= zip(equation.outputs, several, strict=True)
        return [known[each] for each in wanted]


def trace(function: Callable[..., Any], *arguments: Any) -> Program:
    """The program of `function` for such arguments, which may be abstract."""

    def traced(*arguments):  # not `function` itself, whose traces JAX may have kept
        return function(*arguments)

    with portable():
        closed = jax.make_jaxpr(traced)(*arguments)
    equations: list[Equation] = []
    constants: dict[int, Any] = {}
    count = 0

    def number() -> int:
        nonlocal count
        count += 1
        return count

    def follow(jaxpr: Any, consts: Sequence[Any], given: Sequence[int]) -> list[int]:
        known = dict(zip(jaxpr.invars, given, strict=True))
        for variable, value in zip(jaxpr.constvars, consts, strict=True):
            known[variable] = number()
            constants[known[variable]] = value

        def read(atom: Any) -> int:
            if not hasattr(atom, "val"):
                return known[atom]
            literal = number()
            constants[literal] = np.asarray(atom.val, atom.aval.dtype)
            return literal

        for each in jaxpr.eqns:
            inputs = [read(atom) for atom in each.invars]
            inner = next((each.params[k] for k in _INNER if k in each.params), None)
            if inner is not None and each.primitive.name in _CALLS:
                closed = hasattr(inner, "consts")
                body, own = (inner.jaxpr, inner.consts) if closed else (inner, ())
                outputs = follow(body, own, inputs)
            else:
                outputs = [number() for _ in each.outvars]
                shapes = tuple(variable.aval.shape for variable in each.outvars)
                made = (tuple(inputs), tuple(outputs), shapes, each.primitive)
                equations.append(Equation(each.primitive.name, each.params, *made))
            known.update(zip(each.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    inputs = [number() for _ in closed.jaxpr.invars]
    outputs = follow(closed.jaxpr, closed.consts, inputs)
    return Program(equations, inputs, outputs, constants)
