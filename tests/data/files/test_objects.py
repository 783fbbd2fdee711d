"""From declared objects to the arrays of a batch."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxvision import run_lengths
from jaxvision.data.files.objects import (
    Listed,
    Object,
    annotate,
)
from jaxvision.errors import UsageError

NAMES = ("cat", "dog")
BOX = (1.0, 2.0, 5.0, 4.0)


def listed(*images, sizes=None):
    """A split of images of 6×8 pixels, each with these objects."""
    shapes = [(*(sizes[i] if sizes else (6, 8)), 3) for i in range(len(images))]
    paths = tuple(f"{i}.jpg" for i in range(len(images)))
    return Listed(paths, np.array(shapes, np.int32), images)


def annotated(*splits, names=NAMES, problems=()):
    return annotate("the set", names, splits, list(problems))


def refused(*splits, **options) -> list[str]:
    with pytest.raises(UsageError) as caught:
        annotated(*splits, **options)
    lines = str(caught.value).splitlines()
    assert lines[0] == "the set cannot be used; correct this:"
    return [line.strip() for line in lines[1:]]


def both(*boxes):
    """Objects of these boxes, of both classes in turn."""
    return [Object(f"line {k}", k % 2, box) for k, box in enumerate(boxes)]


def test_rooms_are_as_many_as_the_image_with_most_objects_needs():
    one, two = annotated(
        listed(both(BOX, (0, 0, 8, 6)), []),
        listed(both(BOX, (0, 0, 1, 1), (2.5, 0, 3, 0.25))),
    )
    assert one.paths == ("0.jpg", "1.jpg")
    assert one.targets.keys() == {"boxes", "classes", "crowd"}
    assert {key: array.dtype.name for key, array in one.targets.items()} == {
        "boxes": "float32",
        "classes": "int32",
        "crowd": "uint8",
    }
    assert one.targets["boxes"].shape == (2, 3, 4)
    assert one.targets["boxes"][0].tolist() == [[*BOX], [0, 0, 8, 6], [0] * 4]
    assert one.targets["classes"].tolist() == [[0, 1, -1], [-1, -1, -1]]
    assert not one.targets["boxes"][1].any()
    assert two.targets["boxes"][0, 2].tolist() == [2.5, 0, 3, 0.25]
    assert one.maps is None


def test_crowds_are_marked():
    objects = [Object("a", 0, BOX), Object("b", 1, BOX, crowd=True)]
    assert annotated(listed(objects))[0].targets["crowd"].tolist() == [[0, 1]]


def test_a_pixel_beyond_the_image_is_clipped_and_more_is_not():
    boxes = [(-1, -0.5, 8.9, 7), (0, 0, 1, 1)]
    (found,) = annotated(listed(both(*boxes)))
    assert found.targets["boxes"][0, 0].tolist() == [0, 0, 8, 6]
    lines = refused(
        listed(
            both((-1.1, 0, 3, 3), (0, 0, 9.1, 3), (0, 0, 3, 7.1), (0, -2, 3, 3)),
            both(
                (3, 3, 3, 5), (3, 5, 4, 5), (5, 3, 4, 4), (8, 0, 8.5, 3), (-1, 0, 0, 3)
            ),
            both((float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)),
        )
    )
    assert lines[:4] == [
        f"0.jpg, line {k}: the box {box} (x_min y_min x_max y_max) is not inside its "
        "image, 6×8 (height × width)"
        for k, box in enumerate(("-1.1 0 3 3", "0 0 9.1 3", "0 0 3 7.1", "0 -2 3 3"))
    ]
    assert ["has no area" in line for line in lines[4:9]] == [True] * 3 + [False] * 2
    assert all(line.startswith("1.jpg, line ") for line in lines[4:9])
    assert all("is not inside its image" in line for line in lines[7:9])
    assert all("is not four finite numbers" in line for line in lines[9:])
    assert len(lines) == 11


def test_each_box_is_held_against_its_own_image():
    large = both(BOX, (0, 0, 30, 20))
    (found,) = annotated(listed(both(BOX), large, sizes=[(6, 8), (20, 30)]))
    assert found.targets["boxes"][1, 1].tolist() == [0, 0, 30, 20]
    (line,) = refused(listed(large, both(BOX), sizes=[(6, 8), (20, 30)]))
    assert line.startswith("0.jpg, line 1: ")


def test_a_long_list_is_cut_and_counted():
    lines = refused(listed(*[both((0, 0, 99, 99))] * 30))
    assert len(lines) == 21
    assert lines[-1] == "… and 10 more"


def test_earlier_problems_are_listed_with_those_found_here():
    lines = refused(listed(both((0, 0, 99, 99))), problems=["something else"])
    assert lines[0] == "something else" and "0 0 99 99" in lines[1]


def test_classes_that_training_does_not_have():
    cat, dog = [Object("a", 0, BOX)], [Object("b", 1, BOX)]
    assert (
        "class dog is in the test split and not in"
        in refused(listed(cat), listed(dog))[0]
    )
    with pytest.warns(UserWarning, match="no example of 1 of the 2 classes: dog"):
        annotated(listed(cat), listed(cat))
    assert refused(listed([]), listed(cat)) == [
        "no object in the images of the training split"
    ]
    assert annotated(listed(cat), names=("cat",))[0].targets["classes"] == [[0]]


def test_keypoints_are_padded_and_those_not_labelled_are_zero():
    objects = [
        Object("a", 0, BOX, keypoints=(1, 2, 2, 3.5, 4, 1, 9, 9, 0)),
        Object("b", 1, BOX, keypoints=(5, 5, 2)),
        Object("c", 1, BOX),
    ]
    points = annotated(listed(objects, []))[0].targets["keypoints"]
    assert (points.shape, points.dtype) == ((2, 3, 3, 3), np.float32)
    assert points[0, 0].tolist() == [[1, 2, 2], [3.5, 4, 1], [0, 0, 0]]
    assert points[0, 1].tolist() == [[5, 5, 2], [0, 0, 0], [0, 0, 0]]
    assert not points[0, 2].any() and not points[1].any()


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        ((1, 2), "2 numbers are not keypoints"),
        ((1, 2, 3), "visibility of a keypoint must be 0, 1 or 2"),
        ((9.5, 2, 2), "a visible keypoint is not inside its image, 6×8"),
        ((1, float("nan"), 1), "the numbers of a keypoint are not finite"),
        ((1, 1e300, 1), "the numbers of a keypoint are not finite"),
    ],
)
def test_keypoints_that_are_none(keypoints, message):
    (line,) = refused(
        listed([*both(BOX, BOX), Object("x", 0, BOX, keypoints=keypoints)])
    )
    assert message in line
    hidden_beyond = Object("x", 0, BOX, keypoints=(20, -3, 1, 8.5, 6.5, 2))
    annotated(listed([*both(BOX, BOX), hidden_beyond]))


# Outlines

SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]


def outlined(*outlines):
    return [Object(f"{k}", k % 2, BOX, outline=each) for k, each in enumerate(outlines)]


def test_polygons_are_filled_when_asked_for():
    (found,) = annotated(listed(outlined(SQUARE, [*SQUARE, [5, 4, 8, 4, 8, 6, 5, 6]])))
    maps = pickle.loads(pickle.dumps(found.maps))
    instances = maps(0)["instances"]
    assert (instances.shape, instances.dtype) == ((2, 6, 8), np.uint8)
    wanted = np.zeros((6, 8))
    wanted[1:3, 1:4] = 1
    np.testing.assert_array_equal(instances[0], wanted)
    wanted[4:6, 5:8] = 1
    np.testing.assert_array_equal(instances[1], wanted)


def test_outlines_are_of_their_own_image():
    splits = listed([], outlined(SQUARE, SQUARE), sizes=[(2, 3), (5, 9)])
    (found,) = annotated(splits)
    assert found.maps(0)["instances"].shape == (2, 2, 3)
    assert not found.maps(0)["instances"].any()
    assert found.maps(1)["instances"].sum() == 12
    rows = found.rows(np.array([False, True]))
    assert rows.shapes.tolist() == [[5, 9, 3]]
    np.testing.assert_array_equal(rows.maps(0)["instances"], found.maps(1)["instances"])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_polygons_cover_the_pixels_that_pycocotools_says():
    from pycocotools import mask

    random = np.random.RandomState(0)
    for _ in range(50):
        height, width = random.randint(2, 60, 2).tolist()
        corners = random.rand(random.randint(3, 9), 2) * (width + 2, height + 2) - 1
        polygons = [corners.ravel().astype(np.float32).tolist()]
        encoded = mask.merge(mask.frPyObjects(polygons, height, width))
        objects = [Object(f"{k}", k, (0, 0, 1, 1), outline=polygons) for k in range(2)]
        (found,) = annotated(listed(objects, sizes=[(height, width)]))
        instances = found.maps(0)["instances"]
        np.testing.assert_array_equal(instances[0], mask.decode(encoded))
        assert instances[1].sum() == mask.area(encoded)


masks = arrays.arrays(
    bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), fill=st.booleans()
)


@settings(max_examples=100, deadline=None)
@given(masks)
def test_run_lengths_are_those_that_pycocotools_writes(pixels):
    from pycocotools import mask

    encoded = mask.encode(np.asfortranarray(pixels, np.uint8))
    lengths = run_lengths.decompressed(encoded["counts"])
    np.testing.assert_array_equal(run_lengths.mask(lengths, *pixels.shape), pixels)
    assert run_lengths.encoded(pixels) == {
        "size": list(pixels.shape),
        "counts": encoded["counts"].decode(),
    }

    for counts in (encoded["counts"], encoded["counts"].decode(), lengths.tolist()):
        outline = {"size": list(pixels.shape), "counts": counts}
        objects = [Object(f"{k}", k, (0, 0, 1, 1), outline=outline) for k in range(2)]
        (found,) = annotated(listed(objects, sizes=[pixels.shape]))
        np.testing.assert_array_equal(found.maps(0)["instances"][1], pixels)


def test_long_runs():
    from pycocotools import mask

    pixels = np.zeros((3_000, 4_000), np.uint8)
    pixels[1_000:, 2_000:3_999] = 1
    encoded = mask.encode(np.asfortranarray(pixels))
    lengths = run_lengths.decompressed(encoded["counts"])
    assert run_lengths.compressed(lengths) == encoded["counts"].decode()
    assert lengths.sum() == pixels.size
    assert lengths[1::2].sum() == pixels.sum()


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ([[1, 1, 2, 2]], "three corners or more"),
        ([[1, 1, 2, 2, 3, 3, 4]], "three corners or more"),
        ([1, 1, 2, 2, 3, 3], "three corners or more"),
        ([[1, 1, 2, "x", 3, 3]], "could not convert"),
        ([[1, 1, 2, float("nan"), 3, 3]], "not finite"),
        ([[1, 1, 2, 1e30, 3, 3]], "far outside the image"),
        ([[-17, 1, 2, 1, 3, 3]], "far outside the image"),
        ({"size": [8, 6], "counts": [48]}, "for an image of [8, 6] and not [6, 8]"),
        ({"size": [6, 8], "counts": [3, 4]}, "add up to 7 pixels"),
        ({"size": [6, 8], "counts": [50, -2]}, "no number of its pixels"),
        ({"size": [6, 8], "counts": [47.5, 0.5]}, "no number of its pixels"),
        ({"size": [6, 8], "counts": [2**62, 2**62, 2**62, 2**62, 48]}, "no number of"),
        ({"size": [6, 8], "counts": [[48]]}, "no number of its pixels"),
        ({"size": [6, 8], "counts": "0"}, "add up to 0"),
        ({"size": [6, 8], "counts": "~~"}, "not a compressed run-length"),
        ({"size": [6, 8], "counts": "P" * 20 + "0"}, "out of range"),
        ({"size": [6, 8], "counts": "\x01"}, "not a compressed run-length"),
        ({"counts": "0"}, "'size'"),
    ],
)
def test_outlines_that_are_none(outline, message):
    (line,) = refused(listed(outlined(SQUARE, outline)))
    assert line.startswith("0.jpg, 1: its outline is invalid: ")
    assert message in line


def test_outlines_of_some_objects_are_not_used_and_that_is_said():
    with pytest.warns(UserWarning, match="1 of 3 objects have a box but no outline"):
        one, two = annotated(listed(outlined(SQUARE, SQUARE)), listed(both(BOX)))
    assert one.maps is None and two.maps is None
