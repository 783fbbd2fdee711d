"""Pasted objects: every mask, box and pixel agrees, and what is hidden shrinks."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxvision.errors import UsageError
from jaxvision.ops import augment

COUNT, HEIGHT, WIDTH, OBJECTS = 8, 24, 32, 3
KEY = jax.random.key(3)
LEAST = 0.3


def colour(example, place):
    return 20 + 10 * (OBJECTS * example + place)


@pytest.fixture(scope="module")
def batch():
    """Grey rectangles on black, the last of each image a crowd, the second padding."""
    random = np.random.default_rng(0)
    image = np.zeros((COUNT, HEIGHT, WIDTH, 1), np.uint8)
    instances = np.zeros((COUNT, OBJECTS, HEIGHT, WIDTH), np.uint8)
    boxes = np.zeros((COUNT, OBJECTS, 4), np.float32)
    classes = np.full((COUNT, OBJECTS), -1, np.int32)
    for i in range(COUNT):
        for j, left in ((0, 0), (2, WIDTH // 2)):
            x, y = left + random.integers(0, 5), random.integers(0, HEIGHT - 12)
            image[i, y : y + 12, x : x + 10] = colour(i, j)
            instances[i, j, y : y + 12, x : x + 10] = 1
            boxes[i, j], classes[i, j] = (x, y, x + 10, y + 12), OBJECTS * i + j
    crowd = np.tile(np.uint8([0, 0, 1]), (COUNT, 1))
    return dict(
        image=image, boxes=boxes, classes=classes, crowd=crowd, instances=instances
    )


@pytest.fixture(scope="module")
def made(batch):
    """By one device, and by eight."""
    paste = jax.jit(augment.copy_paste(share=0.8, zoom=(1.0, 1.6), min_visible=LEAST))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    one, eight = (jax.tree.map(np.asarray, paste(KEY, each)) for each in (batch, split))
    jax.tree.map(np.testing.assert_array_equal, one, eight)
    return one


def test_masks_boxes_and_pixels_agree(batch, made):
    assert made["classes"].shape == (COUNT, 2 * OBJECTS)
    hidden = vanished = 0
    for i in range(COUNT):
        classes, masks = made["classes"][i], made["instances"][i] > 0
        assert (masks.sum(0) <= 1).all()  # nothing is behind anything
        assert not masks[classes < 0].any() and not made["boxes"][i, classes < 0].any()
        pasted = masks[OBJECTS:].any(0)
        np.testing.assert_array_equal(
            made["image"][i][~pasted], batch["image"][i][~pasted]
        )
        assert set(classes[OBJECTS:]) <= {-1, OBJECTS * ((i - 1) % COUNT)}  # no crowd
        for j in np.flatnonzero(classes >= 0):
            rows, columns = np.nonzero(masks[j])
            tight = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            np.testing.assert_array_equal(made["boxes"][i, j], tight)
            inside = made["image"][i][masks[j]]
            wanted = colour(*divmod(classes[j], OBJECTS))
            assert np.mean(abs(inside.astype(int) - wanted) <= 1) > 0.7  # but for edges
        for j in range(OBJECTS):
            before = batch["instances"][i, j].sum()
            left = (batch["instances"][i, j] > 0) & ~pasted
            if before and left.sum() < before:
                stays = left.sum() >= LEAST * before
                np.testing.assert_array_equal(masks[j], left & stays)
                hidden, vanished = hidden + stays, vanished + (not stays)
    assert hidden and vanished


def test_nothing_is_pasted_where_nothing_is_drawn(batch):
    never = jax.jit(augment.copy_paste(probability=0.0, most=2))(KEY, batch)
    np.testing.assert_array_equal(never["image"], batch["image"])
    np.testing.assert_array_equal(
        np.sort(never["classes"]), np.sort(batch["classes"])[:, 1:]
    )


def test_batches_without_masks_and_of_evaluations_are_refused(batch):
    paste = augment.copy_paste()
    boxes = {name: batch[name] for name in ("image", "boxes", "classes")}
    with pytest.raises(UsageError, match="has boxes, classes, image alone"):
        paste(KEY, boxes)
    with pytest.raises(UsageError, match="copy_paste is for training"):
        paste(KEY, {**batch, "mask": np.ones(COUNT, bool)})
    with pytest.raises(UsageError, match="share must be"):
        augment.copy_paste(share=1.5)
