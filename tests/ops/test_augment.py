"""Transforms on the device, against the same thing done image by image in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops.augment import (
    compose,
    normalise,
    pad,
    random_flip,
    random_shift,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return jnp.asarray(random.integers(1, 256, (64, 9, 7, 3)), jnp.uint8)


def test_normalise_and_pad(images):
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    got = normalise(mean, std)(KEY, images)
    assert got.dtype == jnp.float32
    expected = (np.asarray(images) / 255 - mean) / std
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    padded = pad(2, 7)(KEY, images)
    expected = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=7)
    np.testing.assert_array_equal(padded, expected)


def test_flip_mirrors_whole_images_about_half_of_the_time(images):
    flipped = np.asarray(random_flip(KEY, images))
    kept = (flipped == np.asarray(images)).all(axis=(1, 2, 3))
    mirrored = (flipped == np.asarray(images)[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_shift_moves_whole_images_everywhere_within_the_distance(images):
    distance = 2
    shifted = np.asarray(jax.jit(random_shift(distance))(KEY, images))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = set()
    for image, border in zip(shifted, padded, strict=True):
        seen |= {
            (y, x)
            for y in range(5)
            for x in range(5)
            if (border[y : y + 9, x : x + 7] == image).all()
        }
    assert len(seen) > 15  # of 25 places, with 64 images
    assert all(
        any(
            (border[y : y + 9, x : x + 7] == image).all()
            for y in range(5)
            for x in range(5)
        )
        for image, border in zip(shifted, padded, strict=True)
    )


def test_compose_gives_each_step_a_key_of_its_own(images):
    twice = compose(random_shift(1), random_shift(1))
    keys = [jax.random.fold_in(KEY, index) for index in (0, 1)]
    expected = random_shift(1)(keys[1], random_shift(1)(keys[0], images))
    np.testing.assert_array_equal(twice(KEY, images), expected)


@pytest.mark.parametrize(
    "make", [lambda: normalise(0, 0), lambda: pad(-1), lambda: random_shift(-1)]
)
def test_bad_values_are_refused(make):
    with pytest.raises(UsageError):
        make()
