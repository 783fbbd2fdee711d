"""The experiments of lectures: what they show is what theory says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import backprop_by_hand as backprop
from experiments import gradient_descent_2d as descent
from experiments import perceptron_per_pixel as perceptron
from experiments import plate_detector as plates
from jaxvision.ops import filters


def test_gradients_by_hand_are_those_of_jax():
    config = backprop.Config(graphs=3, neurons=9)
    assert backprop.largest_difference(config) < 1e-5


def test_succ_is_the_inverse_of_pred_and_skips_are_there():
    graph = backprop.XOR
    pairs = {(i, j) for i, heard in enumerate(graph.pred) for j in heard}
    assert pairs == {(i, j) for j, them in enumerate(graph.succ()) for i in them}
    assert (5, 0) in pairs  # from an input to the output


def test_descent_in_a_valley_contracts_as_theory_says():
    config = descent.Config(steepness=10.0, steps=5)
    found = descent.surface(config)
    rate = 0.9 * found.limit
    start = jnp.array(found.start)
    path = np.asarray(descent.descend(found.height, optax.sgd(rate), start, 5))
    powers = np.arange(6)
    np.testing.assert_allclose(path[:, 0], start[0] * (1 - rate) ** powers, rtol=1e-5)
    across = start[1] * (1 - 10 * rate) ** powers
    np.testing.assert_allclose(path[:, 1], across, rtol=1e-4)
    assert (np.diff(np.sign(path[:, 1])) != 0).all()  # it zigzags
    away = descent.descend(found.height, optax.sgd(1.1 * found.limit), start, 5)
    assert (np.diff(np.abs(away[:, 1])) > 0).all()
    newton = descent.descend(found.height, descent.newton(found.height), start, 1)
    np.testing.assert_allclose(newton[1], 0, atol=1e-5)


def test_a_perceptron_at_each_pixel_measures_distances():
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.random((1, 6, 7, 2)), jnp.float32)
    weights = jnp.asarray(draw.standard_normal((9, 2, 3)), jnp.float32)
    bias = jnp.array([0.2, -0.1, 0.0])
    _, got = perceptron.layer(images, filters.box(3), weights, bias)
    around = filters.patches(images, filters.box(3), border="edge")
    expected = perceptron.distances(around, weights, bias)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_border_of_a_letterbox_is_no_edge():
    photograph = np.random.default_rng(0).uniform(0.2, 1, (8, 12, 3))
    images = np.zeros((3, 14, 16, 3), np.float32)
    images[0, 3:11, 2:14] = photograph
    images[1, 3:11, :12] = photograph
    images[2, 6:, 4:] = photograph
    clean = np.asarray(plates.without_borders(jnp.asarray(images)))
    for image, (top, left) in zip(clean, [(3, 2), (3, 0), (6, 4)], strict=True):
        inner = photograph[1:-1, 1:-1]
        above, below = top + 1, 14 - top - 7
        sides = left + 1, 16 - left - 11
        expected = np.pad(inner, ((above, below), sides, (0, 0)), mode="edge")
        np.testing.assert_allclose(image, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def street():
    """Two scenes with a plate of 12×48 of vertical strokes, and a single bright bar."""
    images = np.full((2, 96, 160, 3), 0.4, np.float32)
    boxes = np.zeros((2, 1, 4), np.float32)
    for i, (top, left) in enumerate([(50, 40), (30, 90)]):
        images[i, top : top + 12, left : left + 48] = 1
        images[i, top + 1 : top + 11, left + 2 : left + 46 : 5] = 0
        images[i, top + 1 : top + 11, left + 3 : left + 46 : 5] = 0
        images[i, 5:80, 10:14] = 0.9
        boxes[i, 0] = left, top, left + 48, top + 12
    classes = np.zeros((2, 1), np.int32)
    return {"image": jnp.asarray(images), "boxes": boxes, "classes": classes}


@pytest.mark.slow
def test_a_plate_is_found_by_kernels_made_by_hand(street):
    found = jax.jit(plates.stages)(plates.by_hand(), street["image"])
    assert found["edges"].shape == (2, 96, 160, 2)
    box = plates.widest(found["score"] > 0)
    overlap = plates._overlap(box, street)
    assert (overlap > 0.6).all(), (box, street["boxes"])
    # Not the bar: its edges stand alone.
    assert (box[:, 0] > 20).all()
    nothing = plates.widest(jnp.zeros((1, 8, 9, 1), bool))
    np.testing.assert_array_equal(nothing, np.zeros((1, 4)))


def test_learned_kernels_have_gradients_and_a_loss_that_falls(street):
    model, task = plates.pipeline(3, 5), plates.detection()
    variables = model.init(jax.random.key(0), street["image"])
    rule = optax.sgd(0.02)

    @jax.jit
    def step(params, state):
        def loss(params):
            def forward(images):
                return model.apply({"params": params}, images)

            (total, count), _ = task.loss(forward, street, key=None)
            return total / count.astype(jnp.float32)

        value, gradient = jax.value_and_grad(loss)(params)
        change, state = rule.update(gradient, state)
        return value, gradient, optax.apply_updates(params, change), state

    params, state, losses = variables["params"], rule.init(variables["params"]), []
    for _ in range(12):
        value, gradient, params, state = step(params, state)
        losses.append(float(value))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
    assert losses[-1] < 0.95 * losses[0]
