"""Activation functions: what a neuron makes of the sum of its inputs.

Of these networks use the rectifier (Nair and Hinton 2010,
https://www.cs.toronto.edu/~fritz/absps/reluICML.pdf), which is written so that its
gradient reads what is in memory anyway.  The others are for comparison; those that are
not here, such as softplus or GELU, are in `jax.nn`.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import target
from jaxvision.types import Array


def relu(x: Array) -> Array:
    """`max(x, 0)`; the derivative at 0 is 0.

    On accelerators it is `jax.nn.relu`.  On CPU the gradient sees by the output, which
    the next layer keeps anyway, where x was positive.  XLA would rather compute x anew:
    at the end of a residual block, from all blocks before it.
    """
    return _relu(x) if target.is_cpu() else jax.nn.relu(x)


@jax.custom_jvp
def _relu(x: Array) -> Array:
    return jnp.maximum(x, 0)


@_relu.defjvp
def _derivative(primals, tangents):
    (x,), (dx,) = primals, tangents
    y = lax.optimization_barrier(_relu(x))
    return y, jnp.where(lax.stop_gradient(y) > 0, dx, 0)


def step(x: Array) -> Array:
    """1 where x > 0 and 0 elsewhere, in the type of x; the derivative is 0.

    The perceptron's.  Rosenblatt 1958, https://doi.org/10.1037/h0042519.
    """
    return (x > 0).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """`1 / (1 + exp(-x))`, in (0, 1); it does not overflow."""
    return jax.nn.sigmoid(x)


def tanh(x: Array) -> Array:
    """`2 · sigmoid(2x) - 1`, in (-1, 1)."""
    return jnp.tanh(x)


def leaky_relu(x: Array, slope: float = 0.1) -> Array:
    """x where it is positive, and elsewhere x times the slope (Maas et al. 2013, who
    have 0.01)."""
    return jnp.where(x > 0, x, slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where it is positive, and elsewhere `α · (exp(x) - 1)`.

    Clevert et al. 2016, https://arxiv.org/abs/1511.07289.
    """
    return jax.nn.elu(x, alpha)


def maxout(x: Array, weights: Array, biases: Array) -> Array:
    """The largest of k linear functions, [...,O] of x [...,I]: weights [k,I,O], biases
    [k,O].  Goodfellow et al. 2013, https://arxiv.org/abs/1302.4389.
    """
    every = jnp.einsum("...i,kio->...ko", x, weights)
    biases = jnp.broadcast_to(biases, every.shape)
    return jnp.max(every + biases, axis=-2)
