"""Normalisation of images, and point operations, against their formulas."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage

from jaxvision.errors import UsageError
from jaxvision.ops import normalisation, points
from jaxvision.ops.batch_norm import batch_norm

BYTES = np.random.default_rng(0).integers(0, 256, (3, 12, 14, 2), np.uint8)
FLOATS = BYTES.astype(np.float32) / 255


def test_linear_normalisation_of_an_image_and_of_a_batch():
    got = np.asarray(normalisation.linear(BYTES))
    for image, of in zip(got, BYTES.astype(float), strict=True):
        low, high = of.min((0, 1)), of.max((0, 1))
        np.testing.assert_allclose(image, (of - low) / (high - low), atol=1e-6)
    got = np.asarray(normalisation.linear(FLOATS, "batch"))
    np.testing.assert_array_equal(got.min(0), np.zeros_like(got[0]))
    np.testing.assert_allclose(got.max(0), np.ones_like(got[0]), atol=1e-6)
    constant = jnp.full((1, 4, 4, 1), 0.7)
    np.testing.assert_array_equal(normalisation.linear(constant), 0 * constant)
    with pytest.raises(UsageError, match="batch"):
        normalisation.linear(FLOATS, "bach")


def test_divisive_normalisation_is_by_the_norm_of_a_window():
    window = (5, 3)
    got = normalisation.divisive(FLOATS, window)
    for image, of in zip(got, FLOATS.astype(float), strict=True):
        for c in range(2):
            squares = ndimage.uniform_filter(of[..., c] ** 2, window, mode="constant")
            expected = of[..., c] / np.sqrt(squares * 15)
            np.testing.assert_allclose(image[..., c], expected, atol=1e-5)
    black = jnp.zeros((1, 6, 6, 1))
    assert not normalisation.divisive(black, 3).any()
    gradient = jax.grad(lambda x: normalisation.divisive(x, 3).sum())(black)
    assert not gradient.any()


def test_the_two_batch_normalisations_differ_as_documented():
    x = jnp.asarray(FLOATS)
    scale, bias = jnp.array([2.0, 0.5]), jnp.array([1.0, -1.0])
    got = normalisation.standardised(x, scale, bias, axes=(0, 1, 2))
    flat = FLOATS.reshape(-1, 2).astype(float)
    expected = (FLOATS - flat.mean(0)) / (flat.std(0, ddof=1) + 1e-5) * [2, 0.5] + [
        1,
        -1,
    ]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    other, _ = batch_norm(x, scale, bias, 1e-10)
    n = len(flat)
    factor = np.sqrt(n / (n - 1))
    np.testing.assert_allclose((got - bias[None, None, None]) * factor,
                               other - bias[None, None, None], atol=1e-3)  # fmt: skip
    each = normalisation.standardised(x)
    np.testing.assert_allclose(each.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(each, 0, ddof=1), 1, atol=2e-3)


def test_scale_and_bias_are_learned_and_can_undo_the_normalisation():
    x = jnp.asarray(FLOATS)
    axes = (0, 1, 2)
    scale, bias = x.std(axes, ddof=1), x.mean(axes)
    undone = normalisation.standardised(x, scale, bias, axes=axes)
    np.testing.assert_allclose(undone, x, atol=1e-4)

    def loss(scale, bias):
        return (normalisation.standardised(x, scale, bias, axes=axes) ** 2).sum()

    by_scale, by_bias = jax.grad(loss, (0, 1))(scale, bias)
    assert (by_scale > 0).all() and (by_bias > 0).all()
    constant = jax.grad(lambda x: normalisation.standardised(x).sum())
    assert np.isfinite(constant(jnp.ones((2, 2, 2, 1)))).all()
    with pytest.raises(UsageError, match="two values"):
        normalisation.standardised(x[:1])


def test_point_operations_of_bytes_are_those_of_pillow_and_opencv():
    image = BYTES[0, ..., 0]
    pillow = Image.fromarray(image)

    def ours(operation, *arguments):
        compiled = jax.jit(lambda x: operation(x, *arguments))
        return np.asarray(compiled(image[None, ..., None]))[0, ..., 0]

    np.testing.assert_array_equal(ours(points.invert), ImageOps.invert(pillow))
    np.testing.assert_array_equal(ours(points.equalise), ImageOps.equalize(pillow))
    brighter = np.clip(image * 1.5 - 20, 0, 255)  # halves may go either way
    assert np.abs(ours(points.affine, 1.5, -20 / 255) - brighter).max() <= 0.5
    _, expected = cv2.threshold(image, 100, 255, cv2.THRESH_BINARY)
    np.testing.assert_array_equal(ours(points.threshold, 100 / 255), expected)
    table = (255 * (np.arange(256) / 255) ** 2.2).round().astype(np.uint8)
    np.testing.assert_array_equal(ours(points.gamma, 2.2), table[image])
    np.testing.assert_array_equal(
        ours(points.logarithm), (255 * np.log2(1 + image / 255)).round()
    )


def test_point_operations_of_floats_are_the_formulas():
    np.testing.assert_allclose(points.gamma(FLOATS, 0.5), np.sqrt(FLOATS), atol=1e-6)
    np.testing.assert_allclose(points.affine(FLOATS, 2, 0.5), 2 * FLOATS + 0.5)
    np.testing.assert_allclose(points.invert(FLOATS), 1 - FLOATS)
    black = jax.grad(lambda x: points.gamma(x, 0.5).sum())(jnp.zeros((1, 2, 2, 1)))
    assert np.isfinite(black).all()
    with pytest.raises(UsageError, match="positive"):
        points.gamma(FLOATS, 0.0)
    with pytest.raises(UsageError, match="bytes"):
        points.equalise(FLOATS)
