"""1×1 convolution: one matrix product of all pixels."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.geometry import Geometry
from jaxvision.types import Array


def convolve(x_BxHxWxC: Array, kernel_1x1xCxO: Array, geometry: Geometry) -> Array:
    """The convolution without padding or groups."""
    rows, columns = geometry.strides
    return product(x_BxHxWxC[:, ::rows, ::columns], kernel_1x1xCxO[0, 0])


@jax.custom_vjp
def product(x_BxhxwxC: Array, kernel_CxO: Array) -> Array:
    """The kernel applied to each pixel by itself."""
    return jnp.einsum("bhwc,co->bhwo", x_BxhxwxC, kernel_CxO)


def _forward(x_BxhxwxC, kernel_CxO):
    return product(x_BxhxwxC, kernel_CxO), (x_BxhxwxC, kernel_CxO)


def _backward(residuals, dy_BxhxwxO):
    x_BxhxwxC, kernel_CxO = residuals
    # Without the barrier XLA computes x and dy again inside of each of their consumers.
    x_BxhxwxC, dy_BxhxwxO = lax.optimization_barrier((x_BxhxwxC, dy_BxhxwxO))
    # As JAX would derive it, the second is transposed, and takes up to ten times as
    # long.
    return (
        jnp.einsum("bhwo,co->bhwc", dy_BxhxwxO, kernel_CxO),
        jnp.einsum("bhwc,bhwo->co", x_BxhxwxC, dy_BxhxwxO),
    )


product.defvjp(_forward, _backward)
