"""Averages of the parameters over the steps of a run, as weights of the newest ones.

An average moves by `a ← a + w·(p - a)` after each step, for parameters and running
statistics alike; what tells one kind from another is w as a function of the step.  It
takes no part in the training: it is evaluated beside the raw parameters.
"""

from collections.abc import Callable

import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.types import Array


def ema(decay: float) -> Callable[[Array], Array]:
    """The exponential moving average: w = 1 - decay, and more in the first steps.

    There w = 1/(t+1), the mean of all so far, as long as that is larger: so the
    untrained parameters do not linger.  Polyak and Juditsky 1992,
    https://doi.org/10.1137/0330046.
    """
    check((0 < decay < 1, f"decay of the average must be in (0, 1), got {decay}"))
    return lambda step: jnp.maximum(1 - decay, 1 / (_real(step) + 1))


def swa(*, start: int, every: int = 1) -> Callable[[Array], Array]:
    """Stochastic weight averaging: the mean of the parameters from step `start` on.

    Of every `every` steps one counts; before `start` the average is the parameters
    themselves.  Running statistics are averaged too; the paper computes them anew.
    Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
    """
    check(
        (start >= 0, f"start of the average must not be negative, got {start}"),
        (every >= 1, f"every must be at least 1 step, got {every}"),
    )

    def weight(step):
        number, rest = jnp.divmod(step - start, every)
        mean = jnp.where(rest == 0, 1 / (_real(number) + 1), 0.0)
        return jnp.where(step < start, 1.0, mean)

    return weight


def _real(number: Array) -> Array:
    return jnp.asarray(number).astype(jnp.float32)
