"""Batch normalisation against flax's, and what it keeps for the gradient.

Networks with it are compared with PyTorch's in tests/pretrained/test_parity.py.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvision.layers.norm import BatchNorm
from jaxvision.ops.batch_norm import batch_norm, statistics


@pytest.fixture
def images():
    draw = np.random.default_rng(0).standard_normal((8, 5, 4, 3))
    return jnp.asarray(draw * [0.5, 1, 20] + [3, 0, -10], jnp.float32)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_layer_is_that_of_flax_but_for_the_unbiased_variance(images, train, dtype):
    options = dict(use_running_average=not train, momentum=0.8, dtype=dtype)
    variables = {
        "params": {
            "scale": jnp.array([1.0, -2.0, 0.5]),
            "bias": jnp.array([0.1, 0.0, -3.0]),
        },
        "batch_stats": {
            "mean": jnp.array([2.0, 1.0, -9.0]),
            "var": jnp.array([0.3, 1.0, 350.0]),
        },
    }

    @partial(jax.jit, static_argnums=0)
    def outcome(make):
        def loss(params, images):
            y, state = make(**options).apply(
                {**variables, "params": params}, images, mutable=["batch_stats"]
            )
            return jnp.sin(y.astype(jnp.float32)).sum(), (y, state)

        loss = jax.grad(loss, (0, 1), has_aux=True)
        return loss(variables["params"], images.astype(dtype))

    got = outcome(BatchNorm)
    # Flax itself relies on implicit promotion.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        gradients, (y, state) = outcome(nn.BatchNorm)
    if train:
        before, count = variables["batch_stats"]["var"], images.size // 3
        biased = (state["batch_stats"]["var"] - 0.8 * before) / 0.2
        state["batch_stats"]["var"] = 0.8 * before + 0.2 * biased * count / (count - 1)
    wanted = gradients, (y, state)
    # A rounding of the output to bfloat16 may fall the other way.
    tolerance = 2e-2 if dtype == jnp.bfloat16 else 2e-5

    def compare(g, w):
        assert g.dtype == w.dtype
        g, w = np.asarray(g, np.float32), np.asarray(w, np.float32)
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * np.abs(w).max())

    jax.tree.map(compare, got, wanted)
    start = jax.eval_shape(BatchNorm(**options).init, jax.random.key(0), images)
    assert jax.tree.structure(start) == jax.tree.structure(variables)


@pytest.mark.parametrize("there", [5, 1, 0])
def test_only_what_is_counted_counts(images, there):
    layer = BatchNorm(use_running_average=False)
    start = layer.init(jax.random.key(0), images)
    counted = jnp.asarray([1, 0, 1, 1, 0, 1, 1, 0], bool)
    counted &= jnp.cumsum(counted) <= there
    few = images[counted]

    def outcome(images, *counted):
        def loss(images):
            y, state = layer.apply(start, images, *counted, mutable=["batch_stats"])
            kept = jnp.where(counted[0][:, None, None, None], y, 0) if counted else y
            return jnp.sum(jnp.sin(kept)), (y, state)

        return jax.grad(loss, has_aux=True)(images)

    slopes, (y, state) = jax.jit(outcome)(images, counted)
    if not there:  # nothing to learn from
        jax.tree.map(
            np.testing.assert_array_equal, state, {"batch_stats": start["batch_stats"]}
        )
        return
    wanted, (alone, of_few) = outcome(few)
    assert not np.asarray(slopes)[~np.asarray(counted)].any()
    np.testing.assert_allclose(y[counted], alone, rtol=0, atol=1e-4)
    np.testing.assert_allclose(slopes[counted], wanted, rtol=0, atol=1e-4)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4), state, of_few)


def test_the_first_pass_leaves_the_running_averages_alone(images):
    variables = BatchNorm(use_running_average=False).init(jax.random.key(0), images)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1)


def test_the_gradient_keeps_nothing_as_large_as_the_images_but_them(images):
    """`x - mean`, kept beside x, would cost as much memory again."""
    scale, bias = jnp.ones(3), jnp.zeros(3)
    _, transpose = jax.vjp(
        lambda *each: batch_norm(*each, 1e-5)[0], images, scale, bias
    )
    large = [kept for kept in jax.tree.leaves(transpose) if kept.size == images.size]
    assert all(np.array_equal(kept, images) for kept in large)


def test_a_constant_channel_has_no_variance_below_zero():
    """E[x²] - E[x]² rounds to less than nothing for some of these."""
    constants = jnp.linspace(90, 110, 256)
    x = jnp.broadcast_to(constants, (64, 3, 3, 256))
    assert ((x * x).mean((0, 1, 2)) - x.mean((0, 1, 2)) ** 2).min() < 0
    assert statistics(x).variance.min() >= 0
    y, _ = batch_norm(x, jnp.ones(256), jnp.full(256, 0.25), 1e-5)
    np.testing.assert_allclose(y, 0.25, atol=0.1)


def test_eight_devices_have_the_statistics_of_the_whole_batch(images):
    if jax.device_count() < 8:
        pytest.skip("needs XLA_FLAGS=--xla_force_host_platform_device_count=8")
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(images, NamedSharding(mesh, PartitionSpec("data")))
    mean, variance = jax.jit(statistics)(spread)
    np.testing.assert_allclose(mean, np.mean(images, (0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(images, (0, 1, 2)), rtol=1e-4)
