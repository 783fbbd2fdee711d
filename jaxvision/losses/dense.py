"""Losses of every place of an image, most of which show nothing.

Each maps outputs and targets of the same shape to a loss for each number.
"""

import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import check

Array = jax.Array


def sigmoid_focal(
    logits: Array, targets: Array, *, alpha: float | None = 0.25, gamma: float = 2.0
) -> Array:
    """Cross-entropy of yes-or-no answers that counts the easy ones less.

    `-α_t (1 - p_t)^γ log p_t`, where p_t is the probability of the right answer: Lin et
    al. 2017, https://arxiv.org/abs/1708.02002, equation 5.

    Args:
      logits: any shape.
      targets: of the same shape, 0 or 1.
      alpha: the weight of yes, and 1 - α that of no; None: both weigh 1.
      gamma: 0 is cross-entropy.

    Raises `UsageError` for an alpha outside of [0, 1] or a negative gamma.
    """
    check(
        (
            alpha is None or 0 <= alpha <= 1,
            f"alpha must be from 0 to 1, or None, got {alpha}",
        ),
        (gamma >= 0, f"gamma must not be negative, got {gamma}"),
    )
    entropy = optax.sigmoid_binary_cross_entropy(logits, targets)
    wrong = jax.nn.sigmoid(-logits) * targets + jax.nn.sigmoid(logits) * (1 - targets)
    # Not 0, where powers below 1 have no slope.
    losses = jnp.maximum(wrong, jnp.finfo(wrong.dtype).tiny) ** gamma * entropy
    if alpha is None:
        return losses
    return (alpha * targets + (1 - alpha) * (1 - targets)) * losses


def smooth_l1(outputs: Array, targets: Array, *, beta: float = 1.0) -> Array:
    """`½ e²/β` for errors e up to β, and `|e| - ½ β` beyond: Huber's loss over β.

    Girshick 2015, Fast R-CNN, https://arxiv.org/abs/1504.08083, equation 3, which has
    β = 1.  With β = 0 it is the absolute error.
    """
    check((beta >= 0, f"beta must not be negative, got {beta}"))
    if beta == 0:
        return jnp.abs(outputs - targets)
    return optax.huber_loss(outputs, targets, delta=beta) / beta
