"""What is measured of an image."""

import itertools

import cv2
import numpy as np
import pytest

from jaxvision.data.files.decoding import DecodeError
from jaxvision.quality.measures import measure, sharpness, thumbnail

pytest.importorskip("cleanvision", reason="needs the extra quality")


@pytest.fixture
def texture():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def test_sharpness_of_a_wave_is_its_squared_frequency():
    """On a fine grid, for the grid's own Laplacian and differences: 2 - 2 cos ω."""
    columns = np.arange(4096)
    for frequency in (0.05, 0.2, 0.8):
        wave = 1000 * np.sin(frequency * columns)
        image = np.repeat(wave[None], 8, axis=0)
        assert sharpness(image) == pytest.approx(2 - 2 * np.cos(frequency), rel=0.01)


def test_sharpness_falls_with_blur_and_with_nothing_else(texture):
    values = texture.astype(np.float32)
    sharp = sharpness(values)
    assert sharpness(0.5 * values + 40) == pytest.approx(sharp, rel=1e-3)
    assert sharpness(values.T) == pytest.approx(sharp, rel=0.05)
    assert sharpness(values[:, ::-1]) == pytest.approx(sharp, rel=0.02)
    blurred = [sharpness(cv2.GaussianBlur(values, (0, 0), s)) for s in (0.7, 1, 2, 4)]
    assert all(b < a for a, b in itertools.pairwise([sharp, *blurred]))
    assert blurred[1] < 0.8 * sharp
    assert np.isnan(sharpness(np.full((9, 9), 7, np.uint8)))
    assert np.isnan(sharpness(np.arange(8, dtype=np.uint8).reshape(2, 4)))


def test_thumbnails_of_copies_correlate(texture):
    def correlation(other):
        return float(thumbnail(texture) @ thumbnail(other))

    assert correlation(texture) == pytest.approx(1, abs=1e-6)
    assert correlation((texture * 0.5 + 60).astype(np.uint8)) > 0.999
    assert correlation(cv2.resize(texture, (200, 100))) > 0.99
    assert abs(correlation(texture[::-1])) < 0.6
    assert not thumbnail(np.full((30, 40), 200, np.uint8)).any()


def test_measures_of_many_kinds_of_image(texture):
    colour = np.stack([texture] * 3, axis=-1)
    images = [
        colour,
        np.zeros((5, 300, 3), np.uint8),
        colour // 8,
        None,
        np.full((1, 1, 3), 255, np.uint8),
        cv2.resize(colour, (640, 480)),
        colour.copy(),
    ]

    def read(i):
        if images[i] is None:
            raise DecodeError("damaged")
        return images[i]

    seen = []
    found = measure(read, len(images), lambda work, count: seen.append(count) or work)
    assert seen == [1]
    assert found.heights.tolist() == [64, 5, 64, 0, 1, 480, 64]
    assert found.widths.tolist() == [64, 300, 64, 0, 1, 640, 64]
    assert found.readable.tolist() == [True] * 3 + [False] + [True] * 3
    assert found.bright[0] == pytest.approx(np.percentile(texture, 99) / 255, abs=0.01)
    assert found.bright[5] == pytest.approx(found.bright[0], abs=0.02)
    assert found.darkest[1] == found.dark[1] == found.bright[1] == 0
    assert found.bright[2] < found.bright[0] / 6
    assert found.dark[4] == 1
    assert np.isnan(found.bright[3]) and np.isnan(found.sharpness[[1, 3, 4]]).all()
    assert found.digests[0] == found.digests[6] != found.digests[5]
    assert found.digests[3] == b""
    lengths = np.linalg.norm(found.thumbnails, axis=1)
    np.testing.assert_allclose(lengths, [1, 0, 1, 0, 0, 1, 1], atol=1e-5)


def test_images_of_equal_bytes_and_other_shape_are_no_copies():
    shapes = (2, 8, 1), (8, 2, 1), (4, 4, 1)
    found = measure(lambda i: np.arange(16, dtype=np.uint8).reshape(shapes[i]), 3)
    assert len(set(found.digests)) == 3
