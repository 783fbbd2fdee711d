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


def test_weight_decay_leaves_alone_what_it_is_told():
    params = {
        "attention": {"kernel": jnp.ones((2, 2, 2)), "bias": jnp.ones((2, 2))},
        "norms": {"scale": jnp.ones((3, 2))},
        "pos_embedding": jnp.ones((1, 2)),
    }
    zeros = jax.tree.map(jnp.zeros_like, params)
    for rule in (optim.sgd, optim.adamw):
        optimizer = rule(
            optim.constant(0.5), weight_decay=0.5, no_weight_decay=["pos_emb"]
        )
        state = optimizer.transform.init(params)
        updates, _ = optimizer.transform.update(zeros, state, params)
        np.testing.assert_allclose(updates.pop("attention").pop("kernel"), -0.25)
        assert not any(update.any() for update in jax.tree.leaves(updates))


def test_clipping_bounds_the_global_norm():
    norm = float(jnp.sqrt(0.5**2 + 0.25**2 + 1.0))
    clipped = next(trajectory(optim.sgd(optim.constant(1.0), clip=norm / 2)))
    np.testing.assert_allclose(
        clipped["bias"], PARAMS["bias"] - GRADIENTS["bias"] / 2, rtol=1e-6
    )


def test_lamb_steps_are_as_long_as_the_parameters_and_lion_takes_signs():
    rate, decay = 0.1, 0.5
    lamb = next(trajectory(optim.lamb(optim.constant(rate), weight_decay=decay)))
    direction = np.sign(GRADIENTS["kernel"]) + decay * np.asarray(PARAMS["kernel"])
    length = np.linalg.norm(PARAMS["kernel"]) / np.linalg.norm(direction)
    wanted = PARAMS["kernel"] - rate * length * direction
    np.testing.assert_allclose(lamb["kernel"], wanted, rtol=1e-4)
    lion = next(trajectory(optim.lion(optim.constant(rate), weight_decay=decay)))
    wanted = PARAMS["kernel"] - rate * direction
    np.testing.assert_allclose(lion["kernel"], wanted, rtol=1e-5)
    np.testing.assert_allclose(lion["bias"], PARAMS["bias"] + rate, rtol=1e-5)


def test_muon_makes_kernels_orthogonal_and_leaves_the_rest_to_adam():
    draw = np.random.default_rng(0)
    params = {
        "conv": {"kernel": jnp.zeros((2, 2, 3, 5))},
        "head": {"kernel": jnp.zeros((5, 4)), "bias": jnp.zeros(4)},
    }
    gradients = jax.tree.map(lambda p: jnp.asarray(draw.normal(size=p.shape)), params)
    optimizer = optim.muon(
        optim.constant(1.0), adam=["head"], adam_schedule=optim.constant(0.01)
    )
    state = optimizer.transform.init(params)
    updates, _ = optimizer.transform.update(gradients, state, params)
    singular = np.linalg.svd(updates["conv"]["kernel"].reshape(12, 5), compute_uv=False)
    assert 0.6 < singular.min() and singular.max() < 1.3
    for name in ("kernel", "bias"):
        # With Nesterov's momentum and its correction of the bias, b1 / (1 + b1) longer.
        wanted = -0.01 * (0.9 / 1.9 + 1) * np.sign(gradients["head"][name])
        np.testing.assert_allclose(updates["head"][name], wanted, rtol=1e-3)


def test_groups_learn_each_in_its_way():
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    params = {"stem": PARAMS, "body": PARAMS, "head": PARAMS}
    gradients = dict.fromkeys(params, ones)
    alone = dict(weight_decay=0.1, no_weight_decay=("token", "table"))
    fast = optim.sgd(optim.constant(1.0), **alone)
    slow = optim.sgd(optim.constant(0.1), weight_decay=0.1, no_weight_decay=("table",))
    both = optim.groups([("stem", None), (r"head/.*", fast)], slow)
    assert both.schedule(0) == pytest.approx(0.1)
    assert both.no_weight_decay == ["table"]
    state = both.transform.init(params)
    updates, _ = both.transform.update(gradients, state, params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates["stem"]))
    for name, rate in (("body", 0.1), ("head", 1.0)):
        np.testing.assert_allclose(updates[name]["bias"], -rate, rtol=1e-6)
        kernel = -rate * (1 + 0.1 * PARAMS["kernel"])
        np.testing.assert_allclose(updates[name]["kernel"], kernel, rtol=1e-6)

    scaled = optim.scale_rates(slow, [("stem", 0.0), ("stem|head", 0.5)])
    state = scaled.transform.init(params)
    updates, _ = scaled.transform.update(gradients, state, params)
    biases = [float(updates[name]["bias"][0]) for name in params]
    np.testing.assert_allclose(biases, [0, -0.1, -0.05], rtol=1e-6)
    for wrong in (
        optim.groups([("neck", None)], slow),
        optim.scale_rates(slow, [("", 0.5), ("head", 0.1)]),
    ):
        with pytest.raises(UsageError, match="no parameter is left for the rule"):
            state = wrong.transform.init(params)
            wrong.transform.update(gradients, state, params)


def test_schedules_pass_through_the_points_that_name_them():
    warm = optim.step(0.1, drops=[10, 20], factor=0.5, warmup=4)
    assert [float(warm(i)) for i in (0, 1, 4, 10, 25)] == pytest.approx(
        [0, 0.025, 0.1, 0.05, 0.025]
    )
    step = optim.step(0.1, drops=[10, 20], factor=0.5)
    np.testing.assert_allclose([step(9), step(10), step(20)], [0.1, 0.05, 0.025])
    cosine = optim.warmup_cosine(0.4, steps=110, warmup=10, end=0.1)
    np.testing.assert_allclose(
        [cosine(0), cosine(5), cosine(10), cosine(60), cosine(110)],
        [0, 0.2, 0.4, 0.25, 0.1],
        atol=1e-6,
    )
    assert optim.warmup_cosine(0.4, steps=10)(0) == pytest.approx(0.4)
    parabola = optim.warmup_cosine(0.4, steps=130, warmup=10, end=0.1, power=2, hold=20)
    np.testing.assert_allclose(
        [parabola(n) for n in (0, 5, 10, 60, 110, 129)],
        [0, 0.1, 0.4, 0.25, 0.1, 0.1],
        atol=1e-6,
    )
    held = optim.warmup_cosine(0.4, steps=130, warmup=10, end=0.1, hold=20)
    np.testing.assert_allclose([held(60), held(110), held(129)], [0.25, 0.1, 0.1])
    cycle = optim.one_cycle(1.0, steps=100, warmup=0.25)
    np.testing.assert_allclose(
        [cycle(0), cycle(25), cycle(100)], [1 / 25, 1, 1 / 250_000], rtol=1e-3
    )
    poly = optim.polynomial(0.2, steps=100)
    np.testing.assert_allclose(
        [poly(0), poly(50), poly(100)], [0.2, 0.2 * 0.5**0.9, 0], rtol=1e-5
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optim.constant(0), "rate"),
        (lambda: optim.constant(-1), "rate"),
        (lambda: optim.step(0.1, drops=[20, 10]), "drops"),
        (lambda: optim.step(0.1, drops=[10], factor=2), "factor"),
        (lambda: optim.step(0.1, drops=[10], warmup=11), "warmup must be over"),
        (lambda: optim.warmup_cosine(0.1, steps=10, warmup=10), "warmup"),
        (lambda: optim.warmup_cosine(0.1, steps=10, end=1), "end"),
        (lambda: optim.warmup_cosine(0.1, steps=10, warmup=4, hold=6), "hold"),
        (lambda: optim.one_cycle(0.1, steps=0), "steps"),
        (lambda: optim.polynomial(0.1, steps=5, power=0), "power"),
        (lambda: optim.sgd(optim.constant(1), momentum=1.0), "momentum"),
        (lambda: optim.sgd(optim.constant(1), nesterov=True), "Nesterov"),
        (lambda: optim.sgd(optim.constant(1), weight_decay=-1), "weight_decay"),
        (lambda: optim.adamw(optim.constant(1), b1=1.0), "b1"),
        (lambda: optim.adam(optim.constant(1), clip=0.0), "clip"),
        (lambda: optim.lion(optim.constant(1), b2=1.0), "b2"),
        (lambda: optim.muon(optim.constant(1), momentum=1.0), "momentum"),
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
