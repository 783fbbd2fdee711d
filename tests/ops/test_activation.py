"""The rectifier against JAX's, and what its gradient computes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.ops.activation import relu


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_derivatives_are_those_of_jax(dtype):
    x = jnp.array([-jnp.inf, -2, -1e-30, -0.0, 0, 1e-30, 3, jnp.inf, jnp.nan], dtype)

    def of(relu):
        y, pull = jax.vjp(relu, x)
        along = jax.jvp(relu, (x,), (2 * jnp.ones_like(x),))
        return y, pull(jnp.full_like(x, 3)), along

    ours, wanted = of(relu), of(jax.nn.relu)
    assert all(y.dtype == dtype for y in jax.tree.leaves(ours))
    for got, want in zip(jax.tree.leaves(ours), jax.tree.leaves(wanted), strict=True):
        # NumPy knows no NaN of bfloat16.
        np.testing.assert_array_equal(got.astype("float32"), want.astype("float32"))


def test_transformations_and_second_derivatives():
    x = jnp.linspace(-1, 1, 24).reshape(4, 6)

    def penalty(relu):
        """By `vmap`, inside of a loop and a checkpoint, differentiated twice."""

        @jax.checkpoint
        def layer(x, _):
            return relu(x**3 + 0.1) - 0.2, None

        def energy(row):
            return jnp.sum(jax.lax.scan(layer, row, length=3)[0] ** 2)

        return jax.grad(lambda x: jnp.sum(jax.vmap(jax.grad(energy))(x) ** 2))

    wanted = penalty(jax.nn.relu)(x)
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(jax.jit(penalty(relu))(x), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only on CPU is it ours")
def test_the_gradient_of_a_residual_network_rectifies_nothing_anew():
    """`jax.nn.relu`'s does, for the mask at the end of each block."""
    x, kernels = jnp.ones((64, 32)), jnp.ones((4, 32, 32))

    def maxima(relu):
        def loss(kernels, x):
            for kernel in kernels:
                x = relu(x + x @ kernel)
            return (x**2).mean()

        text = jax.jit(jax.grad(loss)).lower(kernels, x).compile().as_text()
        return len(re.findall(r" maximum\(", text))

    assert maxima(relu) == len(kernels) < maxima(jax.nn.relu)
