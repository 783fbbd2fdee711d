"""Image, mask, boxes and keypoints move together, and back, on random cases.

Images here carry their own coordinates: the first two channels of each pixel are the x
and y of its centre.  Whatever moved such an image, its values say where each pixel came
from, which is what the labels are compared with.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import augment
from jaxvision.ops.augment import warping
from jaxvision.types import UNKNOWN

COUNT, HEIGHT, WIDTH = 4, 12, 14
NOWHERE = -99.0
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=12, deadline=None, derandomize=True)

TRANSFORMS = {
    "horizontal flip": augment.horizontal_flip(mirrored_keypoints=(0, 1)),
    "vertical flip": augment.vertical_flip(mirrored_keypoints=(0, 1)),
    "pad": augment.pad(2, NOWHERE),
    "shift": augment.random_shift(4, NOWHERE),
    "crop": augment.random_crop((8, 10), padding=2, value=NOWHERE),
    "affine": augment.random_affine(
        degrees=180, translation=0.2, zoom=(0.6, 2), shear=0.4, fill=NOWHERE
    ),
    "perspective": augment.random_perspective(0.6, fill=NOWHERE),
    "elastic": augment.random_elastic(1.0, fill=NOWHERE),
}
COMPILED = {name: jax.jit(transform) for name, transform in TRANSFORMS.items()}


@functools.partial(jax.jit, static_argnums=2)
def warp(batch, matrix, min_visible=0.1):
    return augment.warp(batch, matrix, min_visible=min_visible)


affine, perspective = (
    jax.jit(make, static_argnums=0) for make in (warping.affine, warping.perspective)
)


def scene(seed):
    """Images of coordinates, with two objects whose masks fill their boxes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    images = np.broadcast_to(np.stack([x, y], -1), (COUNT, HEIGHT, WIDTH, 2))
    low = random.integers(0, 8, (COUNT, 3, 2))
    high = low + random.integers(1, 5, low.shape)
    boxes = np.concatenate([low, np.minimum(high, [WIDTH, HEIGHT])], -1)
    boxes[:, 2] = 0
    inside = (
        (x >= boxes[..., 0, None, None])
        & (x < boxes[..., 2, None, None])
        & (y >= boxes[..., 1, None, None])
        & (y < boxes[..., 3, None, None])
    )
    keypoints = np.zeros((COUNT, 3, 2, 3))
    keypoints[:, :2, :, :2] = random.uniform(1, 11, (COUNT, 2, 2, 2))
    keypoints[:, :2, :, 2] = random.integers(0, 3, (COUNT, 2, 2))
    keypoints[keypoints[..., 2] == 0] = 0
    segmentation = (np.floor(y) * WIDTH + np.floor(x)).astype(np.uint8)  # 167 at most
    return {
        "image": jnp.asarray(images, jnp.float32),
        "segmentation": jnp.broadcast_to(segmentation, (COUNT, HEIGHT, WIDTH)),
        "boxes": jnp.asarray(boxes, jnp.float32),
        "classes": jnp.broadcast_to(jnp.array([3, 0, -1]), (COUNT, 3)),
        "crowd": jnp.broadcast_to(jnp.array([1, 0, 0], jnp.uint8), (COUNT, 3)),
        "instances": jnp.asarray(inside, jnp.uint8),
        "keypoints": jnp.asarray(keypoints, jnp.float32),
    }


def on_host(batch):
    return {name: np.asarray(array) for name, array in batch.items()}


@pytest.mark.parametrize("name", TRANSFORMS)
@given(seed=seeds)
@few
def test_masks_and_points_are_where_the_image_says(name, seed):
    before = on_host(scene(seed))
    after = on_host(COMPILED[name](jax.random.key(seed), before))
    x, y = after["image"][..., 0], after["image"][..., 1]
    known = x != NOWHERE

    # Masks: the nearest pixel of where the image came from; at the rim of the image,
    # where coordinates are clipped, and at the borders of pixels, it may be either.
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    clear = known & (np.abs(x - np.round(x)) > 0.01) & (np.abs(y - np.round(y)) > 0.01)
    segmentation = after["segmentation"]
    np.testing.assert_array_equal(
        segmentation[clear], row[clear] * WIDTH + column[clear]
    )
    np.testing.assert_array_equal(segmentation == UNKNOWN, ~known)
    for i, m, r, c in np.argwhere(after["instances"] != 0):
        r, c = divmod(int(segmentation[i, r, c]), WIDTH)
        assert before["instances"][i, m, r, c]

    # Points: the image read where a point came to lie tells where it was.
    for i, m, k in np.argwhere(after["keypoints"][..., 2] > 0):
        px, py, visibility = after["keypoints"][i, m, k]
        assert visibility == before["keypoints"][i, m, k, 2]
        r, c = int(py - 0.5), int(px - 0.5)
        corner = (slice(r, r + 2), slice(c, c + 2))
        if min(r, c) < 0 or known[i][corner].size < 4 or not known[i][corner].all():
            continue
        down, across = py - 0.5 - r, px - 0.5 - c
        weights = np.outer([1 - down, down], [1 - across, across])
        sources = after["image"][i][corner]
        place = (sources * weights[..., None]).sum((0, 1))
        rim = (sources <= 0.5) | (sources >= [WIDTH - 0.5, HEIGHT - 0.5])
        if not rim.any():  # where coordinates are cut off
            # Some bend between pixels.
            slack = {"perspective": 0.25, "elastic": 0.1}.get(name, 1e-3)
            expected = before["keypoints"][i, m, k, :2]
            np.testing.assert_allclose(place, expected, atol=slack)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(seed=seeds)
@few
def test_boxes_bound_the_masks_and_gone_objects_are_gone(name, seed):
    before = on_host(scene(seed))
    after = on_host(COMPILED[name](jax.random.key(seed), before))
    height, width = after["image"].shape[1:3]
    for i in range(COUNT):
        for m in range(3):
            mask, box = after["instances"][i, m], after["boxes"][i, m]
            rest = [after["crowd"][i, m], box, mask, after["keypoints"][i, m]]
            if after["classes"][i, m] < 0:
                assert not any(np.any(entry) for entry in rest)
                continue
            assert after["classes"][i, m] == before["classes"][i, m]
            assert after["crowd"][i, m] == before["crowd"][i, m]
            rows, columns = np.nonzero(mask)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_array_equal(box, tight)
            assert (box >= 0).all() and (box <= [width, height] * 2).all()
    assert (after["classes"][:, 2] == -1).all()


@given(seed=seeds)
@few
def test_boxes_without_masks_bound_the_moved_corners(seed):
    """The corners are moved as keypoints, which another path computes."""
    random = np.random.default_rng(seed)
    low = random.uniform(2, 6, (COUNT, 1, 2))
    high = low + random.uniform(1, 5, low.shape)
    x0, y0, x1, y1 = low[..., 0], low[..., 1], high[..., 0], high[..., 1]
    corners = np.stack([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], 0)  # [4,2,COUNT,1]
    keypoints = np.ones((COUNT, 1, 4, 3))
    keypoints[..., :2] = np.moveaxis(corners, (0, 1), (2, 3))
    batch = scene(seed) | {
        "boxes": jnp.asarray(np.concatenate([low, high], -1), jnp.float32),
        "keypoints": jnp.asarray(keypoints, jnp.float32),
        "classes": jnp.zeros((COUNT, 1), jnp.int32),
        "crowd": jnp.zeros((COUNT, 1), jnp.uint8),
    }
    del batch["instances"]
    after = on_host(COMPILED["affine"](jax.random.key(seed), batch))
    for i in range(COUNT):
        places = after["keypoints"][i, 0]
        if (places[:, 2] == 1).all():  # no corner left the image, and none was dropped
            expected = [*places[:, :2].min(0), *places[:, :2].max(0)]
            np.testing.assert_allclose(after["boxes"][i, 0], expected, atol=1e-4)


@given(
    angle=st.floats(-3.1, 3.1),
    zoom=st.floats(0.4, 2.5),
    shear=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    move=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    seed=seeds,
)
@few
def test_a_matrix_and_its_inverse_return_every_point(angle, zoom, shear, move, seed):
    numbers = (jnp.array([value], jnp.float32) for value in (angle, move, zoom, shear))
    names = ("angle", "translation", "zoom", "shear")
    matrices = affine((HEIGHT, WIDTH), **dict(zip(names, numbers, strict=True)))
    random = np.random.default_rng(seed)
    inwards = random.uniform(0, 0.4, (4, 2))
    places = np.abs([[0, 0], [1, 0], [1, 1], [0, 1]] - inwards) * [WIDTH, HEIGHT]
    tilt = perspective((HEIGHT, WIDTH), jnp.asarray(places[None], jnp.float32))
    points = jnp.asarray(random.uniform(0, 12, (1, 9, 2)), jnp.float32)
    for matrix in (matrices, tilt):
        there = jax.jit(warping.apply)(matrix, points)
        back = jax.jit(warping.apply)(jax.jit(warping.inverse)(matrix), there)
        np.testing.assert_allclose(back, points, atol=2e-3)
    corners = jnp.array([[[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]], float)
    np.testing.assert_allclose(
        jax.jit(warping.apply)(tilt, corners)[0], places, atol=1e-4
    )


def test_an_image_that_is_warped_and_warped_back_is_itself():
    """A smooth image, in its middle: two interpolations cost little there."""
    y, x = np.mgrid[:40, :40] / 40
    smooth = 100 + 60 * np.sin(5 * x) + 60 * np.cos(4 * y)
    batch = {"image": jnp.asarray(smooth[None, :, :, None], jnp.float32)}
    matrix = affine(
        (40, 40),
        angle=jnp.array([0.4]),
        translation=jnp.array([[2.0, -1.0]]),
        zoom=jnp.array([1.2]),
        shear=jnp.array([[0.1, 0.0]]),
    )
    there = warp(batch, matrix)
    back = warp(there, warping.inverse(matrix))
    middle = (0, slice(14, 26), slice(14, 26), 0)
    np.testing.assert_allclose(back["image"][middle], batch["image"][middle], atol=0.5)
    assert np.abs(there["image"] - batch["image"])[middle].max() > 10


def test_a_resized_crop_keeps_points_on_what_they_mark():
    """A dot is painted, cropped and enlarged; its keypoint is in its middle."""
    images = np.zeros((32, 24, 24, 1), np.uint8)
    images[:, 11:13, 9:11] = 255
    keypoints = np.broadcast_to([10.0, 12.0, 2.0], (32, 1, 1, 3))
    boxes = np.broadcast_to([9.0, 11.0, 11.0, 13.0], (32, 1, 4))
    batch = {
        "image": jnp.asarray(images),
        "segmentation": jnp.asarray(images[..., 0] // 255),
        "boxes": jnp.asarray(boxes, jnp.float32),
        "classes": jnp.zeros((32, 1), jnp.int32),
        "keypoints": jnp.asarray(keypoints, jnp.float32),
    }
    crop = jax.jit(augment.random_resized_crop(48))
    after = on_host(crop(jax.random.key(0), batch))
    seen = 0
    for i in range(32):
        x, y, visible = after["keypoints"][i, 0, 0]
        if not visible or min(x, y) < 8 or max(x, y) > 40:
            continue
        weights = after["image"][i, ..., 0] / after["image"][i].sum()
        rows, columns = np.mgrid[:48, :48] + 0.5
        centre = (weights * columns).sum(), (weights * rows).sum()
        np.testing.assert_allclose(centre, (x, y), atol=0.2)
        rows, columns = np.nonzero(after["segmentation"][i] == 1)
        mask = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(after["boxes"][i, 0], mask, atol=0.51)
        seen += 1
    assert seen > 5
    assert (after["image"].shape, after["segmentation"].shape) == (
        (32, 48, 48, 1),
        (32, 48, 48),
    )


@pytest.mark.parametrize(
    "min_visible, classes, first",
    [
        (0.5, [0, -1, -1, -1], [2, 2, 6, 6]),
        (0.25, [0, 1, -1, -1], [2, 2, 6, 6]),
        (0, [0, 1, 2, -1], [2, 2, 6, 6]),
        (None, [0, 1, 2, 3], [2, 2, 6, 6]),
    ],
)
def test_what_leaves_the_image_is_clipped_dropped_or_kept(min_visible, classes, first):
    """Moved by four to the right, of which 4, 1, ½ and 0 of 4 columns stay."""
    boxes = [[-2, 2, 2, 6], [7, 0, 11, 4], [7.5, 4, 11.5, 8], [9, 4, 12, 8]]
    batch = {
        "image": jnp.zeros((1, 12, 12, 1), jnp.uint8),
        "boxes": jnp.array([boxes], jnp.float32),
        "classes": jnp.array([[0, 1, 2, 3]]),
        "keypoints": jnp.array([[[[x0 + 1, y0 + 1, 2]] for x0, y0, _, _ in boxes]]),
    }
    matrix = jnp.array([[[1.0, 0, 4], [0, 1, 0], [0, 0, 1]]])
    after = on_host(warp(batch, matrix, min_visible))
    assert after["classes"][0].tolist() == classes
    assert after["boxes"][0, 0].tolist() == first
    if min_visible is None:
        assert after["boxes"][0, 3].tolist() == [13, 4, 16, 8]
    else:
        assert after["boxes"].max() <= 12
        assert not after["boxes"][0, after["classes"][0] < 0].any()
    # A keypoint outside is gone, whether or not its object stays.
    stays = [[x0 + 5, y0 + 1, 2] if x0 + 5 <= 12 else [0, 0, 0] for x0, y0, *_ in boxes]
    stays = [k if c >= 0 else [0, 0, 0] for k, c in zip(stays, classes, strict=True)]
    assert after["keypoints"][0, :, 0].tolist() == stays


def test_an_object_goes_with_the_last_pixel_of_its_mask():
    mask = np.zeros((1, 2, 8, 8), np.uint8)
    mask[0, 0, :, 6:] = 1  # of a box that stays half visible
    batch = {
        "image": jnp.zeros((1, 8, 8, 1), jnp.uint8),
        "boxes": jnp.array([[[0, 0, 8, 8], [0, 0, 8, 8]]], jnp.float32),
        "classes": jnp.array([[5, 6]]),
        "instances": jnp.asarray(mask),
    }
    matrix = jnp.array([[[1.0, 0, 3], [0, 1, 0], [0, 0, 1]]])
    for min_visible, classes in ((0.1, [-1, 6]), (None, [5, 6])):
        after = warp(batch, matrix, min_visible)
        assert after["classes"].tolist() == [classes]  # the second never had a mask


def test_mirrored_keypoints_change_sides():
    keypoints = np.array([[[[1, 1, 2], [2, 3, 1], [5, 3, 2]]]], np.float32)
    batch = {"image": jnp.zeros((1, 8, 8, 1)), "keypoints": jnp.asarray(keypoints)}
    flip = jax.jit(augment.horizontal_flip(1.0, mirrored_keypoints=(0, 2, 1)))
    after = flip(jax.random.key(0), batch)["keypoints"]
    assert after[0, 0].tolist() == [[7, 1, 2], [3, 3, 2], [6, 3, 1]]
    again = flip(jax.random.key(0), batch | {"keypoints": after})["keypoints"]
    np.testing.assert_array_equal(again, keypoints)
    # Or the batch says it, as those of a set that knows its skeleton.
    told = batch | {"mirrored": jnp.array([[0, 2, 1]])}
    same = jax.jit(augment.vertical_flip(1.0))(jax.random.key(0), told)["keypoints"]
    assert same[0, 0].tolist() == [[1, 7, 2], [5, 5, 2], [2, 5, 1]]


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_crops_see_numpys_padding(mode):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 5, 6, 3)).astype(np.uint8)
    value = dict(constant_values=9) if mode == "constant" else {}
    crop = augment.random_crop((4, 7), padding=3, mode=mode, value=9)
    segmentation = jnp.zeros((40, 5, 6), jnp.uint8)
    batch = {"image": jnp.asarray(images), "segmentation": segmentation}
    after = on_host(jax.jit(crop)(jax.random.key(1), batch))
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode=mode, **value)
    unknown = np.pad(np.zeros((5, 6)), 3, constant_values=255)
    windows = set()
    for i in range(40):
        found = [
            (y, x)
            for y in range(8)
            for x in range(6)
            if (padded[i, y : y + 4, x : x + 7] == after["image"][i]).all()
            and (unknown[y : y + 4, x : x + 7] == after["segmentation"][i]).all()
        ]
        assert found
        windows.add(found[0])
    assert len(windows) > 20
