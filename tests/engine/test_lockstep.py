"""Lockstep: what is the same program is made one, and nobody waits for ever."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.engine import lockstep, sharding
from jaxvision.engine.lockstep import Lockstep

STEPS = 3


def add(constant):
    """A training step that adds a constant, and what the items say of the data."""

    def step(state, resident, items, requests=None):
        state = state + constant + resident["table"][items["index"][0]].sum()
        return state, state

    return jax.jit(step, donate_argnums=0)


def train(steps, tables, *, vmapped, rounds=None):
    """Each run: `rounds` dispatches of its step; the final states, or the errors."""
    together = Lockstep(len(steps), sharding.make_mesh(1), vmapped)
    found = [None] * len(steps)

    def run(number):
        try:
            with together.member(number) as join:
                step = join(steps[number])
                state = jnp.float32(number)
                resident = {"table": jnp.asarray(tables[number])}
                for _ in range(rounds[number] if rounds else STEPS):
                    items = {"index": jnp.array([[number]])}
                    state, report = step(state, resident, items, None)
                found[number] = float(report)
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return found


@pytest.fixture
def widths(monkeypatch):
    """How many runs were in each vmapped dispatch."""
    seen = []

    def make(step, mesh, make=lockstep._make_vmapped):
        wide = make(step, mesh)
        return lambda states, *rest: seen.append(len(states)) or wide(states, *rest)

    monkeypatch.setattr(lockstep, "_make_vmapped", make)
    return seen


TABLE = np.array([10.0, 20, 30], np.float32)


@pytest.mark.parametrize("vmapped", [False, True])
def test_each_run_keeps_its_own_state_and_items(vmapped, widths):
    found = train([add(1.0), add(1.0), add(1.0)], [TABLE] * 3, vmapped=vmapped)
    assert found == [0 + 33, 1 + 63, 2 + 93]
    assert widths == ([3] * STEPS if vmapped else [])


def test_other_programs_and_other_data_are_not_mixed(widths):
    steps = [add(1.0), add(1.0), add(2.0), add(1.0)]
    tables = [np.append(TABLE, 40).astype(np.float32)] * 3
    tables.append(tables[0] + 1)
    found = train(steps, tables, vmapped=True)
    assert found == [0 + 33, 1 + 63, 2 + 96, 3 + 126]
    assert widths == [2] * STEPS  # the first two


def test_whoever_is_done_or_fails_does_not_hold_up_the_others(widths):
    def broken(state, resident, items, requests=None):
        raise ValueError("out of order")

    steps = [add(1.0), add(1.0), add(1.0)]
    found = train(steps, [TABLE] * 3, vmapped=True, rounds=[1, 2, 3])
    assert found == [11, 1 + 42, 2 + 93]
    assert widths == [3, 2]
    found = train([jax.jit(broken), add(1.0)], [TABLE] * 2, vmapped=False)
    assert str(found[0]) == "out of order" and found[1] == 1 + 63
