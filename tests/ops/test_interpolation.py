"""Images read between their pixels: against OpenCV, JAX and polynomials."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.ops.resample import sample, warp

DRAW = np.random.default_rng(0)
BYTES = DRAW.integers(0, 256, (1, 20, 24, 3), np.uint8)
TURNED = np.array([[0.9, -0.3, 3.0], [0.25, 0.8, 1.0], [0, 0, 1]], np.float32)
"""From places of the output back to places of the input, of corners of pixels."""


@pytest.mark.parametrize(
    "method, flag", [("nearest", cv2.INTER_NEAREST), ("bilinear", cv2.INTER_LINEAR)]
)
def test_affine_warps_are_those_of_opencv_inside(method, flag):
    images = BYTES.astype(np.float32)
    got = warp(jnp.asarray(images), TURNED[None], method=method)[0]
    # OpenCV counts from the centres of pixels.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    centred = (np.linalg.inv(half) @ TURNED @ half)[:2]
    theirs = cv2.warpAffine(
        images[0], centred, (24, 20), flags=flag | cv2.WARP_INVERSE_MAP
    )
    x, y = np.meshgrid(np.arange(24), np.arange(20))
    u = centred[0, 0] * x + centred[0, 1] * y + centred[0, 2]
    v = centred[1, 0] * x + centred[1, 1] * y + centred[1, 2]
    inside = (u > 1) & (u < 22) & (v > 1) & (v < 18)
    # Its places are multiples of 1/32 of a pixel.
    away = np.abs(np.asarray(got) - theirs)[inside]
    if method == "nearest":
        assert (away > 0).mean() < 0.1
    else:
        assert away.max() < 255 / 16
    assert inside.sum() > 100


def test_bicubic_gives_back_parabolas():
    """As only Keys' cubic of a = -½ does."""
    rows, columns = np.indices((12, 13), np.float32) + 0.5

    def surface(x, y):
        return 3 + 0.5 * x - y + 0.2 * x * x + 0.1 * x * y - 0.3 * y * y

    x = jnp.asarray(DRAW.uniform(3, 10, (1, 5, 7)), jnp.float32)
    y = jnp.asarray(DRAW.uniform(3, 9, (1, 5, 7)), jnp.float32)
    images = surface(columns, rows)[None, ..., None]
    got = sample(jnp.asarray(images), x, y, method="bicubic")
    np.testing.assert_allclose(got[..., 0], surface(x, y), rtol=1e-4, atol=1e-3)
    bilinear = sample(jnp.asarray(images), x, y)[..., 0]
    assert np.abs(bilinear - surface(x, y)).max() > 0.02


def test_bicubic_enlargement_is_that_of_jax_and_its_bytes_do_not_overflow():
    factor = np.diag([0.5, 0.5, 1]).astype(np.float32)[None]
    images = jnp.asarray(BYTES, jnp.float32)
    enlarged = jax.jit(lambda x: warp(x, factor, size=(40, 48), method="bicubic"))
    got = enlarged(images)
    expected = jax.image.resize(images, (1, 40, 48, 3), "cubic")
    inner = np.s_[:, 4:-4, 4:-4]
    np.testing.assert_allclose(got[inner], expected[inner], atol=1e-2)
    as_bytes = enlarged(jnp.asarray(BYTES))
    assert as_bytes.dtype == jnp.uint8 and (np.asarray(got) > 256).any()
    clipped = np.clip(np.round(got), 0, 255)
    assert np.abs(np.asarray(as_bytes, np.float32) - clipped).max() <= 1
