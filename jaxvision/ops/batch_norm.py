"""Batch normalisation by the statistics of the batch, written so that little is kept.

Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array


class Statistics(NamedTuple):
    """Of each channel, [C] in at least float32."""

    mean: Array
    variance: Array


def statistics(x: Array, counted: Array | None = None) -> Statistics:
    """Mean and biased variance of [...,C] over all but its last axis.

    The variance is E[x²] - E[x]², which reads x once, and never below 0.

    Args:
      counted: bool [N]: which entries of the first axis there are; None: all.  Without
        any, both are 0.
    """
    axes = tuple(range(x.ndim - 1))
    x = x.astype(at_least_float32(x.dtype))

    def expected(values):
        if counted is None:
            return values.mean(axes)
        number = jnp.maximum(jnp.sum(counted, dtype=x.dtype), 1)
        share = counted.astype(x.dtype) * (len(x) / number)
        return (values * jnp.expand_dims(share, tuple(range(1, x.ndim)))).mean(axes)

    mean = expected(x)
    # Not `jnp.square(x)`, whose gradient keeps 2x.
    return Statistics(mean, jnp.maximum(expected(x * x) - mean**2, 0))


def batch_norm(
    x: Array,
    scale: Array,
    bias: Array,
    epsilon: float,
    counted: Array | None = None,
) -> tuple[Array, Statistics]:
    """`(x - mean) · scale / √(variance + ε) + bias`, and the statistics, of [...,C].

    Computed as `x · a + b` of two numbers a channel.  The gradient then needs x alone,
    which the convolution before it has written anyway; `x - mean` would be written and
    read once more, as large as x.  For `counted` see `statistics`.
    """
    of_batch = statistics(x, counted)
    a = scale * lax.rsqrt(of_batch.variance + epsilon)
    of_channels = partial(jnp.expand_dims, axis=tuple(range(x.ndim - 1)))
    y = x.astype(a.dtype) * of_channels(a) + of_channels(bias - of_batch.mean * a)
    return y, of_batch
