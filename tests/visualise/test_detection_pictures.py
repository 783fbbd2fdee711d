import json

import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.metrics import tide
from jaxvision.types import Galleries, Gallery, Pictured
from jaxvision.visualise.galleries import Shown
from jaxvision.visualise.judged_boxes import false_alarms, judged, misses

CLASSES = ["cat", "dog"]
SHOW = visualise.detection(CLASSES)
PREDICTION = {
    "boxes": np.float32([[2, 2, 12, 12], [10, 5, 19, 14], [1, 1, 9, 9], [0, 0, 0, 0]]),
    "scores": np.float32([0.9, 0.8, 0.2, 0.0]),
    "classes": np.int32([1, 0, 1, -1]),
    "valid": np.array([True, True, True, False]),
}
EXAMPLE = {
    "image": np.full((16, 20, 3), 90, np.uint8),
    "boxes": np.float32([[2, 2, 12, 12], [14, 0, 20, 8], [0, 0, 0, 0]]),
    "classes": np.int32([1, 0, -1]),
}
"""The dog is found, and of the cat a corner."""


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
    assert visualise.detection(CLASSES, least=0.95).words(PREDICTION) == ["nothing"]
    with pytest.raises(UsageError, match="least must be from 0 to 1, got 2"):
        visualise.detection(["cat"], least=2)


@pytest.fixture
def written(monkeypatch):
    from PIL import ImageDraw

    texts = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, xy, text, **_: texts.append(text)
    )
    return texts


def test_boxes_are_drawn_with_their_scores(written):
    drawn = SHOW.draw(EXAMPLE, PREDICTION, side=200)
    assert written == ["cat 0.80", "dog 0.90"]  # the surest one over the others
    dog = (drawn == visualise.class_colour(1)).all(-1)
    assert dog[119, 20:120].all() and not dog[119, 120:].any()


def test_files_are_a_picture_and_all_boxes_as_coco_has_them():
    (picture,) = SHOW.files(EXAMPLE, PREDICTION).items()
    assert picture[0] == "_boxes.png" and picture[1].startswith(b"\x89PNG")
    blank = {name: array[3:] for name, array in PREDICTION.items()}
    pictures = [
        Pictured("a.jpg", (16, 20), blank), Pictured("b.jpg", (16, 20), PREDICTION)
    ]  # fmt: skip
    (found,) = SHOW.together(pictures).values()
    found = json.loads(found)
    assert found["images"][1] == {
        "id": 2, "file_name": "b.jpg", "width": 20, "height": 16
    }  # fmt: skip
    # Unsure ones count in average precision.
    assert [each["image_id"] for each in found["annotations"]] == [2, 2, 2]
    assert found["annotations"][1]["bbox"] == [10, 5, 9, 9]
    assert found["annotations"][1]["category_id"] == found["categories"][0]["id"] == 1


def test_boxes_are_held_against_what_is_there(written):
    one = judged(Shown("worst 1: image 7", 1.0, EXAMPLE, EXAMPLE, PREDICTION), 0.3)
    assert one.missed.tolist() == [False, True]
    assert one.notes == ["0.80 location", "0.90 IoU 1.00"]
    assert one.mistakes == ["0.80 location", ""]
    ((caption, pictures),) = misses([one, one], CLASSES)
    assert caption == "cat missed, image 7"
    # The image is 16 pixels high, and less than what is shown around a small box.
    assert [picture.shape for picture in pictures] == [(384, 480, 3)] * 2
    ((caption, _),) = false_alarms([one], CLASSES)
    assert caption == "cat 0.80 location, image 7"
    assert written == ["missed", "0.80 location"]
    crowd = {**EXAMPLE, "crowd": np.uint8([0, 1, 0])}
    one = judged(Shown("worst 1: image 7", 1.0, crowd, crowd, PREDICTION), 0.3)
    assert not one.missed.any() and not misses([one], CLASSES)


def test_figures_show_truth_beside_predictions():
    metrics = {
        "ap50": 0.5,
        "per_class_ap": np.array([0.5, 0.25]),
        "per_class_ap50": np.array([0.75, np.nan]),
        "per_class_precision": np.linspace(1, 0, 101)[None].repeat(2, 0),
        "mistakes": np.array([3] * len(tide.KINDS)),
        "mistake_costs": np.array([0.1] * len(tide.KINDS)),
    }
    moved = {**EXAMPLE, "image": np.zeros((8, 8, 3), np.float32)}
    moved["boxes"] = moved["boxes"] / 2
    taken = {
        **EXAMPLE,
        "taken": np.float32([0, 0, 20, 16]),
        "canvas": np.ones((16, 20), np.uint8),
    }
    of_predictions = {"predictions.png", "mistakes.png"}
    for example, seen in ((EXAMPLE, EXAMPLE), (EXAMPLE, moved), (taken, EXAMPLE)):
        one = gallery(example, seen)
        figures = SHOW.figures(Galleries(one, one), {})
        assert set(figures) == of_predictions
    figures = SHOW.figures(Galleries(one, one), metrics)
    assert set(figures) == of_predictions | {
        "average_precision.png", "precision_recall.png", "errors.png"
    }  # fmt: skip
