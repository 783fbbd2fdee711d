"""Normalisation with the settings of the published networks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import batch_norm as ops
from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array


class BatchNorm(nn.Module):
    """Batch normalisation of [...,C] over all axes but the last.

    In training by the statistics of the batch, of which `batch_stats` holds running
    averages for the evaluation.  As in PyTorch, where published weights come from, the
    batch is normalised by its biased variance, and the running one is of the unbiased,
    n / (n - 1) times as large for n values of a channel in the batch, over all devices.
    `flax.linen.BatchNorm` stores the biased one, and is otherwise the same function;
    `ops.batch_norm` describes how its computation differs.
    """

    use_running_average: bool
    momentum: float = 0.9
    """The share of the old running averages that each step keeps."""
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    """The type of the output."""
    scale_init: Callable[..., Array] = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, counted: Array | None = None) -> Array:
        """In training `counted`, bool [N], says which entries of the first axis there
        are; None: all.  If none is, the running averages stay."""
        shape = x.shape[-1:]
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "var", jnp.ones, shape)
        if self.use_running_average:
            a = scale * lax.rsqrt(variance.value + self.epsilon)
            wide = at_least_float32(x.dtype)

            def of_channels(values):
                return values.astype(wide).reshape((1,) * (x.ndim - 1) + shape)

            y = (x.astype(wide) - of_channels(mean.value)) * of_channels(a)
            y += of_channels(bias)
        else:
            y, of_batch = ops.batch_norm(x, scale, bias, self.epsilon, counted)
            if not self.is_initializing():
                count = x.size // x.shape[-1]
                keep: Any = self.momentum
                ratio: Any = count / max(count - 1, 1)
                if counted is not None:
                    number = jnp.sum(counted, dtype=jnp.float32)
                    there = (count // len(x)) * number
                    keep = jnp.where(number > 0, keep, 1.0)
                    ratio = there / jnp.maximum(there - 1, 1)
                unbiased = of_batch.variance * ratio
                mean.value = keep * mean.value + (1 - keep) * of_batch.mean
                variance.value = keep * variance.value + (1 - keep) * unbiased
        return y.astype(self.dtype)


class LayerNorm(nn.LayerNorm):
    """flax's layer normalisation, also where implicit promotion is forbidden."""

    @nn.compact
    def __call__(self, x, **options):
        # It widens narrow types itself for its statistics.
        with jax.numpy_dtype_promotion("standard"):
            return super().__call__(x, **options)


def batch_norm(
    *,
    train: bool,
    dtype: Any = jnp.float32,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
):
    """A partial `BatchNorm`, complete but for its `name`."""
    return partial(
        BatchNorm,
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
    )


class GroupNorm(nn.GroupNorm):
    """flax's group normalisation, also where implicit promotion is forbidden."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, **options):
        # It widens narrow types itself for its statistics.
        with jax.numpy_dtype_promotion("standard"):
            return super().__call__(x, **options)
