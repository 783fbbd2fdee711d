"""Losses of several yes-or-no answers.  Each maps logits and targets in {0, 1}, both
[B,C], to [B,C]: what is unknown is left out afterwards, by the task."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.errors import check
from jaxvision.recipes import LOSSES

Array = jax.Array
AnswerLoss = Callable[[Array, Array], Array]


def sigmoid_cross_entropy(logits: Array, targets: Array) -> Array:
    """`-t log σ(x) - (1 - t) log σ(-x)`."""
    return optax.sigmoid_binary_cross_entropy(logits, targets)


@LOSSES.recorded
def positive_weighted(weights: Sequence[float]) -> AnswerLoss:
    """`-w_c t log σ(x) - (1 - t) log σ(-x)`, with weights such as
    `losses.positive_weights` makes them; PyTorch's `pos_weight`."""
    factors = np.asarray(weights, np.float32)
    check(
        (
            factors.ndim == 1 and bool((np.isfinite(factors) & (factors > 0)).all()),
            f"weights must be positive numbers, one for each class, got {weights}",
        )
    )

    def loss(logits, targets):
        check(
            (
                len(factors) == logits.shape[-1],
                f"there are {len(factors)} weights for {logits.shape[-1]} classes: "
                "give one for each",
            )
        )
        each = factors[None].astype(logits.dtype)
        there, absent = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
        return -each * targets * there - (1 - targets) * absent

    return loss


@LOSSES.recorded
def asymmetric(
    gamma_positive: float = 0.0, gamma_negative: float = 4.0, margin: float = 0.05
) -> AnswerLoss:
    """`-t (1 - p)^γ+ log p - (1 - t) q^γ- log(1 - q)` with p = σ(x) and
    q = max(p - m, 0): easy negatives count less, and those below the margin m not at
    all.

    Ridnik et al. 2021, https://arxiv.org/abs/2009.14119, eq. 7.  The factors
    (1 - p)^γ+ and q^γ- have a gradient of their own, as in the paper.
    """
    check(
        (
            min(gamma_positive, gamma_negative) >= 0,
            "gamma_positive and gamma_negative must not be negative, got "
            f"{gamma_positive} and {gamma_negative}",
        ),
        (0 <= margin < 1, f"margin must be in [0, 1), got {margin}"),
    )

    def loss(logits, targets):
        there = -jax.nn.log_sigmoid(logits)
        shifted = jnp.maximum(jax.nn.sigmoid(logits) - margin, 0)
        # Without a margin with all the digits of log(1 - p).
        absent = -jnp.log1p(-shifted) if margin else -jax.nn.log_sigmoid(-logits)
        if gamma_positive:
            there = there * _power(jax.nn.sigmoid(-logits), gamma_positive)
        if gamma_negative:
            absent = absent * _power(shifted, gamma_negative)
        return targets * there + (1 - targets) * absent

    return loss


def _power(share: Array, gamma: float) -> Array:
    """With a finite slope at 0 for any γ."""
    return jnp.maximum(share, jnp.finfo(share.dtype).tiny) ** gamma
