"""Parts of the parameters: frozen ones keep their bits, others have their own rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxvision import optim
from jaxvision.engine import sharding
from jaxvision.engine.loop import fit
from jaxvision.engine.step import Constants, make_init
from jaxvision.runs import load_variables
from tests.engine.test_loop import Config, build
from tests.test_optim import promotion_of_optax  # noqa: F401

SCHEDULE = optim.one_cycle(0.1, steps=10)
PARAMS = {
    name: {"kernel": jnp.full((3, 2), value), "bias": jnp.full((2,), value)}
    for name, value in (("stem", 1.0), ("body", 2.0), ("head", 3.0))
}


def trained(optimizer, steps=3):
    params, state = PARAMS, optimizer.transform.init(PARAMS)
    for step in range(steps):
        gradients = jax.tree.map(lambda x, step=step: jnp.cos(x + step), params)
        updates, state = optimizer.transform.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


RULES = {
    "sgd": lambda s: optim.sgd(s, momentum=0.9, weight_decay=0.1),
    "adamw": optim.adamw,
    "lamb": optim.lamb,
    "lion": optim.lion,
    "muon": optim.muon,
}


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one, other)


@pytest.mark.parametrize("name", RULES)
def test_each_part_is_trained_as_by_its_own_optimiser(name):
    rule, sgd = RULES[name](SCHEDULE), optim.sgd(SCHEDULE)
    found = trained(optim.groups([("stem/", None), ("head", sgd)], rule))
    assert_same(found["stem"], PARAMS["stem"])
    assert_same(found["head"], trained(sgd)["head"])
    assert_same(found["body"], trained(rule)["body"])


@pytest.mark.parametrize("name", RULES)
def test_scaled_rates_are_those_of_a_scaled_schedule(name):
    found = trained(optim.scale_rates(RULES[name](SCHEDULE), [("stem", 0.25)]))
    expected = trained(RULES[name](lambda step: 0.25 * SCHEDULE(step)))
    assert_close(found["stem"], expected["stem"])
    assert_same(found["head"], trained(RULES[name](SCHEDULE))["head"])


@pytest.mark.parametrize("name", RULES)
def test_an_optimiser_can_be_made_again_with_another_schedule(name):
    def make(schedule):
        rule = optim.scale_rates(RULES[name](schedule), [("body", 0.5)])
        return optim.groups([("stem", None), ("head", RULES[name](schedule))], rule)

    other = optim.constant(0.01)
    again = make(SCHEDULE).rescheduled(other)
    assert again.schedule(0) == other(0)
    assert_same(trained(again), trained(make(other)))


def test_one_part_without_another_schedule_leaves_the_whole_without():
    rule = optim.sgd(SCHEDULE)
    foreign = rule._replace(rescheduled=None)
    assert optim.groups([("head", foreign)], rule).rescheduled is None
    assert optim.scale_rates(foreign, [("head", 0.5)]).rescheduled is None


@pytest.mark.slow
def test_frozen_parameters_of_a_run_keep_their_bits(tmp_path):
    experiment = build(Config(epochs=1))
    mesh = sharding.make_mesh(2)
    before = make_init(experiment, mesh, Constants.of(experiment)).make().params
    frozen = sorted(before)[::2]
    sgd = optim.sgd(optim.constant(0.1), momentum=0.9, weight_decay=1e-2)
    rules = [(f"^({'|'.join(frozen)})/", None)]
    experiment = experiment._replace(optimizer=optim.groups(rules, sgd))
    fit(experiment, tmp_path, mesh=mesh, console=Console(quiet=True))
    after = load_variables(tmp_path, "last")["params"]
    for name in before:
        leaves = zip(*map(jax.tree.leaves, (before[name], after[name])), strict=True)
        same = [bool((np.asarray(one) == other).all()) for one, other in leaves]
        assert all(same) if name in frozen else not any(same), name
