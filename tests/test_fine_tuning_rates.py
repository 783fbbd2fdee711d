"""Rates by depth: what moves when, and how far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_optim_groups import PARAMS, SCHEDULE, assert_close, assert_same

from jaxvision import optim
from jaxvision.errors import UsageError
from tests.test_optim import promotion_of_optax  # noqa: F401

BLOCKS = (("stem",), ("body",), ("head",))


def steps(optimizer, count):
    """The parameters before each step, and after the last."""
    params, state = PARAMS, optimizer.transform.init(PARAMS)
    for step in range(count):
        yield params
        gradients = jax.tree.map(lambda x, step=step: jnp.cos(x + step), params)
        updates, state = optimizer.transform.update(gradients, state, params)
        params = jax.tree.map(lambda x, u: x + u, params, updates)
    yield params


def test_blocks_are_released_from_the_last_to_the_first():
    rule = optim.adamw(SCHEDULE, weight_decay=0.1)
    found = list(steps(optim.gradual_unfreezing(rule, BLOCKS, every=2), 6))
    for block, start in (("head", 0), ("body", 2), ("stem", 4)):
        for step in range(6):
            before, after = (jax.tree.leaves(found[i][block]) for i in (step, step + 1))
            moved = [bool((a != b).any()) for a, b in zip(before, after, strict=True)]
            assert all(moved) if step >= start else not any(moved), (block, step)
    # The head goes as if there were no other rule.
    assert_same(found[-1]["head"], list(steps(rule, 6))[-1]["head"])


def test_the_first_update_of_a_released_block_is_no_leap():
    def largest_update(every):
        rule = optim.adam(optim.constant(0.1))
        found = list(steps(optim.gradual_unfreezing(rule, BLOCKS, every=every), 8))
        stem = [np.asarray(params["stem"]["kernel"]) for params in found]
        return max(
            np.abs(a - b).max() for a, b in zip(stem[1:], stem[:-1], strict=True)
        )

    assert largest_update(3) <= 1.01 * largest_update(1)


def test_rates_fall_from_the_last_block_to_the_first():
    rule = optim.sgd(optim.constant(1.0))
    (_, after) = steps(optim.layer_decay(rule, BLOCKS, 0.5), 1)
    (_, alone) = steps(rule, 1)
    for block, share in (("head", 1.0), ("body", 0.5), ("stem", 0.25)):
        whole = jax.tree.map(lambda a, b: a - b, alone[block], PARAMS[block])
        moved = jax.tree.map(lambda a, b: a - b, after[block], PARAMS[block])
        assert_close(moved, jax.tree.map(lambda x, s=share: s * x, whole))


def test_both_are_made_again_with_another_schedule():
    def make(schedule):
        rule = optim.layer_decay(optim.adamw(schedule), BLOCKS, 0.5)
        return optim.gradual_unfreezing(rule, BLOCKS, every=1)

    other = optim.constant(0.01)
    (*_, again), (*_, made) = (
        steps(each, 3) for each in (make(SCHEDULE).rescheduled(other), make(other))
    )
    assert_same(again, made)


def test_names_are_taken_as_they_are():
    params = {
        "layer1.0": jnp.ones(2),
        "layer1x0": jnp.ones(2),
        "layer1.01": jnp.ones(2),
    }
    rule = optim.layer_decay(
        optim.sgd(optim.constant(1.0)), [("layer1.0",), ("layer1x0", "layer1.01")], 0.5
    )
    updates, _ = rule.transform.update(params, rule.transform.init(params), params)
    found = {name: float(-update[0]) for name, update in updates.items()}
    assert found == {"layer1.0": 0.5, "layer1x0": 1.0, "layer1.01": 1.0}


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_bad_input(decay):
    rule = optim.sgd(SCHEDULE)
    with pytest.raises(UsageError, match=rf"decay .* in \(0, 1\], got {decay}"):
        optim.layer_decay(rule, BLOCKS, decay)
    with pytest.raises(UsageError, match="every step or later, got 0"):
        optim.gradual_unfreezing(rule, BLOCKS, every=0)
