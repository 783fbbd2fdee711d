"""Optimiser chains: gradient clipping, the rule, weight decay with its mask."""

import re
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Concatenate

import jax
import optax

from jaxvision.errors import check
from jaxvision.paths import path_name
from jaxvision.types import Optimizer, PyTree


def decay_mask(params: PyTree, no_weight_decay: Sequence[str] = ()) -> PyTree:
    """True for what weight decay shrinks: kernels, but no biases and no norms, and no
    parameter in whose path (`a/b/kernel`) one of the patterns is found.

    Biases and the scales of normalisation layers are vectors, or are called `bias` and
    `scale`: those of attention heads and of layers in a scan have further axes.
    """
    alone = [re.compile(pattern) for pattern in (r"\b(bias|scale)$", *no_weight_decay)]

    def shrinks(path, param) -> bool:
        name = path_name(path)
        return param.ndim > 1 and not any(pattern.search(name) for pattern in alone)

    return jax.tree_util.tree_map_with_path(shrinks, params)


def _schedulable[**P](
    rule: Callable[Concatenate[optax.Schedule, P], Optimizer],
) -> Callable[Concatenate[optax.Schedule, P], Optimizer]:
    """The rule, whose optimisers can be made again with another schedule."""

    @wraps(rule)
    def make(schedule: optax.Schedule, *args: P.args, **kwargs: P.kwargs) -> Optimizer:
        return rule(schedule, *args, **kwargs)._replace(
            rescheduled=lambda other: make(other, *args, **kwargs)
        )

    return make


@_schedulable
def sgd(
    schedule: optax.Schedule,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    no_weight_decay: Sequence[str] = (),
    clip: float | None = None,
) -> Optimizer:
    """Stochastic gradient descent, with momentum as `v ← m·v + g`, `p ← p - lr·v`.

    Weight decay is L2 regularisation as in He et al. 2016: `g ← g + λp`, before
    momentum.  It leaves biases, norms and `no_weight_decay` alone (see `decay_mask`);
    the latter is `model.no_weight_decay`.  `clip` bounds the global norm of the
    gradient.
    """
    check(
        (0 <= momentum < 1, f"momentum must be in [0, 1), got {momentum}"),
        (
            momentum > 0 or not nesterov,
            "Nesterov's method needs momentum, such as momentum=0.9",
        ),
        *_common(weight_decay, clip),
    )
    return Optimizer(
        optax.chain(
            _clip(clip),
            optax.add_decayed_weights(weight_decay, _mask(no_weight_decay))
            if weight_decay
            else optax.identity(),
            optax.sgd(schedule, momentum or None, nesterov),
        ),
        schedule,
        no_weight_decay if weight_decay else None,
    )


@_schedulable
def adam(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    clip: float | None = None,
) -> Optimizer:
    """Adam.  Kingma and Ba 2015, https://arxiv.org/abs/1412.6980."""
    return adamw(schedule, b1=b1, b2=b2, weight_decay=0.0, clip=clip)


@_schedulable
def adamw(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    weight_decay: float = 1e-2,
    no_weight_decay: Sequence[str] = (),
    clip: float | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay, `p ← p - lr·(update + λp)`, on what `sgd` says.

    Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    rule = optax.adamw
    return _decoupled(rule, schedule, b1, b2, weight_decay, no_weight_decay, clip)


@_schedulable
def lamb(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    weight_decay: float = 1e-2,
    no_weight_decay: Sequence[str] = (),
    clip: float | None = None,
) -> Optimizer:
    """AdamW whose step for each parameter is as long as the parameter: large batches.

    You et al. 2020, https://arxiv.org/abs/1904.00962.
    """
    rule = optax.lamb
    return _decoupled(rule, schedule, b1, b2, weight_decay, no_weight_decay, clip)


@_schedulable
def lion(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: float = 1e-1,
    no_weight_decay: Sequence[str] = (),
    clip: float | None = None,
) -> Optimizer:
    """The sign of a momentum: half of Adam's memory.  Rates are three to ten times
    lower than AdamW's, and weight decay as many times higher.

    Chen et al. 2023, https://arxiv.org/abs/2302.06675.
    """
    rule = optax.lion
    return _decoupled(rule, schedule, b1, b2, weight_decay, no_weight_decay, clip)


@_schedulable
def muon(
    schedule: optax.Schedule,
    *,
    adam: Sequence[str] = (),
    adam_schedule: optax.Schedule | None = None,
    momentum: float = 0.95,
    weight_decay: float = 0.0,
    no_weight_decay: Sequence[str] = (),
    clip: float | None = None,
) -> Optimizer:
    """Nesterov's momentum, of each kernel the nearest orthogonal matrix.

    The rows of the matrix of a convolution are its taps and input channels.  What
    weight decay leaves alone, and parameters with a pattern of `adam` in their paths,
    usually the first layer and the last, follow Adam with Nesterov's momentum, without
    weight decay, at the rates of `adam_schedule` (None: the same).

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.
    """
    check(
        (0 <= momentum < 1, f"momentum must be in [0, 1), got {momentum}"),
        *_common(weight_decay, clip),
    )

    def matrices(params: PyTree) -> PyTree:
        def matrix(kernel, param):
            if not kernel:
                return None
            rows = tuple(range(param.ndim - 1))
            return optax.contrib.MuonDimensionNumbers(rows, param.ndim - 1)

        kernels = decay_mask(params, (*no_weight_decay, *adam))
        return jax.tree.map(matrix, kernels, params)

    rule = optax.contrib.muon(
        schedule,
        beta=momentum,
        weight_decay=weight_decay,
        weight_decay_mask=_mask(no_weight_decay),
        adam_learning_rate=adam_schedule,
        muon_weight_dimension_numbers=matrices,
    )
    return Optimizer(
        optax.chain(_clip(clip), rule),
        schedule,
        no_weight_decay if weight_decay else None,
    )


def _decoupled(
    rule: Callable[..., optax.GradientTransformation],
    schedule: optax.Schedule,
    b1: float,
    b2: float,
    weight_decay: float,
    no_weight_decay: Sequence[str],
    clip: float | None,
) -> Optimizer:
    check(
        (0 <= b1 < 1 and 0 <= b2 < 1, f"b1 and b2 must be in [0, 1), got {b1}, {b2}"),
        *_common(weight_decay, clip),
    )
    mask = _mask(no_weight_decay)
    return Optimizer(
        optax.chain(
            _clip(clip),
            rule(schedule, b1, b2, weight_decay=weight_decay, mask=mask),
        ),
        schedule,
        no_weight_decay if weight_decay else None,
    )


def _mask(no_weight_decay: Sequence[str]) -> Callable[[PyTree], PyTree]:
    return partial(decay_mask, no_weight_decay=no_weight_decay)


def _common(weight_decay: float, clip: float | None) -> list[tuple[bool, str]]:
    return [
        (weight_decay >= 0, f"weight_decay must not be negative, got {weight_decay}"),
        (clip is None or clip > 0, f"clip must be positive or None, got {clip}"),
    ]


def _clip(norm: float | None) -> optax.GradientTransformation:
    return optax.identity() if norm is None else optax.clip_by_global_norm(norm)
