"""Classes are counted mask by mask and label by label."""

import numpy as np
import pytest

from jaxvision import data
from jaxvision.data.source import Source
from jaxvision.errors import UsageError
from jaxvision.types import UNKNOWN


def source_of(**fields):
    return Source("set:train", 3, (2, 3, 1), ("a", "b", "c"), **{"read": dict} | fields)


MASKS = np.array([[0, 0, 1, 1, 1, UNKNOWN], [0] * 6, [UNKNOWN] * 6], np.uint8)


def test_pixels_of_the_classes_and_of_the_images_that_show_them():
    masks = MASKS.reshape(3, 2, 3)
    streamed = source_of(
        read=lambda: pytest.fail("a stream is not read as a whole"),
        maps=lambda i: {"segmentation": masks[i]},
    )
    stored = source_of(read=lambda: {"image": masks, "segmentation": masks})
    for source in (streamed, stored):
        pixels, around = data.pixel_counts(source)
        assert pixels.tolist() == [8, 3, 0]
        assert around.tolist() == [11, 5, 0]


def test_examples_of_labels():
    labels = np.array([2, 0, 2], np.int32)
    found = data.label_counts(source_of(targets=lambda: {"label": labels}))
    assert found.positives.tolist() == [1, 0, 2] and found.known.tolist() == [3] * 3


def test_what_there_is_not_is_named():
    bare = source_of(targets=lambda: {"boxes": MASKS}, maps=lambda i: {"instances": 0})
    with pytest.raises(UsageError, match="have instances and no segmentation to count"):
        data.pixel_counts(bare)
    with pytest.raises(UsageError, match="have boxes and no label or presence"):
        data.label_counts(bare)
    with pytest.raises(UsageError, match="and no segmentation to count"):
        data.pixel_counts(source_of())
