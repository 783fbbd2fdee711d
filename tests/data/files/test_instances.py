"""Masks that number objects are a data set of objects; what is wrong has a path."""

from pathlib import Path

import numpy as np
import pytest

from jaxvision.data import registry
from jaxvision.errors import UsageError
from tests.data.files.test_masks import mask, photo

SHAPES = [
    {1: (0, 0, 3, 2), 4: (2, 1, 8, 6)},  # x_min, y_min, x_max, y_max of each number
    {},
    {2: (5, 3, 6, 4)},
]


def numbered(objects) -> np.ndarray:
    """[6,8]; the last pixel is unknown."""
    found = np.zeros((6, 8), np.uint8)
    for number, (left, top, right, bottom) in objects.items():
        found[top:bottom, left:right] = number
    found[5, 7] = 255
    return found


@pytest.fixture
def people(tmp_path) -> Path:
    for split, shapes in (("train", SHAPES), ("test", SHAPES[:1])):
        for i, objects in enumerate(shapes):
            photo(tmp_path / split / "images" / f"{i}.jpg")
            mask(tmp_path / split / "masks" / f"{i}.png", numbered(objects))
    (tmp_path / "classes.txt").write_text("person\n")
    return tmp_path


def load(root: Path):
    return registry.load(f"instances:{root}")


def refused(root: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(root)
    return str(caught.value)


def test_each_number_is_an_object_with_a_box_and_a_mask(people):
    train, test, _ = load(people)
    assert (train.size, test.size) == (3, 1)
    assert train.class_names == ("person",)
    batch = train.read()
    assert batch.keys() == {"image", "boxes", "classes", "crowd", "instances"}
    assert batch["classes"].tolist() == [[0, 0], [-1, -1], [0, -1]]
    assert not batch["crowd"].any()
    for i, objects in enumerate(SHAPES):
        for k, (number, box) in enumerate(objects.items()):
            assert batch["boxes"][i, k].tolist() == list(box)
            seen = numbered(objects) == number
            np.testing.assert_array_equal(batch["instances"][i, k], seen)
        assert not batch["instances"][i, len(objects) :].any()


def test_without_a_name_objects_are_objects(people):
    (people / "classes.txt").unlink()
    assert load(people).train.class_names == ("object",)


def test_what_is_wrong_is_named(people):
    mask(people / "train/masks/1.png", np.zeros((4, 8)))
    assert (
        "train/masks/1.png is 4×8 (height × width), its image train/images/1.jpg 6×8"
        in refused(people)
    )
    (people / "classes.txt").write_text("person\ncar\n")
    assert "tell objects apart, which are of one class" in refused(people)
    (people / "train/masks/1.png").unlink()
    assert "train/images/1.jpg has no mask in train/masks/" in refused(people)
