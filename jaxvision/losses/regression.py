"""Losses of real numbers.  Each maps outputs and targets, both [B,T], to [B]."""

import jax
import jax.numpy as jnp
import optax

Array = jax.Array


def squared_error(outputs: Array, targets: Array) -> Array:
    """`mean_t (y_t - t_t)²`."""
    return jnp.mean(optax.squared_error(outputs, targets), axis=-1)


def absolute_error(outputs: Array, targets: Array) -> Array:
    """`mean_t |y_t - t_t|`, which outliers move less."""
    return jnp.mean(jnp.abs(outputs - targets), axis=-1)


def huber(outputs: Array, targets: Array, delta: float = 1.0) -> Array:
    """The mean of `½ e²` for errors up to `delta`, and of `δ (|e| - ½ δ)` beyond.

    Huber 1964, https://doi.org/10.1214/aoms/1177703732.
    """
    return jnp.mean(optax.huber_loss(outputs, targets, delta=delta), axis=-1)
