"""Tiles against one evaluation of the whole image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.ops import convolution
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.overlap_tile import overlap_tile


@pytest.fixture(autouse=True)
def convolution_as_on_accelerators(monkeypatch):
    """The forms for CPU have tests of their own, and take the compiler far longer."""
    monkeypatch.setattr(convolution.cpu, "convolve", convolution.native.convolve)


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_tiles_of_a_unet_are_its_evaluation_of_the_whole_mirrored_image():
    options = dict(num_classes=3, width=2, depth=3, normalise=False)
    valid, mirror = (
        models.create("unet_ronneberger", padding=padding, **options)
        for padding in ("valid", "mirror")
    )
    x = images(2, 37, 50, 1)
    variables = jax.jit(mirror.init)(jax.random.key(0), x)

    def scores(tile):
        return valid.apply(variables, tile)[0]["logits"]

    whole = jax.jit(lambda x: mirror.apply(variables, x)[0]["logits"])(x)
    assert whole.shape == (2, 37, 50, 3)
    # 60 pixels give 20 scores, 64 give 24, all of which are whole strides of 4.
    tiled = jax.jit(lambda x: overlap_tile(scores, x, (60, 64), stride=4))(x)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    assert np.ptp(whole, axis=(1, 2)).min() > 1e-2


def test_steps_are_whole_strides():
    """Pooling in windows of 4 from tiles that give 10 scores: steps of 8, not of 10."""

    def blocks(x):
        batch, height, width, channels = x.shape
        split = x.reshape(batch, height // 4, 4, width // 4, 4, channels)
        means = split.mean((2, 4)).repeat(4, 1).repeat(4, 2)
        return means[:, 1:-1, 1:-1]

    x = images(1, 31, 23, 2)
    padded = jnp.pad(x, ((0, 0), (1, 4), (1, 4), (0, 0)), mode="reflect")
    np.testing.assert_allclose(
        overlap_tile(blocks, x, 12, stride=4), blocks(padded)[:, :31, :23], atol=1e-6
    )


def test_a_convolution_of_an_image_smaller_than_a_tile():
    kernel = jnp.asarray(images(3, 3, 2, 4))

    def convolve(x):
        return conv2d(x, kernel, padding="VALID")

    x = images(1, 3, 2, 2)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    np.testing.assert_allclose(
        overlap_tile(convolve, x, 9), convolve(padded), atol=1e-5
    )


def test_tiles_of_which_nothing_is_left_are_refused():
    with pytest.raises(UsageError, match="6×6 scores, less than the stride of 8"):
        overlap_tile(lambda x: x[:, 1:-1, 1:-1], images(1, 20, 20, 1), 8, stride=8)
    with pytest.raises(UsageError, match="as much on both sides"):
        overlap_tile(lambda x: x[:, 1:], images(1, 20, 20, 1), 8)
