"""Parameter groups: what is frozen keeps its bits, each group has its own rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxvision import optim
from jaxvision.engine import sharding
from jaxvision.engine.loop import fit
from jaxvision.engine.step import Constants, make_init
from jaxvision.errors import UsageError
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


@pytest.mark.parametrize("name", RULES)
def test_each_group_is_trained_as_by_its_own_optimiser(name):
    rule = RULES[name](SCHEDULE)
    found = trained(
        optim.groups([("stem/", None), ("head", optim.sgd(SCHEDULE)), ("", rule)])
    )
    assert_same(found["stem"], PARAMS["stem"])
    assert_same(found["head"], trained(optim.sgd(SCHEDULE))["head"])
    assert_same(found["body"], trained(rule)["body"])


@pytest.mark.parametrize("name", RULES)
def test_a_scaled_optimiser_is_one_with_a_scaled_schedule(name):
    expected = trained(RULES[name](lambda step: 0.25 * SCHEDULE(step)))
    found = optim.scaled(RULES[name](SCHEDULE), 0.25)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        trained(found), expected,
    )  # fmt: skip
    assert found.schedule(3) == 0.25 * SCHEDULE(3)


def test_layerwise_rates_fall_towards_the_input():
    rule = optim.sgd(SCHEDULE)
    found = trained(optim.layerwise(rule, ["stem", "body", "head"], decay=0.5))
    for name, factor in (("stem", 0.25), ("body", 0.5), ("head", 1.0)):
        assert_same(found[name], trained(optim.scaled(rule, factor))[name])


@pytest.mark.parametrize("name", RULES)
def test_the_same_groups_at_another_schedule(name):
    def make(schedule):
        rule = RULES[name](schedule)
        return optim.groups(
            [("stem", None), ("head", rule), ("", optim.scaled(rule, 0.5))]
        )

    other = optim.constant(0.01)
    assert_same(trained(make(SCHEDULE).rescheduled(other)), trained(make(other)))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([("stem", optim.sgd(SCHEDULE))], "no group has the parameters body/bias"),
        ([("stme", None), ("", optim.sgd(SCHEDULE))], "'stme' decides about no"),
        ([("", optim.sgd(SCHEDULE)), ("stem", None)], "'stem' decides about no"),
        ([("", None)], "every group is frozen"),
    ],
)
def test_rules_that_cannot_be_meant_are_named(rules, message):
    with pytest.raises(UsageError, match=message):
        trained(optim.groups(rules))


def test_frozen_parameters_of_a_run_keep_their_bits(tmp_path):
    experiment = build(Config(epochs=1))
    mesh = sharding.make_mesh(2)
    before = make_init(experiment, mesh, Constants.of(experiment)).make().params
    frozen = sorted(before)[::2]
    sgd = optim.sgd(optim.constant(0.1), momentum=0.9, weight_decay=1e-2)
    rules = [(f"^({'|'.join(frozen)})/", None), ("", sgd)]
    experiment = experiment._replace(optimizer=optim.groups(rules))
    fit(experiment, tmp_path, mesh=mesh, console=Console(quiet=True))
    after = load_variables(tmp_path, "last")["params"]
    for name in before:
        leaves = zip(*map(jax.tree.leaves, (before[name], after[name])), strict=True)
        same = [bool((np.asarray(one) == other).all()) for one, other in leaves]
        assert all(same) if name in frozen else not any(same), name
