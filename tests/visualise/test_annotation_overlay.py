import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError

NAMES = ["cat", "dog", "eel"]
GREY = np.full((40, 60, 3), 100, np.uint8)
CAT, DOG = (np.array(visualise.class_colour(k), float) for k in range(2))


def drawn(names=NAMES, side=60, image=GREY, **annotations):
    return visualise.overlay({"image": image, **annotations}, names, side=side)


def mixed(colour):
    return np.round((colour + 100) / 2)


def test_an_image_with_nothing_but_a_label_stays_as_it_is():
    assert drawn() is GREY
    assert drawn(label=np.int32(1)) is GREY


def test_the_longer_side_is_as_long_as_is_asked():
    numbers = np.zeros((40, 60), np.uint8)
    assert drawn(side=480, segmentation=numbers).shape == (320, 480, 3)
    wide = np.zeros((2, 500, 1), np.uint8)
    assert drawn(image=wide, presence=np.array([0, 0, 1])).shape == (1, 60, 3)


def test_each_class_of_a_segmentation_has_its_colour():
    numbers = np.zeros((40, 60), np.uint8)
    numbers[:, 20:], numbers[:, 40:] = 1, 255
    shown = drawn(segmentation=numbers)
    assert (shown[:, :20] == mixed(CAT)).all()
    assert (shown[:, 20:40] == mixed(DOG)).all()
    unknown = shown[0, 50]
    assert (shown[:, 40:] == unknown).all() and unknown[0] == unknown[1] == unknown[2]


def objects(*classes, **more):
    boxes = np.zeros((3, 4), np.float32)
    boxes[0], boxes[1] = (10, 10, 30, 30), (30, 10, 60, 40)
    return {"boxes": boxes, "classes": np.array(classes, np.int32), **more}


def test_boxes_lie_on_the_outermost_pixels_inside_of_them():
    shown = drawn(names=["", "", ""], **objects(0, 1, -1))
    cat = (shown == CAT).all(-1)
    # Below the patch of the name.
    assert np.flatnonzero(cat[25]).tolist() == [10, 29]
    assert np.flatnonzero(cat[29]).tolist() == list(range(10, 30))
    assert not cat[30:].any()
    dog = (shown == DOG).all(-1)
    assert np.flatnonzero(dog[25]).tolist() == [30, 59]
    assert (shown[:, :10] == 100).all()


def test_places_without_an_object_are_not_drawn():
    everything = {
        "instances": np.ones((3, 40, 60), np.uint8),
        "keypoints": np.full((3, 2, 3), 2.0, np.float32),
        "crowd": np.zeros(3, np.uint8),
    }
    assert (drawn(**objects(-1, -1, -1), **everything) == 100).all()


def test_limbs_join_what_is_labelled():
    points = np.zeros((3, 3, 3), np.float32)
    points[0] = (15, 20, 2), (25, 20, 1), (40, 35, 0)
    example = objects(0, -1, -1, keypoints=points) | {"image": GREY}
    limbs = [(2, 0), (0, 1)]
    shown = visualise.overlay(example, ["", "", ""], side=60, limbs=limbs)
    bones = (shown == DOG).all(-1)  # the second limb has the second colour
    assert bones[20, 18:22].all() and not bones[25:].any()
    assert not (visualise.overlay(example, [""] * 3, side=60) == DOG).all(-1).any()


def test_outlines_follow_the_edges_of_pixels():
    mask = np.zeros((3, 40, 60), np.uint8)
    mask[0, 12:20, 12:28] = 1
    mask[0, 14:16, 14:16] = 0
    plain = objects(0, -1, -1, instances=mask)
    shown = drawn(names=[""] * 3, side=600, **plain)
    cat = (shown == CAT).all(-1)
    for row, column in ((119, 200), (200, 200), (150, 120), (150, 279), (150, 140)):
        assert cat[row - 2 : row + 3, column - 2 : column + 3].any()
    assert not cat[170:195, 165:275].any() and not cat[142:158, 143:157].any()


def test_instances_are_seen_through_and_crowds_are_grey():
    instances = np.zeros((3, 40, 60), np.uint8)
    instances[0, 12:28, 12:28] = 1
    instances[1, 12:38, 32:58] = 1
    crowd = np.array([0, 1, 0], np.uint8)
    annotations = objects(0, 1, -1, instances=instances, crowd=crowd)
    shown = drawn(names=["", "", ""], **annotations)
    assert (shown[26, 20] == mixed(CAT)).all()
    grey = shown[36, 56]
    assert grey[0] == grey[1] == grey[2] and not (shown == DOG).all(-1).any()


def test_keypoints_are_drawn_where_they_are_unless_they_are_not_labelled():
    points = np.zeros((3, 3, 3), np.float32)
    points[0] = (20, 25, 2), (25, 20, 1), (0, 0, 0)
    annotations = objects(0, -1, -1, keypoints=points)
    with_points = drawn(side=600, **annotations)
    without = drawn(side=600, **objects(0, -1, -1))
    changed = np.argwhere((with_points != without).any(-1))
    near = [np.abs(changed - place).max(1) <= 5 for place in ((250, 200), (200, 250))]
    assert (near[0] ^ near[1]).all() and near[0].any() and near[1].any()
    assert (with_points[250, 200] == CAT).all()
    assert (with_points[200, 250] == 100).all()  # a ring is open


def test_names_are_written(monkeypatch):
    from PIL import ImageDraw

    written = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, xy, text, **options: written.append(text),
    )
    drawn(presence=np.array([1, 0, 1], np.uint8))
    drawn(presence=np.zeros(3, np.uint8))
    drawn(**objects(2, 1, -1, crowd=np.array([0, 1, 0])))
    assert written == ["cat, eel", "none", "eel", "dog (crowd)"]


def test_classes_have_different_colours():
    colours = [visualise.class_colour(k) for k in range(100)]
    assert len(set(colours)) == 100
    assert all(0 <= level <= 255 for colour in colours for level in colour)


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"image": GREY.astype(float)}, "image must be uint8"),
        ({"image": GREY[..., 0]}, "image must be uint8"),
        (objects(3, -1, -1), "classes must be below 3"),
    ],
)
def test_what_cannot_be_drawn(annotations, message):
    with pytest.raises(UsageError, match=message):
        drawn(**annotations)
