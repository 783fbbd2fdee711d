"""Parts of the parameters that learn otherwise than the rest, chosen by their paths.

A path is `layer4.0/conv1/kernel`; a rule is a pattern that is searched in it, and what
follows.  The first rule that is found in a path decides.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import UsageError
from jaxvision.paths import named_leaves, path_name
from jaxvision.types import Optimizer, PyTree


def groups(rules: Sequence[tuple[str, Optimizer | None]], rest: Optimizer) -> Optimizer:
    """An optimiser for each part of the parameters; None freezes, `rest` has the rest.

        optim.groups([("stem|layer1", None), ("fc", fast)], slow)

    The schedule that is logged is that of `rest`.  `clip` bounds the norm of a part.
    Raises `UsageError` when training begins if no path has one of the patterns.
    """
    frozen = Optimizer(optax.set_to_zero(), rest.schedule)
    parts = [frozen if part is None else part for _, part in rules] + [rest]

    def rescheduled(schedule):
        again = [(pattern, part and _again(part, schedule)) for pattern, part in rules]
        return groups(again, _again(rest, schedule))

    learning = [part for part in parts if part is not frozen]
    known = all(part.rescheduled is not None for part in learning)
    decays = [
        set(part.no_weight_decay) for part in parts if part.no_weight_decay is not None
    ]
    return Optimizer(
        optax.partition(
            {number: part.transform for number, part in enumerate(parts)},
            lambda params: _first([pattern for pattern, _ in rules], params),
        ),
        rest.schedule,
        sorted(set.intersection(*decays)) if decays else None,
        rescheduled if known else None,
    )


Factor = float | Callable[[Any], Any]
"""Of a learning rate: a number, or `step -> number`."""


def scale_rates(optimizer: Optimizer, rules: Sequence[tuple[str, Factor]]) -> Optimizer:
    """The optimiser with the learning rates of some parameters multiplied.

        optim.scale_rates(optimizer, [("^fc", 1.0), ("", 0.1)])

    A factor may be a function of the step, from 0 on.  Where it is zero, parameters
    keep their bits, and the optimiser's averages of their gradients go on.  Raises
    `UsageError` when training begins if no path has one of the patterns.
    """
    factors = [factor for _, factor in rules] + [1.0]

    def update(updates, step, params=None):
        places = _first([pattern for pattern, _ in rules], updates)
        now = [factor(step) if callable(factor) else factor for factor in factors]
        scaled = jax.tree.map(lambda u, place: u * now[place], updates, places)
        return scaled, optax.safe_increment(step)

    counted = optax.GradientTransformation(lambda _: jnp.zeros((), jnp.int32), update)
    again = optimizer.rescheduled
    return optimizer._replace(
        transform=optax.chain(optimizer.transform, counted),
        rescheduled=again and (lambda schedule: scale_rates(again(schedule), rules)),
    )


def _again(optimizer: Optimizer, schedule: optax.Schedule) -> Optimizer:
    assert optimizer.rescheduled is not None
    return optimizer.rescheduled(schedule)


def _first(patterns: Sequence[str], params: PyTree) -> PyTree:
    """For each parameter the place of the first pattern in its path; none: the end."""
    found: set[int] = set()

    def place(path: Any, _) -> int:
        name = path_name(path)
        number = next(
            (i for i, pattern in enumerate(patterns) if re.search(pattern, name)),
            len(patterns),
        )
        found.add(number)
        return number

    places = jax.tree_util.tree_map_with_path(place, params)
    lost = [pattern for i, pattern in enumerate(patterns) if i not in found]
    if lost:
        first = next(iter(named_leaves(params)))
        raise UsageError(
            f"no parameter is left for the rule {lost[0]!r}: patterns are searched in "
            f"paths such as {first}, and the first that is found decides"
        )
    return places
