import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.metrics.classification import per_class
from jaxvision.visualise.confusion_matrix import most_confused

COUNTS = np.array([[90, 10, 0, 0], [1, 99, 0, 0], [0, 2, 8, 0], [0, 0, 0, 0]])
NAMES = ["cat", "dog", "$bird$", "eel"]


def class_scores(counts, names=NAMES):
    return visualise.class_scores(counts, per_class(counts), names)


def lines(axis):
    """What is written, line by line from the top and from left to right."""
    found = {}
    for text in axis.texts:
        x, y = text.get_position()
        found.setdefault(round(y, 3), []).append((x, text.get_text()))
    return [[text for _, text in sorted(found[y])] for y in sorted(found)]


def test_the_lowest_class_stands_first_and_one_that_is_not_there_last():
    table, _ = class_scores(COUNTS).axes
    title, head, *rows = lines(table)
    assert title == ["4 classes, mean F1 92.32 %"]
    assert head == ["precision", "recall", "F1", "examples"]
    assert rows == [
        [r"\$bird\$", "100.00 %", "80.00 %", "88.89 %", "10"],
        ["dog", "89.19 %", "99.00 %", "93.84 %", "100"],
        ["cat", "98.90 %", "90.00 %", "94.24 %", "100"],
        ["eel", "–", "–", "–", "0"],
    ]


def test_pairs_are_in_the_order_of_their_counts():
    _, pairs = class_scores(COUNTS).axes
    assert [bar.get_width() for bar in pairs.patches] == [10, 2, 1]
    labels = [label.get_text() for label in pairs.get_yticklabels()]
    assert labels == ["cat → dog", r"\$bird\$ → dog", "dog → cat"]
    assert lines(pairs) == [[" 10 of 100"], [" 2 of 10"], [" 1 of 100"]]
    assert most_confused(COUNTS, 1) == [(0, 1, 10)]
    assert most_confused(COUNTS, 12) == [(0, 1, 10), (2, 1, 2), (1, 0, 1)]


def test_of_many_classes_those_with_the_lowest_scores_are_listed(tmp_path):
    counts = np.diag(np.full(120, 50))
    counts[7, 3] = 20
    figure = class_scores(counts, [f"class {i}" for i in range(120)])
    title, _, *rows = lines(figure.axes[0])
    assert title[0].startswith("the 50 lowest of 120 classes")
    assert [row[0] for row in rows[:3]] == ["class 3", "class 7", "class 0"]
    assert len(rows) == 50
    visualise.save(figure, tmp_path / "classes.png")


@pytest.mark.parametrize(
    "counts",
    [np.diag([3, 0, 2, 1]), np.zeros((4, 4), int), np.array([[0, 1, 0, 0]] * 4)],
    ids=["no mistakes, an absent class", "nothing", "one answer to all"],
)
def test_extreme_matrices_are_drawn(counts, tmp_path):
    visualise.save(class_scores(counts), tmp_path / "classes.png")


def test_what_is_no_confusion_matrix_is_refused():
    with pytest.raises(UsageError, match="not negative"):
        class_scores(COUNTS - 1)
    with pytest.raises(UsageError, match=r"f1 must be \[4\], got \(3,\)"):
        visualise.class_scores(COUNTS, per_class(COUNTS) | {"f1": np.ones(3)}, NAMES)
