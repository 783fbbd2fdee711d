"""Optimiser chains against their update rules written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import optim
from jaxvision.errors import UsageError


@pytest.fixture(autouse=True)
def promotion_of_optax():
    """optax promotes types; the engine allows it that."""
    with jax.numpy_dtype_promotion("standard"):
        yield


PARAMS = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])}
GRADIENTS = {"kernel": jnp.array([[0.5, 0.25]]), "bias": jnp.array([-1.0])}


def trajectory(optimizer, steps=3):
    """The parameters after each step under constant gradients."""
    params, state = PARAMS, optimizer.transform.init(PARAMS)
    for _ in range(steps):
        updates, state = optimizer.transform.update(GRADIENTS, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        yield params


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_the_rule_of_the_paper_with_decay_on_kernels_only(nesterov):
    rate, momentum, decay = 0.1, 0.9, 0.01
    optimizer = optim.sgd(
        optim.constant(rate), momentum=momentum, nesterov=nesterov, weight_decay=decay
    )
    values = {name: np.asarray(array) for name, array in PARAMS.items()}
    velocity = {name: 0.0 for name in values}
    for params in trajectory(optimizer):
        for name in values:
            gradient = np.asarray(GRADIENTS[name])
            if name == "kernel":
                gradient = gradient + decay * values[name]
            velocity[name] = momentum * velocity[name] + gradient
            ahead = gradient + momentum * velocity[name]
            values[name] = values[name] - rate * (ahead if nesterov else velocity[name])
            np.testing.assert_allclose(params[name], values[name], rtol=1e-6)


def test_adamw_decays_decoupled_and_kernels_only():
    rate, decay = 0.1, 0.5
    plain = next(trajectory(optim.adam(optim.constant(rate))))
    decayed = next(trajectory(optim.adamw(optim.constant(rate), weight_decay=decay)))
    np.testing.assert_allclose(
        decayed["kernel"], plain["kernel"] - rate * decay * PARAMS["kernel"], rtol=1e-5
    )
    np.testing.assert_array_equal(decayed["bias"], plain["bias"])
    # The first step of Adam is the rate times the sign of the gradient.
    np.testing.assert_allclose(plain["bias"], PARAMS["bias"] + rate, rtol=1e-5)


@pytest.mark.parametrize("rule", [optim.lamb, optim.lion, optim.muon])
def test_weight_decay_is_decoupled_and_of_kernels_only(rule):
    rate, decay = 0.1, 0.5
    plain, decayed = (
        next(trajectory(rule(optim.constant(rate), weight_decay=each)))
        for each in (0.0, decay)
    )
    np.testing.assert_array_equal(decayed["bias"], plain["bias"])
    assert bool((decayed["kernel"] != plain["kernel"]).all())
    if rule is not optim.lamb:  # which scales the step, and the decay with it
        np.testing.assert_allclose(
            decayed["kernel"], plain["kernel"] - rate * decay * PARAMS["kernel"],
            rtol=1e-5,
        )  # fmt: skip


def test_lamb_steps_are_as_long_as_the_arrays():
    rate = 0.1
    after = next(trajectory(optim.lamb(optim.constant(rate), weight_decay=0.0)))
    for name, array in PARAMS.items():
        step = np.linalg.norm(after[name] - array)
        assert step == pytest.approx(rate * np.linalg.norm(array), rel=1e-5)


def test_lion_steps_by_the_sign():
    after = next(trajectory(optim.lion(optim.constant(0.1), weight_decay=0.0)))
    for name, gradient in GRADIENTS.items():
        np.testing.assert_allclose(
            after[name], PARAMS[name] - 0.1 * np.sign(gradient), rtol=1e-6
        )


@pytest.mark.parametrize("shape", [(12, 8), (3, 3, 4, 8)])
def test_muon_steps_of_kernels_are_orthogonal(shape):
    random = np.random.default_rng(0)
    params = {"kernel": jnp.zeros(shape), "position": jnp.zeros((1, 4, 8))}
    gradients = {
        name: jnp.asarray(random.normal(size=array.shape), jnp.float32)
        for name, array in params.items()
    }
    transform = optim.muon(optim.constant(1.0), weight_decay=0.0).transform
    updates, _ = transform.update(gradients, transform.init(params), params)
    values = np.linalg.svd(updates["kernel"].reshape(-1, 8), compute_uv=False)
    assert values.max() < 2 * values.min()  # of the gradient: several times
    # What is no kernel takes a step of NAdam: along the sign of the gradient at first.
    step = updates["position"] * -np.sign(gradients["position"])
    np.testing.assert_allclose(step, step[0, 0, 0], rtol=1e-4)
    assert (step > 0).all()


def test_clipping_bounds_the_global_norm():
    norm = float(jnp.sqrt(0.5**2 + 0.25**2 + 1.0))
    clipped = next(trajectory(optim.sgd(optim.constant(1.0), clip=norm / 2)))
    np.testing.assert_allclose(
        clipped["bias"], PARAMS["bias"] - GRADIENTS["bias"] / 2, rtol=1e-6
    )


def test_schedules_pass_through_the_points_that_name_them():
    step = optim.step(0.1, drops=[10, 20], factor=0.5)
    np.testing.assert_allclose([step(9), step(10), step(20)], [0.1, 0.05, 0.025])
    cosine = optim.warmup_cosine(0.4, steps=110, warmup=10, end=0.1)
    np.testing.assert_allclose(
        [cosine(0), cosine(5), cosine(10), cosine(60), cosine(110)],
        [0, 0.2, 0.4, 0.25, 0.1],
        atol=1e-6,
    )
    assert optim.warmup_cosine(0.4, steps=10)(0) == pytest.approx(0.4)
    cycle = optim.one_cycle(1.0, steps=100, warmup=0.25)
    np.testing.assert_allclose(
        [cycle(0), cycle(25), cycle(100)], [1 / 25, 1, 1 / 250_000], rtol=1e-3
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optim.constant(0), "rate"),
        (lambda: optim.constant(-1), "rate"),
        (lambda: optim.step(0.1, drops=[20, 10]), "drops"),
        (lambda: optim.step(0.1, drops=[10], factor=2), "factor"),
        (lambda: optim.warmup_cosine(0.1, steps=10, warmup=10), "warmup"),
        (lambda: optim.warmup_cosine(0.1, steps=10, end=1), "end"),
        (lambda: optim.one_cycle(0.1, steps=0), "steps"),
        (lambda: optim.sgd(optim.constant(1), momentum=1.0), "momentum"),
        (lambda: optim.sgd(optim.constant(1), nesterov=True), "Nesterov"),
        (lambda: optim.sgd(optim.constant(1), weight_decay=-1), "weight_decay"),
        (lambda: optim.adamw(optim.constant(1), b1=1.0), "b1"),
        (lambda: optim.adam(optim.constant(1), clip=0.0), "clip"),
        (lambda: optim.lion(optim.constant(1), b2=2), "b1 and b2"),
        (lambda: optim.lamb(optim.constant(1), weight_decay=-1), "weight_decay"),
        (lambda: optim.muon(optim.constant(1), momentum=1), "momentum"),
        (lambda: optim.scaled(optim.sgd(optim.constant(1)), 0), "factor"),
        (lambda: optim.layerwise(optim.sgd(optim.constant(1)), [""], decay=2), "decay"),
        (lambda: optim.ema(1.0), "decay"),
        (lambda: optim.swa(start=-1), "start"),
        (lambda: optim.swa(start=1, every=0), "every"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def averaged(weight, values):
    """What `a ← a + w·(p - a)` makes of a sequence of parameters."""
    average = values[0]
    for step, value in enumerate(values):
        average = average + float(weight(jnp.int32(step))) * (float(value) - average)
    return average


def test_the_moving_average_forgets_and_begins_as_a_mean():
    assert averaged(optim.ema(0.9), [1.0, 2.0, 6.0]) == pytest.approx(3.0)
    values = [5.0] * 20 + [1.0] * 30
    assert averaged(optim.ema(0.5), values) == pytest.approx(1.0, abs=1e-6)


def test_weight_averaging_is_the_mean_from_its_start():
    values = [100.0, 50.0, 1.0, 77.0, 3.0, 77.0, 8.0]
    assert averaged(optim.swa(start=2, every=2), values) == pytest.approx(4.0)
    assert averaged(optim.swa(start=9), values) == 8.0  # has not begun: the newest
