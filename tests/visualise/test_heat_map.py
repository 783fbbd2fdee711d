import io

import numpy as np
import pytest
from PIL import Image

from jaxvision import visualise
from jaxvision.errors import UsageError


def test_heat_is_brightest_and_colourful_where_the_map_is_strongest():
    image = np.full((8, 8, 3), (10, 120, 240), np.uint8)
    values = np.zeros((8, 8))
    values[2, 5] = 1
    found = visualise.heat_upon(image, values, side=64).astype(int)
    assert found.shape == (64, 64, 3)
    place = found[20, 44]
    assert np.ptp(place) > 60 and np.ptp(found[60, 4]) == 0  # grey elsewhere
    assert place.sum() > found[60, 4].sum()
    nothing = visualise.heat_upon(image, np.full((2, 2), np.nan), side=64)
    np.testing.assert_array_equal(nothing, np.full_like(nothing, nothing[0, 0, 0]))


def test_a_line_is_drawn_around_what_a_map_is_about():
    image, values = np.full((8, 8, 1), 40, np.uint8), np.zeros((8, 8))
    region = np.zeros((8, 8), bool)
    region[2:5, 3:8] = True
    found = visualise.heat_upon(image, values, around=region, side=64)
    line = (found == 255).all(-1)
    rows, columns = np.nonzero(line)
    # Within the region, whose right side is the border of the image.
    assert (rows.min(), rows.max(), columns.min()) == (16, 39, 24)
    assert line[16, 24:].all() and line[39, 24:].all() and line[16:40, 24].all()
    assert line.sum() == 2 * 40 + 22
    everything = visualise.heat_upon(image, values, around=np.ones((8, 8), bool))
    np.testing.assert_array_equal(everything, visualise.heat_upon(image, values))


def test_a_coarse_map_covers_the_whole_image():
    image = np.zeros((64, 96, 1), np.uint8)
    found = visualise.heat_upon(image, np.array([[1.0, 0.0]])).astype(int)
    assert found.shape[1] > found.shape[0] == 128
    assert found[:, :20].sum() > 3 * found[:, -20:].sum()


def test_small_images_grow_by_whole_pixels_and_large_ones_shrink():
    small = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    grown = visualise.enlarged(small, 10)
    assert grown.shape == (10, 10, 3)
    np.testing.assert_array_equal(
        grown[:5, 5:], np.broadcast_to(small[0, 1], (5, 5, 3))
    )
    assert visualise.enlarged(np.zeros((300, 600, 1), np.uint8), 100).shape == (
        50,
        100,
        1,
    )


def test_sheets_have_a_place_for_each():
    drawn = visualise.sheet([np.full((4, 6, 1), k, np.uint8) for k in range(5)], 3)
    assert drawn.shape == (10, 22, 3)
    assert drawn[0, 0, 0] == 0 and drawn[6, 8, 0] == 4 and drawn[9, 21, 0] == 255
    maps = np.random.default_rng(0).normal(size=(5, 5, 3))
    assert visualise.map_sheet(maps, 2, side=10).shape == (22, 22, 3)
    with pytest.raises(UsageError, match="no images"):
        visualise.sheet([], 3)


def test_filters_show_their_signs():
    weights = np.zeros((2, 2, 1, 2), np.float32)
    weights[0, 0, 0, 0], weights[1, 1, 0, 1] = 3, -1
    drawn = visualise.filter_sheet(weights, 2, side=4).astype(int)
    red, _, blue = drawn[0, 0]
    assert red > blue + 50
    red, _, blue = drawn[3, -1]
    assert blue > red + 50
    assert np.ptp(drawn[3, 0]) < 5  # 0 is no colour
    coloured = visualise.filter_sheet(np.ones((2, 2, 3, 1), np.float32), 1, side=4)
    np.testing.assert_array_equal(coloured, np.full((4, 4, 3), 255))


def test_pictures_and_animations_can_be_read():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(visualise.encoded(image)))), image
    )
    frames = [np.full((4, 4, 3), level, np.uint8) for level in (0, 120, 250)]
    with Image.open(io.BytesIO(visualise.gif(frames))) as animation:
        assert animation.n_frames == 3 and animation.info["loop"] == 0
