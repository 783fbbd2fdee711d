"""Elastic deformations: what the field is, and that points and pixels agree."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import augment
from jaxvision.ops.augment.elastic import displacement

SIZE = HEIGHT, WIDTH = 12, 20
KEY = jax.random.key(0)


def keys_kernel(t):
    """Keys 1981, equation 15."""
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def by_definition(nodes, x, y):
    """The displacement at one point of one image, in plain loops."""
    count = len(nodes)
    row, column = y / HEIGHT * (count - 1), x / WIDTH * (count - 1)
    total = np.zeros(2)
    for i in range(-1, count + 1):
        for j in range(-1, count + 1):
            node = nodes[min(max(i, 0), count - 1), min(max(j, 0), count - 1)]
            total += keys_kernel(row - i) * keys_kernel(column - j) * node
    return total


def test_the_field_is_a_cubic_interpolation_of_its_nodes():
    random = np.random.default_rng(0)
    for count in (2, 3, 5):
        nodes = random.normal(size=(2, count, count, 2)).astype(np.float32)
        points = random.uniform(0, 1, (2, 7, 2)) * [WIDTH, HEIGHT]
        points[:, :2] = [[0, 0], [WIDTH, HEIGHT]]  # on nodes
        found = displacement(jnp.asarray(nodes), jnp.float32(points), SIZE)
        expected = [
            [by_definition(nodes[i], x, y) for x, y in points[i]] for i in range(2)
        ]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(found[:, 0], nodes[:, 0, 0], atol=1e-6)


def test_without_displacements_nothing_changes():
    random = np.random.default_rng(0)
    batch = {
        "image": jnp.asarray(random.integers(0, 256, (3, *SIZE, 1)), jnp.uint8),
        "segmentation": jnp.asarray(random.integers(0, 3, (3, *SIZE)), jnp.uint8),
    }
    bent = augment.random_elastic(0.0)(KEY, batch)
    for name, array in batch.items():
        np.testing.assert_array_equal(bent[name], array)


def test_displacements_have_the_deviation_that_was_asked_for():
    # Where the image is its own coordinates, it shows where its pixels come from.
    y, x = np.mgrid[:40, :40] + 0.5
    image = jnp.asarray(np.stack([x, y], -1), jnp.float32)
    images = jnp.broadcast_to(image, (500, 40, 40, 2))
    bent = augment.random_elastic(2.0)(KEY, {"image": images})["image"]
    # The middle of the image is the middle node of the grid.
    moved = np.asarray(bent[:, 19:21, 19:21].mean(axis=(1, 2))) - 20
    assert abs(moved.mean()) < 0.2
    assert abs(moved.std() - 2) < 0.2


def test_points_come_to_lie_where_the_pixels_say():
    batch = {
        "image": jnp.zeros((2, *SIZE, 1)),
        "keypoints": jnp.full((2, 1, 1, 3), 2.0).at[..., :2].set(jnp.array([8.0, 5.0])),
    }
    moved = augment.random_elastic(1.0)(KEY, batch)["keypoints"]
    nodes = jax.random.normal(KEY, (2, 3, 3, 2))
    points = moved[:, 0, :, :2]
    source = points + displacement(nodes, points, SIZE)
    np.testing.assert_allclose(source, [[[8, 5]]] * 2, atol=1e-4)
    assert float(jnp.abs(points - source).max()) > 0.1
