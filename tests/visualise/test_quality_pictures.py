"""Contact sheets of findings."""

import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.visualise.quality import Cell, findings

GREY = np.full((8, 8, 1), 128, np.uint8)
RGB = np.zeros((8, 20, 3), np.uint8)


def images_of(figure):
    (axis,) = figure.axes
    return axis.get_images()


def texts_of(figure):
    (axis,) = figure.axes
    return [text.get_text() for text in [*figure.texts, *axis.texts]]


def test_each_image_has_its_words():
    cells = [
        Cell([GREY, RGB], [["train 1", "cat"], ["test 2", "dog"]]),
        Cell([None], [["train 7", "$cat_1$"]]),
    ]
    figure = findings(cells, title="Copies", note="a note")
    assert len(images_of(figure)) == 2
    texts = texts_of(figure)
    for words in ("Copies", "a note", "train 1", "dog", r"\$cat_1\$", "damaged"):
        assert words in texts
    figure.canvas.draw()


def test_cells_do_not_overlap_and_stay_inside():
    rng = np.random.default_rng(0)
    cells = [Cell([RGB] * n, [["a", "b"]] * n) for n in rng.integers(1, 9, 30).tolist()]
    figure = findings(cells, title="")
    (axis,) = figure.axes
    boxes = [image.get_extent() for image in axis.get_images()]
    assert len(boxes) == sum(len(cell.images) for cell in cells)
    right, bottom = axis.get_xlim()[1], axis.get_ylim()[0]
    for left, end, low, high in boxes:
        assert 0 <= left < end <= right and 0 <= high < low <= bottom
        assert (end - left) / (low - high) == pytest.approx(20 / 8)
    corners = {(round(box[0], 3), round(box[3], 3)) for box in boxes}
    assert len(corners) == len(boxes)


def test_large_groups_are_cut():
    figure = findings([Cell([GREY] * 50, [["x"]] * 50)], title="")
    assert len(images_of(figure)) == 9


def test_what_is_no_image_is_refused():
    with pytest.raises(UsageError, match="no images to show"):
        findings([], title="")
    with pytest.raises(UsageError, match="float64"):
        findings([Cell([GREY / 255], [["x"]])], title="")
