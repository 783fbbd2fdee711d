"""Normalisation with the settings of the published networks."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp


def batch_norm(
    *,
    train: bool,
    dtype: Any = jnp.float32,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
):
    """`nn.BatchNorm` that lacks only its `name`.

    `momentum` is the share of the old running statistics that each step keeps.
    """
    return partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
    )
