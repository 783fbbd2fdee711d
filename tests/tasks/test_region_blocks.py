"""Heads that are called on blocks of regions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.tasks.detectors.region_blocks import in_blocks, joined_blocks

COUNTS = (3, 0, 9)
"""Regions of each of three images, of 20 that there could be."""

THERE = np.arange(20) < np.array(COUNTS)[:, None]
REGIONS = np.random.default_rng(0).normal(size=(3, 20, 4)).astype(np.float32)


def call(weight):
    """A head that says something even of padding, and how often it was called."""

    def of_regions(regions, there, state):
        said = 1 + jnp.tanh(regions @ weight)
        total = jnp.sum(jnp.where(there[..., None], said, 0), axis=(1, 2))
        return {"said": said, "total": total}, {"calls": state["calls"] + 1}

    return of_regions


def asked(weight, block):
    state = {"calls": jnp.int32(0)}
    return in_blocks(call(weight), jnp.asarray(REGIONS), THERE, state, block)


WEIGHT = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2)), jnp.float32)


@pytest.mark.parametrize(
    ("block", "size", "calls"),
    [(8, 7, 2), (5, 5, 2), (1, 1, 9), (3, 3, 3), (19, 10, 1)],
)
def test_blocks_without_regions_are_not_computed(block, size, calls):
    outputs, state = jax.jit(asked, static_argnums=1)(WEIGHT, block)
    assert outputs["said"].shape[2] == size  # twenty in as few blocks, of one size
    assert int(state["calls"]) == calls
    said = np.asarray(joined_blocks(outputs["said"], 20))
    assert said.shape == (3, 20, 2)
    whole = 1 + np.tanh(REGIONS @ np.asarray(WEIGHT))
    seen = slice(0, size * calls)
    np.testing.assert_allclose(said[:, seen], whole[:, seen], atol=1e-5)
    assert not said[:, size * calls :].any()


@pytest.mark.parametrize("block", [0, 20, 100])
def test_one_block_is_all(block):
    outputs, state = asked(WEIGHT, block)
    assert int(state["calls"]) == 1
    whole = 1 + np.tanh(REGIONS @ np.asarray(WEIGHT))
    np.testing.assert_allclose(joined_blocks(outputs["said"], 20), whole, atol=1e-5)


@pytest.mark.parametrize("block", [8, 3])
def test_sums_and_gradients_are_those_of_all_at_once(block):
    def loss(weight, block):
        totals = asked(weight, block)[0]["total"]
        return jnp.sum(jnp.sum(totals, axis=0) ** 2)

    whole = jax.value_and_grad(loss)(WEIGHT, 0)
    ours = jax.value_and_grad(loss)(WEIGHT, block)
    for one, other in zip(ours, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    by_hand = np.where(THERE[..., None], 1 + np.tanh(REGIONS @ np.asarray(WEIGHT)), 0)
    squares = by_hand.sum(axis=(1, 2)) ** 2
    assert float(ours[0]) == pytest.approx(squares.sum(), rel=1e-4)
