"""Batches: without replacement in training, every example once in evaluation."""

import jax
import numpy as np
import pytest

from jaxvision import data
from jaxvision.data.source import Source
from jaxvision.errors import UsageError


def source(size=23, value=0):
    images = np.arange(size, dtype=np.uint8).reshape(-1, 1, 1, 1) + np.uint8(value)
    labels = np.arange(size, dtype=np.int32) % 3
    return Source(
        "numbers",
        size,
        (1, 1, 1),
        ("a", "b", "c"),
        lambda: {"image": images, "label": labels},
    )


def as_is(key, images):
    return images


def indices(pipeline, count):
    items = pipeline.items()
    return [next(items)["index"] for _ in range(count)]


def test_each_epoch_is_a_new_permutation_without_its_remainder():
    pipeline = data.train(source(), 5, transform=as_is, seed=3)
    assert pipeline.num_batches == 4
    epochs = np.array(indices(pipeline, 12)).reshape(3, 20)
    for epoch in epochs:
        assert len(set(epoch)) == 20 and set(epoch) <= set(range(23))
    assert not np.array_equal(epochs[0], epochs[1])
    again = np.array(indices(pipeline, 12)).reshape(3, 20)
    np.testing.assert_array_equal(epochs, again)
    other = data.train(source(), 5, transform=as_is, seed=4)
    assert not np.array_equal(epochs[0], np.ravel(indices(other, 4)))


def test_the_order_is_frozen():
    """Another order would change every published number."""
    pipeline = data.train(source(), 5, transform=as_is, seed=0)
    np.testing.assert_array_equal(indices(pipeline, 1)[0], FIRST_BATCH)


FIRST_BATCH = [11, 3, 20, 13, 2]


@pytest.mark.parametrize("position", [0, 1, 4, 7])
def test_state_restores_the_exact_next_batch(position):
    pipeline = data.train(source(), 5, transform=as_is, seed=3)
    items = pipeline.items()
    for _ in range(position):
        next(items)
    state = items.get_state()
    expected = [next(items)["index"] for _ in range(6)]
    resumed = pipeline.items()
    next(resumed)
    resumed.set_state(state)
    np.testing.assert_array_equal([next(resumed)["index"] for _ in range(6)], expected)


def test_state_of_other_data_is_refused():
    state = data.train(source(), 5, transform=as_is, seed=3).items().get_state()
    changed = data.train(source(value=1), 5, transform=as_is, seed=3).items()
    with pytest.raises(UsageError, match="fingerprint"):
        changed.set_state(state)
    reseeded = data.train(source(), 5, transform=as_is, seed=4).items()
    with pytest.raises(UsageError, match="seed: was 3, is 4"):
        reseeded.set_state(state)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 40])
def test_evaluation_shows_every_example_once(batch_size):
    pipeline = data.evaluation(source(), batch_size, transform=as_is)
    seen = []
    for item in pipeline.items():
        assert item["index"].shape == item["mask"].shape == (batch_size,)
        batch = pipeline.fetch(pipeline.resident(), item, jax.random.key(0))
        seen += list(np.asarray(batch["image"])[item["mask"]].ravel())
    assert seen == list(range(23))
    assert pipeline.num_batches == -(-23 // batch_size)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: data.train(source(), 24, transform=as_is, seed=0), "exceeds the 23"),
        (lambda: data.train(source(), 0, transform=as_is, seed=0), "positive, got 0"),
        (lambda: data.evaluation(source(), -1, transform=as_is), "positive, got -1"),
        (lambda: data.train(source(), 5, transform=as_is, seed=0).steps(0), "epochs"),
        (lambda: data.train(source(), 5, transform=as_is, seed=0).steps(-1), "epochs"),
    ],
)
def test_bad_sizes_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()
