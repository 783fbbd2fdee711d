"""Local response normalisation.  Krizhevsky et al. 2012, section 3.3"""

import jax
import jax.numpy as jnp
from jax import lax


def local_response_norm(
    x_BxHxWxC: jax.Array,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
) -> jax.Array:
    """Divide by `(k + α · Σ x²)^β`, summed over `size` neighbouring channels.

    α multiplies the sum, as in the paper; Caffe and PyTorch multiply the mean by it, so
    that their α is `size` times as large.
    """
    squares = jnp.square(x_BxHxWxC.astype(jnp.float32))
    half = size // 2
    sums = lax.reduce_window(
        squares,
        0.0,
        lax.add,
        (1, 1, 1, size),
        (1, 1, 1, 1),
        ((0, 0), (0, 0), (0, 0), (half, size - 1 - half)),
    )
    wide = x_BxHxWxC.astype(jnp.float32)
    return (wide / (k + alpha * sums) ** beta).astype(x_BxHxWxC.dtype)
