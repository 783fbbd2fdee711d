"""What units like: optimised images, exciting examples, filters, projections."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import explain, models
from jaxvision.errors import UsageError
from jaxvision.models import from_linen
from tests.explain import planted


def test_an_optimised_image_has_what_its_unit_looks_for():
    units = jnp.array([0, 1])
    score = explain.unit_score(planted.forward, "maps", units)
    shape = (2, planted.SIDE, planted.SIDE, 1)
    make = jax.jit(
        lambda key: explain.optimised_images(
            score, shape, key, given=lambda pixels: 2 * pixels - 1, steps=40
        )
    )
    pixels = make(jax.random.key(0))
    assert 0 <= pixels.min() and pixels.max() <= 1
    found = planted.forward(2 * pixels - 1)["maps"].mean((1, 2))
    noise = jax.random.uniform(jax.random.key(1), shape, minval=-1)
    start = planted.forward(noise)["maps"].mean((1, 2))
    for image, unit in enumerate(units.tolist()):
        assert found[image, unit] > 1.3 * start[image, unit]
        assert found[image, unit] > 1.5 * found[1 - image, unit]  # that of the other


def test_a_dream_raises_the_score_and_keeps_the_image():
    def score(images):
        return (planted.forward(images)["maps"] ** 2).mean((1, 2, 3))

    pixels = jnp.clip(planted.image()[None] / 4 + 0.5, 0, 1)
    dream = jax.jit(
        lambda key: explain.deep_dream(score, pixels, key, octaves=2, steps=4)
    )(jax.random.key(0))
    assert score(dream)[0] > 1.05 * score(pixels)[0]
    assert np.corrcoef(dream.ravel(), pixels.ravel())[0, 1] > 0.7


@pytest.mark.parametrize("size", [1, 4, 30])
def test_exciting_examples_are_the_best_of_all_whatever_the_batches(size):
    maps = np.random.default_rng(0).normal(size=(30, 3, 4, 5)).astype(np.float32)
    batches = [maps[i : i + size] for i in range(0, 30, size)]
    found = explain.exciting(iter(batches), 3)
    largest = maps.max((1, 2))
    np.testing.assert_array_equal(found.examples, np.argsort(-largest, 0)[:3].T)
    for unit in range(5):
        for place in range(3):
            row, column = found.places[unit, place]
            value = maps[found.examples[unit, place], row, column, unit]
            assert value == found.values[unit, place]
    vectors = explain.exciting([maps[:, 0, 0]], 40)
    assert vectors.examples.shape == (5, 30) and not vectors.places.any()


def test_first_filters_are_those_that_meet_the_image():
    draws = np.random.default_rng(0)
    for name, path, shape in (
        ("lenet5", ("c1", "kernel"), (5, 5, 1, 6)),
        ("mlp", ("Dense_0", "kernel"), (28, 28, 1, 300)),
        ("resnet20", ("conv1", "kernel"), (3, 3, 3, 16)),
    ):
        model = models.create(name)
        size = models.default_input(name)
        images = jax.ShapeDtypeStruct((1, *size), jnp.float32)
        shapes = jax.eval_shape(model.init, jax.random.key(0), images)
        variables = jax.tree.map(lambda leaf: draws.random(leaf.shape), shapes)
        expected = variables["params"][path[0]][path[1]]
        found = explain.first_filters(model, variables, size)
        assert found.shape == shape
        np.testing.assert_allclose(found.ravel(), np.ravel(expected), rtol=1e-6)
        moments = [(3, lambda v=variables: v), (7, lambda v=variables: v)]
        over = explain.filters_over_training(model, moments, size)
        assert [step for step, _ in over] == [3, 7]
        np.testing.assert_array_equal(over[1][1], found)


def test_weights_that_multiply_weights_are_no_filters():
    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            down, up = (self.param(name, nn.initializers.ones, (1, 1)) for name in "du")
            scale = jnp.matmul(down, up)  # before any that the image meets
            found = nn.Conv(2, (3, 3))(images).mean((1, 2))
            return {"logits": found * scale}

    model = from_linen(Scaled())
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    found = explain.first_filters(model, variables, (4, 4, 3))
    kernel = variables["params"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(found, kernel)


def test_a_network_that_begins_otherwise_has_no_filters():
    class Mean(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            return {"logits": images.mean((1, 2)) * self.param("w", nn.ones, (1, 3))}

    model = from_linen(Mean())
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    with pytest.raises(UsageError, match="begins neither with a convolution"):
        explain.first_filters(model, variables, (4, 4, 3))


def test_a_projection_keeps_distances_or_neighbours():
    draws = np.random.default_rng(0)
    plane = draws.normal(size=(24, 2)) * (3, 1)
    turned, _ = np.linalg.qr(draws.normal(size=(9, 9)))
    features = np.pad(plane - plane.mean(0), ((0, 0), (0, 7))) @ turned + 5
    found = explain.projection(features.reshape(24, 3, 3))

    def distances(points):
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    np.testing.assert_allclose(distances(found), distances(plane), atol=1e-3)
    features[:12] += 50
    points = explain.projection(features, "tsne")
    between = np.linalg.norm(points[:12].mean(0) - points[12:].mean(0))
    assert between > 2 * points[:12].std() ** 0.5
    with pytest.raises(UsageError, match="three examples"):
        explain.projection(features[:2])
    with pytest.raises(UsageError, match="not finite"):
        explain.projection(features * np.nan)
