"""Each object of a set as an example, and the crop around it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import data
from jaxvision.data.feed.crops import Box, is_random
from jaxvision.data.feed.streaming import PADDING, Plan, stream
from jaxvision.errors import UsageError
from jaxvision.ops.augment import random_affine
from jaxvision.tasks import frames

NAME = "objects:scenes:48x64x3:6:3"


@pytest.fixture(scope="module")
def splits():
    return data.load(NAME)


def test_an_example_has_one_object_and_its_image(splits):
    whole = data.load(NAME.removeprefix("objects:")).test
    every, alone = whole.read(), splits.test.read()
    images, slots = np.nonzero((every["keypoints"][..., 2] > 0).any(-1))
    assert splits.test.size == len(images) > whole.size
    np.testing.assert_array_equal(alone["origin"], images)
    np.testing.assert_array_equal(alone["image"], every["image"][images])
    for name in ("boxes", "classes", "keypoints", "instances"):
        np.testing.assert_array_equal(alone[name][:, 0], every[name][images, slots])
    targets = splits.test.targets()
    np.testing.assert_array_equal(targets["keypoints"], alone["keypoints"])
    np.testing.assert_array_equal(
        splits.test.maps(4)["instances"], alone["instances"][4]
    )


def test_no_image_is_in_two_splits(splits):
    found = [each.read()["image"] for each in (splits.train, splits.validation)]
    train, validation = ({image.tobytes() for image in images} for images in found)
    assert train and validation and not train & validation


def test_a_crop_is_around_its_object(splits):
    crop = data.object_crop((32, 24), padding=1.5)
    source = splits.test
    count = source.size

    def plan(number):
        examples = np.array([*range(count), PADDING], np.int32)
        return Plan(examples, lambda row, example: [])

    rows, options = slice(None), dict(workers=0, prefetch=0, stop=1)
    whole = stream(source, crop, plan, rows, canvas=(48, 64), **options)(0)
    moved = stream(source, crop, plan, rows, **options)(0)
    left, top, right, bottom = whole["boxes"][:count, 0].T
    taken = whole["taken"][:count]
    np.testing.assert_allclose(
        (taken[:, :2] + taken[:, 2:]) / 2,
        np.stack([left + right, top + bottom], -1) / 2,
        atol=1,
    )
    width, height = (taken[:, 2:] - taken[:, :2]).T
    np.testing.assert_allclose(width / height, 24 / 32, rtol=0.1)
    larger = np.maximum((right - left) / width, (bottom - top) / height)
    np.testing.assert_allclose(larger, 1 / 1.5, rtol=0.1)

    # What is predicted in the crop belongs to the original, and there and back.
    batch = {"image": whole["image"][:count], "taken": taken}
    batch = jax.tree.map(jnp.asarray, batch)
    points = jnp.asarray(whole["keypoints"][:count, 0, :, :2])
    seen = frames.points_as_seen(points, batch)
    back = frames.points_in_original(seen, batch)
    np.testing.assert_allclose(back, points, atol=1e-4)
    known = moved["keypoints"][:count, 0, :, 2] > 0
    np.testing.assert_allclose(
        np.asarray(seen)[known], moved["keypoints"][:count, 0, :, :2][known], atol=1e-4
    )


def test_without_an_object_all_is_taken():
    crop = data.object_crop(20, padding=1)
    assert crop.choose(10, 30, iter(())) == Box(-10, 0, 30, 30)
    nothing = {"boxes": np.zeros((1, 4), np.float32)}
    assert crop.of(nothing).choose(10, 30, iter(())) == Box(-10, 0, 30, 30)
    zoomed = data.object_crop(20, padding=1, zoom=(0.5, 1.5))
    assert is_random(zoomed) and not is_random(crop)
    one = {"boxes": np.array([[2, 2, 12, 12]], np.float32)}
    assert zoomed.of(one).choose(30, 30, iter([0.0])) == Box(4, 4, 5, 5)
    with pytest.raises(UsageError, match="have no boxes, only label"):
        crop.of({"label": np.int32(1)})


def test_what_is_seen_beyond_a_crop_comes_into_turned_images():
    """Around the centre all is as it would be of an image without a border."""
    wide = jnp.broadcast_to(jnp.float32(7), (2, 24, 32, 1))
    keypoints = jnp.tile(jnp.float32([[[[16, 12, 2], [18, 12, 2]]]]), (2, 1, 1, 1))
    batch = {"image": wide, "keypoints": keypoints}
    turn = jax.jit(random_affine(degrees=180.0, size=(10, 14)))
    turned = turn(jax.random.key(0), batch)
    assert turned["image"].shape == (2, 10, 14, 1)
    np.testing.assert_allclose(turned["image"], 7, rtol=1e-6)
    centre, other = np.moveaxis(np.asarray(turned["keypoints"][:, 0, :, :2]), 1, 0)
    np.testing.assert_allclose(centre, [[7, 5]] * 2, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(other - centre, axis=-1), 2, rtol=1e-5)


def test_sets_without_objects_are_refused():
    with pytest.raises(UsageError, match="no objects with boxes, only label"):
        data.load("objects:synthetic:8x8x1:2")
