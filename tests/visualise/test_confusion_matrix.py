import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError

NAMES = ["cat", "dog", "bird"]
COUNTS = np.array([[90, 10, 0], [1, 99, 0], [0, 2, 8]])


def cells(axis):
    """What is written in each cell: {(row, column): text}."""
    return {
        (int(text.get_position()[1]), int(text.get_position()[0])): text.get_text()
        for text in axis.texts
    }


def test_rows_are_true_classes_and_cells_state_counts():
    axis = visualise.confusion(COUNTS, NAMES).axes[0]
    assert cells(axis) == {
        (0, 0): "90", (0, 1): "10", (1, 0): "1",
        (1, 1): "99", (2, 1): "2", (2, 2): "8",
    }  # fmt: skip
    assert axis.get_ylabel() == "true class"
    assert [label.get_text() for label in axis.get_yticklabels()] == NAMES
    assert axis.get_title(loc="left") == "210 examples, 13 mistakes, accuracy 93.81 %"


def test_cells_may_state_shares_and_say_of_what():
    axis = visualise.confusion(1000 * COUNTS, NAMES, of="pixel", shares=True).axes[0]
    assert cells(axis) == {
        (0, 0): "90.0", (0, 1): "10.0", (1, 0): "1.0",
        (1, 1): "99.0", (2, 1): "20.0", (2, 2): "80.0",
    }  # fmt: skip
    assert axis.get_title(loc="left").startswith("210,000 pixels, 13,000 mistakes")


def test_mistakes_have_a_colour_scale_of_their_own():
    correct, mistakes = visualise.confusion(COUNTS, NAMES).axes[0].images
    assert correct.cmap.name != mistakes.cmap.name
    assert mistakes.norm.vmax == pytest.approx(0.2)  # 2 of 10 birds, not 10 of 100 cats
    shown = mistakes.get_array()
    assert shown[0, 1] == pytest.approx(0.1)
    assert shown.mask.diagonal().all()
    assert (~correct.get_array().mask == np.eye(3, dtype=bool)).all()


def test_many_classes_get_a_list_of_their_worst_mistakes(tmp_path):
    counts = np.diag(np.full(120, 50))
    counts[3, 7] = 40
    counts[7, 3] = 20
    figure = visualise.confusion(counts, [f"class {i}" for i in range(120)])
    text = "\n".join(text.get_text() for axis in figure.axes for text in axis.texts)
    first, second = text.splitlines()
    assert first.split() == ["40", "of", "90", "class", "3", "→", "class", "7"]
    assert second.split() == ["20", "of", "70", "class", "7", "→", "class", "3"]
    visualise.save(figure, tmp_path / "confusion.png")


@pytest.mark.parametrize(
    "counts",
    [np.diag([3, 0, 2]), np.zeros((3, 3), int), np.array([[0, 1, 0]] * 3)],
    ids=["no mistakes, an absent class", "nothing", "one answer to all"],
)
def test_extreme_matrices_are_drawn(counts, tmp_path):
    figure = visualise.confusion(counts, NAMES)
    visualise.save(figure, tmp_path / "confusion.png")
    assert len(cells(figure.axes[0])) == np.count_nonzero(counts)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (COUNTS[:2], r"must have the shape \(3, 3\), got \(2, 3\)"),
        (COUNTS - 1, "not negative"),
        (COUNTS / 100, "whole numbers"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(counts, message):
    with pytest.raises(UsageError, match=message):
        visualise.confusion(counts, NAMES)
