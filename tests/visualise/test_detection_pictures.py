import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.types import Galleries, Gallery

SHOW = visualise.detection(["cat", "dog"])
PREDICTION = {
    "boxes": np.float32([[2, 2, 12, 12], [10, 5, 19, 14], [1, 1, 9, 9], [0, 0, 0, 0]]),
    "scores": np.float32([0.9, 0.8, 0.2, 0.0]),
    "classes": np.int32([1, 0, 1, -1]),
    "valid": np.array([True, True, True, False]),
}
EXAMPLE = {
    "image": np.full((16, 20, 3), 90, np.uint8),
    "boxes": np.float32([[2, 2, 12, 12], [0, 0, 0, 0]]),
    "classes": np.int32([1, -1]),
}


def rows(example):
    return {name: array[None] for name, array in example.items()}


def gallery(example, seen):
    return Gallery(
        indices=np.array([7]),
        difficulty=np.array([0.9]),
        example=rows(example),
        input=rows(seen),
        prediction=rows(PREDICTION),
    )


def test_words_and_values_are_those_of_sure_boxes():
    assert SHOW.words(PREDICTION) == ["dog  90.0%", "cat  80.0%"]
    (first, second) = SHOW.values(PREDICTION)["objects"]
    assert first["class"] == "dog" and second["number"] == 0
    assert second["box"] == [10, 5, 19, 14]
    assert visualise.detection(["cat", "dog"], least=0.95).words(PREDICTION) == [
        "nothing"
    ]
    with pytest.raises(UsageError, match="least must be from 0 to 1, got 2"):
        visualise.detection(["cat"], least=2)


def test_boxes_are_drawn_with_their_scores(monkeypatch):
    from PIL import ImageDraw

    written = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, xy, text, **_: written.append(text)
    )
    drawn = SHOW.draw(EXAMPLE, PREDICTION, side=200)
    assert written == ["cat 0.80", "dog 0.90"]  # the surest one over the others
    dog = (drawn == visualise.class_colour(1)).all(-1)
    assert dog[119, 20:120].all() and not dog[119, 120:].any()


def test_figures_show_truth_beside_predictions():
    metrics = {
        "per_class_ap": np.array([0.5, 0.25]),
        "per_class_ap50": np.array([0.75, np.nan]),
        "per_class_precision": np.linspace(1, 0, 101)[None].repeat(2, 0),
    }
    moved = {**EXAMPLE, "image": np.zeros((8, 8, 3), np.float32)}
    moved["boxes"] = moved["boxes"] / 2
    taken = {
        **EXAMPLE,
        "taken": np.float32([0, 0, 20, 16]),
        "canvas": np.ones((16, 20), np.uint8),
    }
    for example, seen in ((EXAMPLE, EXAMPLE), (EXAMPLE, moved), (taken, EXAMPLE)):
        one = gallery(example, seen)
        figures = SHOW.figures(Galleries(one, one), metrics)
        assert set(figures) == {
            "predictions.png", "average_precision.png", "precision_recall.png"
        }  # fmt: skip
    less = SHOW.figures(Galleries(one, one), {})
    assert set(less) == {"predictions.png"}
