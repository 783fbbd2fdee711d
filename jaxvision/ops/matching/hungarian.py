"""Matching one to one at the least total cost."""

import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import check
from jaxvision.ops.matching.matches import BACKGROUND

Array = jax.Array

WORST = 1e9
"""What a cost that is not finite counts as: the algorithm would not end with NaN."""


def hungarian(cost: Array, valid: Array) -> Array:
    """Each object is found by one prediction, so that the sum of costs is the least.

    Carion et al. 2020, DETR, https://arxiv.org/abs/2005.12872, equation 1, by the
    algorithm of Kuhn (1955), https://doi.org/10.1002/nav.3800020109, in optax.

    Args:
      cost: [N,M] of predictions and objects.
      valid: bool [M]: which objects there are; the others cost the same everywhere and
        so change nothing.

    Returns int32 [N], see `ops.matching`.

    Raises `UsageError` if there may be more objects than predictions.
    """
    predictions, objects = cost.shape
    check(
        (
            predictions >= objects,
            f"{predictions} predictions cannot find {objects} objects one to one: give "
            "the model more queries, or batches fewer objects",
        )
    )
    matches = jnp.full(predictions, BACKGROUND, jnp.int32)
    if not objects:
        return matches
    cost = jnp.nan_to_num(cost, nan=WORST, posinf=WORST, neginf=-WORST)
    cost = jnp.where(valid[None], cost, 0)
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    found = jnp.where(valid[columns], columns, BACKGROUND).astype(jnp.int32)
    return matches.at[rows].set(found)
