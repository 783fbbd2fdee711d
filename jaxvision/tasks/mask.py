"""Which examples of a batch count."""

import jax
import jax.numpy as jnp

from jaxvision.types import Batch


def mask_of(batch: Batch) -> jax.Array:
    """Bool [B]: the batch's `mask`; all count where it does not say."""
    return batch.get("mask", jnp.ones(len(batch["image"]), bool))
