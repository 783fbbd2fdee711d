"""Optimiser chains: gradient clipping, the rule, weight decay with its mask."""

import functools
from collections.abc import Callable
from typing import Concatenate

import jax
import optax
import optax.contrib

from jaxvision.errors import check
from jaxvision.types import Optimizer, PyTree


def decay_mask(params: PyTree) -> PyTree:
    """True for what weight decay shrinks: kernels, but no biases and no norms.

    Biases and the scales of normalisation layers are vectors, so the rank tells.
    """
    return jax.tree.map(lambda param: param.ndim > 1, params)


def _schedulable[**P](
    rule: Callable[Concatenate[optax.Schedule, P], Optimizer],
) -> Callable[Concatenate[optax.Schedule, P], Optimizer]:
    """The rule, whose optimisers can be made again with another schedule."""

    @functools.wraps(rule)
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
    clip: float | None = None,
) -> Optimizer:
    """Stochastic gradient descent, with momentum as `v ← m·v + g`, `p ← p - lr·v`.

    Weight decay is L2 regularisation as in He et al. 2016: `g ← g + λp`, before
    momentum.  `clip` bounds the global norm of the gradient.
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
            optax.add_decayed_weights(weight_decay, decay_mask)
            if weight_decay
            else optax.identity(),
            optax.sgd(schedule, momentum or None, nesterov),
        ),
        schedule,
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
    clip: float | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay, `p ← p - lr·(update + λp)`.

    Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """
    check(*_moments(b1, b2), *_common(weight_decay, clip))
    rule = optax.adamw(schedule, b1, b2, weight_decay=weight_decay, mask=decay_mask)
    return Optimizer(optax.chain(_clip(clip), rule), schedule)


@_schedulable
def lamb(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    weight_decay: float = 1e-2,
    clip: float | None = None,
) -> Optimizer:
    """AdamW whose step in each array is as long as the array's norm, for large batches.

    You et al. 2020, https://arxiv.org/abs/1904.00962.
    """
    check(*_moments(b1, b2), *_common(weight_decay, clip))
    rule = optax.lamb(schedule, b1, b2, weight_decay=weight_decay, mask=decay_mask)
    return Optimizer(optax.chain(_clip(clip), rule), schedule)


@_schedulable
def lion(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: float = 1e-1,
    clip: float | None = None,
) -> Optimizer:
    """The sign of an interpolated momentum, `p ← p - lr·(sign(b1·m + (1-b1)·g) + λp)`.

    Its rate is a third to a tenth of AdamW's, its weight decay as many times larger.
    Chen et al. 2023, https://arxiv.org/abs/2302.06675.
    """
    check(*_moments(b1, b2), *_common(weight_decay, clip))
    rule = optax.lion(schedule, b1, b2, weight_decay=weight_decay, mask=decay_mask)
    return Optimizer(optax.chain(_clip(clip), rule), schedule)


@_schedulable
def muon(
    schedule: optax.Schedule,
    *,
    momentum: float = 0.95,
    weight_decay: float = 1e-2,
    clip: float | None = None,
) -> Optimizer:
    """Orthogonalised Nesterov momentum for kernels, and NAdam for all other arrays.

    A kernel of a convolution [H,W,I,O] is a matrix of H·W·I rows here.  Steps of
    kernels are scaled to the length of AdamW's, so that its rates serve (Liu et al.
    2025, https://arxiv.org/abs/2502.16982).  Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon.
    """
    check(
        (0 <= momentum < 1, f"momentum must be in [0, 1), got {momentum}"),
        *_common(weight_decay, clip),
    )

    def dimensions(params: PyTree) -> PyTree:
        def of(path, param):
            if path[-1].key != "kernel" or param.ndim not in (2, 4):
                return None
            *rows, columns = range(param.ndim)
            return optax.contrib.MuonDimensionNumbers(tuple(rows), (columns,))

        return jax.tree_util.tree_map_with_path(of, params)

    rule = optax.contrib.muon(
        schedule,
        beta=momentum,
        weight_decay=weight_decay,
        weight_decay_mask=decay_mask,
        muon_weight_dimension_numbers=dimensions,
        consistent_rms=0.2,
    )
    return Optimizer(optax.chain(_clip(clip), rule), schedule)


def _moments(b1: float, b2: float) -> list[tuple[bool, str]]:
    return [
        (0 <= b1 < 1 and 0 <= b2 < 1, f"b1 and b2 must be in [0, 1), got {b1}, {b2}")
    ]


def _common(weight_decay: float, clip: float | None) -> list[tuple[bool, str]]:
    return [
        (weight_decay >= 0, f"weight_decay must not be negative, got {weight_decay}"),
        (clip is None or clip > 0, f"clip must be positive or None, got {clip}"),
    ]


def _clip(norm: float | None) -> optax.GradientTransformation:
    return optax.identity() if norm is None else optax.clip_by_global_norm(norm)
