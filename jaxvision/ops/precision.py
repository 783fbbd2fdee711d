"""The types in which sums are taken."""

import jax.numpy as jnp
from jax.typing import DTypeLike


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """float64 for float64, and float32 for all other types, narrow floats above all."""
    double = jnp.dtype(dtype) == jnp.float64
    return jnp.dtype(jnp.float64 if double else jnp.float32)
