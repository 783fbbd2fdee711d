"""The race to 99 %: the recipe runs, and seeds together are the seeds alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import mnist_99
from benchmarks.mnist_99 import (
    Arrays,
    Config,
    Recipe,
)


@pytest.fixture(scope="module")
def arrays():
    """Ten bars that a network learns at once, as noisy images."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, 1500).astype(np.int32)
    images = draw.integers(0, 60, (1500, 28, 28, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 3 : 2 * label + 6, 4:24] = 255
    return Arrays(images[:1000], labels[:1000], images[1000:], labels[1000:])


@pytest.mark.slow
def test_seeds_together_are_the_seeds_alone(arrays):
    recipe = Recipe(steps=25, batch_size=64, filters=4, channels=8, hidden=32)
    ways = {
        name: mnist_99.ours(function, together, arrays, recipe)
        for name, function, together in (
            ("ours", mnist_99.mapped, 1),
            ("mapped", mnist_99.mapped, 2),
            ("vmapped", mnist_99.vmapped, 2),
        )
    }
    numbers = mnist_99.measure(ways, 2, 500)
    alone = numbers["ours_accuracies"]
    assert min(alone) > 0.9
    assert numbers["mapped_accuracies"] == alone
    # Sums are taken in another order: an image on the edge may go either way.
    assert numbers["vmapped_accuracies"] == pytest.approx(alone, abs=3 / 500)
    assert numbers["ours_accuracy"] == pytest.approx(np.mean(alone))
    assert numbers["ours_share_at_goal"] == np.mean(np.array(alone) >= 0.99)


def test_the_rate_rises_falls_and_ends_at_zero():
    recipe = Recipe(steps=100, peak_lr=0.02, warmup=0.25)
    rates = np.array([mnist_99.learning_rate(recipe, step) for step in range(101)])
    assert rates[0] == pytest.approx(0.02 / 25)
    assert rates.argmax() in (24, 25) and rates.max() == pytest.approx(0.02)
    assert rates[50] == pytest.approx(0.02 * 50 / 75)
    assert rates[100] == 0


def test_filters_whiten_and_come_in_pairs(arrays):
    filters = mnist_99.whitening(arrays.train_images, 6)
    np.testing.assert_array_equal(filters[..., :6], -filters[..., 6:])
    x = mnist_99.standard(arrays.train_images)
    outputs = mnist_99.conv2d(x, filters[..., :6], strides=2, padding="VALID")
    flat = outputs.reshape(-1, 6)
    np.testing.assert_allclose(flat.T @ flat / len(flat), np.eye(6), atol=0.15)


@pytest.mark.slow
def test_the_network_is_its_definition_in_numpy(arrays):
    recipe = Recipe(filters=3, channels=4, hidden=8)
    params = mnist_99.init(jax.random.key(0), recipe)
    filters = mnist_99.whitening(arrays.train_images, 3)
    images = arrays.test_images[:5]

    def convolve(x, kernel, strides):
        size = kernel.shape[:2]
        windows = np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))
        return np.einsum(
            "bhwcij,ijco->bhwo", windows[:, ::strides, ::strides], np.asarray(kernel)
        )

    x = np.maximum(convolve((images / 255 - 0.1307) / 0.3081, filters, 2), 0)
    x = convolve(x, params["conv"], 1)
    x = x.reshape(5, 5, 2, 5, 2, 4).max((2, 4)) + params["conv_bias"]
    x = np.maximum(x, 0).reshape(5, -1)
    x = np.maximum(x @ params["hidden"] + params["hidden_bias"], 0)
    wanted = x @ params["output"] + params["output_bias"]
    found = mnist_99.apply(params, filters, images)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_an_epoch_repeats_no_image():
    recipe = Recipe(steps=6, batch_size=5)
    rows = mnist_99.shuffled(jax.random.key(0), 20, recipe)
    assert rows.shape == (6, 5)
    flat = jnp.ravel(rows)
    assert sorted(flat[:20].tolist()) == list(range(20))
    assert len(set(flat[20:].tolist())) == 10


@pytest.mark.slow
def test_smoke_writes_the_numbers(tmp_path, capsys):
    output = tmp_path / "numbers.json"
    config = Config(seeds=2, together=0, smoke=True, validation=True, output=output)
    mnist_99.main(config)
    numbers = json.loads(output.read_text())
    assert len(numbers["ours_accuracies"]) == 2
    assert numbers["ours_seconds"] > 0 and numbers["recipe_steps"] == 10
    assert "validation accuracy" in capsys.readouterr().out
