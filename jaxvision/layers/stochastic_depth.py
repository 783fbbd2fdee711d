"""Stochastic depth.  Huang et al. 2016, https://arxiv.org/abs/1603.09382"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class StochasticDepth(nn.Module):
    """In training, the branch of each example survives with probability 1 - rate.

    Survivors are divided by that probability, so that the mean stays the same.  Random
    numbers come from the `dropout` stream.
    """

    rate: float
    deterministic: bool

    @nn.compact
    def __call__(self, branch: jax.Array) -> jax.Array:
        if self.deterministic or self.rate == 0:
            return branch
        keep = 1 - self.rate
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        survives = jax.random.bernoulli(self.make_rng("dropout"), keep, shape)
        return jnp.where(survives, branch / keep, 0).astype(branch.dtype)
