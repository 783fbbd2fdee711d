"""Selective search: what stands out has a box, at every size."""

import numpy as np
import pytest

from jaxvision.data.proposals import segments, selective_search, with_proposals
from jaxvision.data.source import Source
from jaxvision.errors import UsageError

PARTS = {(6, 8, 22, 30): (200, 40, 40), (22, 8, 34, 30): (200, 90, 40)}
"""Two rectangles side by side, much alike, by x and y of their corners."""
ALONE = {(44, 40, 60, 56): (40, 60, 220)}


@pytest.fixture(scope="module")
def image():
    pixels = np.full((64, 72, 3), 120, np.uint8)
    pixels += np.random.default_rng(0).integers(0, 6, pixels.shape, np.uint8)
    for (left, top, right, bottom), colour in {**PARTS, **ALONE}.items():
        pixels[top:bottom, left:right] = colour
    return pixels


def overlap(box, other):
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    common = np.prod(np.maximum(high - low, 0))
    areas = [np.prod(b[2:] - b[:2]) for b in (np.array(box), np.array(other))]
    return common / (sum(areas) - common)


def test_regions_are_the_rectangles_and_the_ground(image):
    labels = segments(image)
    for left, top, right, bottom in {**PARTS, **ALONE}:
        inner = labels[top + 2 : bottom - 2, left + 2 : right - 2]
        assert len(np.unique(inner)) == 1
        assert (labels == inner[0, 0]).sum() < 1.5 * (right - left) * (bottom - top)
    assert np.bincount(labels.ravel()).min() >= 20
    grown = segments(image, least=600)
    assert np.bincount(grown.ravel()).min() >= 600


def test_parts_and_what_they_make_together_have_boxes(image):
    boxes = selective_search(image)
    assert boxes.dtype == np.float32 and len(np.unique(boxes, axis=0)) == len(boxes)
    np.testing.assert_array_equal(boxes[0], [0, 0, 72, 64])
    together = (6, 8, 34, 30)
    for wanted in (*PARTS, *ALONE, together):
        assert max(overlap(box, wanted) for box in boxes) > 0.85, wanted


def test_a_source_has_proposals_of_each_image(image):
    pixels = np.stack([image, np.zeros_like(image)])
    arrays = {"image": pixels, "label": np.zeros(2, np.int32)}
    plain = Source("two:train", 2, image.shape, ("a",), lambda: arrays)
    found = with_proposals(plain, 12)
    proposals = found.read()["proposals"]
    assert proposals.shape == (2, 12, 4) and found.targets().keys() == {
        "label",
        "proposals",
    }
    few = selective_search(image)[:12]
    np.testing.assert_array_equal(proposals[0, : len(few)], few)
    np.testing.assert_array_equal(proposals[1, 0], [0, 0, 72, 64])
    assert not proposals[1, 1:].any()  # an image of one colour is one region
    with pytest.raises(UsageError, match="most must be at least 1"):
        with_proposals(plain, 0)
