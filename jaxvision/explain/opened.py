"""A network opened at one of its activations: what comes before, and what follows.

The parts are found in the traced program, so that any network whose activations have
names can be opened at each of them, and none is written for it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import JaxprEqn, Literal

from jaxvision.errors import UsageError, unknown
from jaxvision.explain.scores import Forward
from jaxvision.types import Array, Outputs

_MOVES = ("reshape", "slice", "squeeze", "transpose", "convert_element_type", "copy")
"""Operations that show values in another order, or fewer of them."""


class Opened(NamedTuple):
    """A network, cut open."""

    value: Array
    """What was computed for the images up to here."""
    rest: Callable[[Array], Array]
    """`value -> score [B]`: what follows, by which a changed value can be tried.  What
    goes around the cut stays as it was."""
    shown: Callable[[Array], Array]
    """What the activation shows of such a value.  That is the value itself, or a part
    of it in another order, as the patches of all tokens."""


def opened(
    forward: Forward, score: Callable[[Outputs], Array], name: str, images: Array
) -> Opened:
    """The network at the activation `name`, for these images.

    Where nothing that follows reads the activation itself, since it only shows what the
    network goes on with (a vision transformer's maps are its tokens without that of the
    class), the network is opened there instead.

    Args:
      score: `outputs -> [B]`, see `scores.score_of`.

    Raises `UsageError` for a name that is no activation, and for one that the score
    does not depend on.
    """

    def program(images):
        outputs = forward(images)
        if name not in outputs:
            raise unknown("activation", name, outputs)
        return outputs[name], score(outputs)

    traced = jax.make_jaxpr(program)(images)
    jaxpr = traced.jaxpr
    begin: Any
    begin, end = jaxpr.outvars
    makers = {made: each for each in jaxpr.eqns for made in each.outvars}
    read = {v for each in _needed(jaxpr.eqns, end, None) for v in _read(each)} | {end}
    moves: list[JaxprEqn] = []
    shown = begin
    while begin not in read:
        maker = makers.get(begin)
        if maker is None or maker.primitive.name not in _MOVES:
            raise UsageError(
                f"the score does not depend on the activation {name}: choose one that "
                "comes before it"
            )
        moves.insert(0, maker)
        (begin,) = _read(maker)
    (value,) = jax.core.eval_jaxpr(
        jaxpr.replace(outvars=[begin], eqns=_needed(jaxpr.eqns, begin, None)),
        traced.consts,
        images,
    )
    follows = jaxpr.replace(
        invars=[*jaxpr.invars, begin],
        outvars=[end],
        eqns=_needed(jaxpr.eqns, end, begin),
    )
    showing = jaxpr.replace(invars=[*jaxpr.invars, begin], outvars=[shown], eqns=moves)

    def evaluated(part):
        return lambda value: jax.core.eval_jaxpr(part, traced.consts, images, value)[0]

    return Opened(value, evaluated(follows), evaluated(showing))


def _needed(equations, end, begin) -> list[JaxprEqn]:
    """Those that `end` is computed by where `begin` is known."""
    needed, kept = {end} - {begin}, list[JaxprEqn]()
    for equation in reversed(equations):
        if needed & set(equation.outvars):
            kept.insert(0, equation)
            needed |= {*_read(equation)} - {begin}
    return kept


def _read(equation) -> list:
    return [each for each in equation.invars if not isinstance(each, Literal)]
