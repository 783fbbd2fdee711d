"""The rectifier, written so that its gradient reads what is in memory anyway.

Nair and Hinton 2010, https://www.cs.toronto.edu/~fritz/absps/reluICML.pdf.
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
