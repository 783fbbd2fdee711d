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


MASKS = np.zeros((4, 10, 10), np.float32)
MASKS[0, :, :5] = MASKS[1] = 1
SHAPES = {
    "masks": MASKS,
    "keypoints": np.float32([[[3, 3, 1], [9, 9, 1]]] * 4),
}


def test_masks_and_keypoints_are_those_of_coco():
    show = visualise.detection(CLASSES, keypoints=["ear", "tail"], limbs=[(1, 0)])
    prediction = PREDICTION | SHAPES
    pictures = [Pictured("a.jpg", (16, 20), prediction)]
    found = json.loads(show.together(pictures)["predictions.json"])
    assert found["categories"][1]["keypoints"] == ["ear", "tail"]
    assert found["categories"][1]["skeleton"] == [[2, 1]]
    first = found["annotations"][0]
    # The left half of a box of 10×10 pixels, which end at the middle of a pixel.
    mask = decoded(first["segmentation"])
    assert mask.shape == (16, 20) and mask.sum() == first["area"]
    assert mask[2:12, 2:7].all() and not mask[:, 8:].any() and not mask[14:].any()
    assert first["keypoints"] == [3, 3, 2, 9, 9, 2] and first["num_keypoints"] == 2
    assert show.values(prediction)["objects"][0]["keypoints"] == [[3, 3, 1], [9, 9, 1]]
    with pytest.raises(UsageError, match="pairs of the 0 keypoints"):
        visualise.detection(CLASSES, limbs=[(0, 1)])


def decoded(encoded):
    from jaxvision import run_lengths

    lengths = run_lengths.decompressed(encoded["counts"])
    return run_lengths.mask(lengths, *encoded["size"])


def test_masks_and_skeletons_are_drawn_with_boxes(written):
    show = visualise.detection(CLASSES, keypoints=["ear", "tail"], limbs=[(0, 1)])
    plain = SHOW.draw(EXAMPLE, PREDICTION, side=200)
    drawn = show.draw(EXAMPLE, PREDICTION | SHAPES, side=200)
    changed = (plain != drawn).any(-1)
    # Within the half of the dog, and not beside it, where no limb is either.
    assert changed[100:110, 30:60].all() and not changed[100:110, 75:85].any()
    limb = (drawn == visualise.class_colour(0)).all(-1)
    assert limb[[45, 60, 75], [45, 60, 75]].all()
    seen = EXAMPLE | {
        "instances": np.ones((3, 32, 32), np.uint8),  # of a canvas
        "keypoints": np.zeros((3, 2, 3), np.float32),
        "taken": np.float32([0, 0, 20, 16]),
        "canvas": np.ones((16, 20), np.uint8),
    }
    prediction = PREDICTION | SHAPES
    one = judged(Shown("worst 1: image 7", 1.0, seen, seen, prediction), 0.3)
    assert one.truth["instances"].shape == (2, 16, 20)
    # The surest is last, in all that is known of it.
    (found,) = show.together([Pictured("a", (16, 20), prediction)]).values()
    outline = json.loads(found)["annotations"][0]["segmentation"]
    np.testing.assert_array_equal(one.found["instances"][1], decoded(outline))
    boxes_alone = judged(Shown("worst 1: image 7", 1.0, seen, seen, PREDICTION), 0.3)
    assert not {"instances", "keypoints"} & boxes_alone.truth.keys()
    (_, pictures), *_ = misses([one], CLASSES, [(0, 1)])
    assert len(pictures) == 2
    averages = {f"per_class_{kind}ap": np.array([0.5, 0.25]) for kind in ("", "mask_")}
    once = gallery(seen, EXAMPLE)._replace(prediction=rows(prediction))
    figures = show.figures(Galleries(once, once), averages)
    assert {"average_precision.png", "mask_average_precision.png"} <= figures.keys()


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
