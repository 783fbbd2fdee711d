"""Losses of class scores.  Each maps logits and targets, both [B,C], to [B]."""

import jax
import jax.numpy as jnp
import optax

Array = jax.Array


def cross_entropy(logits: Array, targets: Array) -> Array:
    """`-Σ_c t_c log softmax(logits)_c`; the targets of an example sum to one."""
    return optax.softmax_cross_entropy(logits, targets)


def sum_of_squares(logits: Array, targets: Array) -> Array:
    """`½ Σ_c (y_c - t_c)²` with logistic outputs `y = σ(logits)`, as in the 1980s.

    Rumelhart, Hinton and Williams 1986, https://doi.org/10.1038/323533a0, eq. 3.
    """
    return 0.5 * jnp.sum(jnp.square(jax.nn.sigmoid(logits) - targets), axis=-1)
