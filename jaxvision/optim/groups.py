"""Parameter groups: which parameters learn, how, and how fast, by their paths."""

import re
from collections.abc import Callable, Sequence

import jax
import optax

from jaxvision.errors import check
from jaxvision.types import Optimizer, PyTree


def groups(rules: Sequence[tuple[str, Optimizer | None]]) -> Optimizer:
    """An optimiser for each group of parameters; those of None never change.

    A rule is a pattern that is searched in the path of a parameter, such as
    `conv1/kernel`, and what trains those that it fits; the first one that fits decides:

        optim.groups([
            ("conv1|layer[12]/", None),                           # frozen
            ("fc/", optim.adamw(schedule)),
            ("", optim.scaled(optim.adamw(schedule), 0.1)),       # all others
        ])

    What is frozen keeps its bits, whatever weight decay the others have.  Running
    statistics are no parameters: they go on.  `clip` bounds the norm of a group.  The
    schedule that is logged is that of the first group that learns.

    Raises `UsageError` when training begins for a parameter that no rule fits, and for
    a rule that decides about none.
    """
    learning = [optimizer for _, optimizer in rules if optimizer is not None]
    check((bool(learning), "every group is frozen: nothing would be learned"))
    transforms = {
        i: optax.set_to_zero() if optimizer is None else optimizer.transform
        for i, (_, optimizer) in enumerate(rules)
    }
    patterns = [re.compile(pattern) for pattern, _ in rules]
    transform = optax.partition(transforms, lambda params: _labels(patterns, params))

    def rescheduled(schedule):
        return groups(
            [(pattern, each and _again(each, schedule)) for pattern, each in rules]
        )

    known = all(each.rescheduled is not None for each in learning)
    return Optimizer(transform, learning[0].schedule, rescheduled if known else None)


def scaled(optimizer: Optimizer, factor: float) -> Optimizer:
    """The optimiser at `factor` times its learning rate."""
    check((factor > 0, f"factor of a learning rate must be positive, got {factor}"))

    def schedule(step):
        return factor * optimizer.schedule(step)

    return Optimizer(
        optax.chain(optimizer.transform, optax.scale(factor)),
        schedule,
        None
        if optimizer.rescheduled is None
        else lambda schedule: scaled(_again(optimizer, schedule), factor),
    )


def layerwise(
    optimizer: Optimizer, layers: Sequence[str], *, decay: float
) -> Optimizer:
    """Learning rates that fall by `decay` from each layer to the one before it.

    `layers` are patterns as in `groups`, from the first layer to the last, which learns
    at the full rate.  Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 3.2.
    """
    check((0 < decay <= 1, f"decay of the rates must be in (0, 1], got {decay}"))
    last = len(layers) - 1
    rules = [
        (layer, scaled(optimizer, decay ** (last - i)))
        for i, layer in enumerate(layers)
    ]
    made = groups(rules)
    return made._replace(schedule=optimizer.schedule)


def _again(optimizer: Optimizer, schedule: Callable) -> Optimizer:
    assert optimizer.rescheduled is not None
    return optimizer.rescheduled(schedule)


def _labels(patterns: Sequence[re.Pattern[str]], params: PyTree) -> PyTree:
    """The number of the first rule that fits, for each parameter."""
    used, unfit = set(), []

    def label(path, _):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for i, pattern in enumerate(patterns):
            if pattern.search(name):
                used.add(i)
                return i
        unfit.append(name)
        return 0

    labels = jax.tree_util.tree_map_with_path(label, params)
    check(
        (
            not unfit,
            f"no group has the parameters {', '.join(unfit[:8])}: end with a rule for "
            '"", which fits all',
        ),
        *(
            (
                i in used,
                f"the pattern {pattern.pattern!r} decides about no parameter: mend it, "
                "or put it before a more general one",
            )
            for i, pattern in enumerate(patterns)
        ),
    )
    return labels
