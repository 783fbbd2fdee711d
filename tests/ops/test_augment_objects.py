"""Windows around objects, and frames around images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops import augment
from jaxvision.ops import boxes as box_ops

HEIGHT, WIDTH = 24, 32
COUNT = 64


@pytest.fixture(scope="module")
def batch():
    """Each image has its column and row as colours, and two or no objects."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([columns * 8, rows * 8, np.full_like(rows, 200)], -1)
    boxes = np.zeros((COUNT, 3, 4), np.float32)
    boxes[:-1, :2] = (2, 2, 12, 20), (16, 8, 30, 16)
    classes = np.full((COUNT, 3), -1, np.int32)
    classes[:-1, :2] = 0, 1
    return {
        "image": jnp.asarray(np.tile(image.astype(np.uint8), (COUNT, 1, 1, 1))),
        "boxes": jnp.asarray(boxes),
        "classes": jnp.asarray(classes),
        "segmentation": jnp.ones((COUNT, HEIGHT, WIDTH), jnp.uint8),
    }


def apply(transform, batch):
    return jax.tree.map(np.asarray, jax.jit(transform)(jax.random.key(3), batch))


def test_an_expanded_image_lies_in_its_frame(batch):
    transform = augment.random_expansion(3.0, fill=(10, 20, 30), min_visible=None)
    moved = apply(transform, batch)
    outside = (moved["image"] == (10, 20, 30)).all(-1)
    np.testing.assert_array_equal(outside, moved["segmentation"] == 255)
    share = 1 - outside.mean((1, 2))
    same = (moved["boxes"] == np.asarray(batch["boxes"])).all((1, 2))
    assert 0.35 < same[:-1].mean() < 0.65  # half of them stay as they are
    same[-1] = False  # has no boxes to tell by
    np.testing.assert_array_equal(moved["image"][same], batch["image"][same])
    assert share.min() < 0.3 and (share > 1 / 9 - 0.02).all()
    # The middle of an object has the colours that it had.
    for m, (x, y) in enumerate([(7, 11), (23, 12)]):
        box = moved["boxes"][:-1, m]
        centre = ((box[:, :2] + box[:, 2:]) / 2).astype(int)
        colours = moved["image"][np.arange(COUNT - 1), centre[:, 1], centre[:, 0]]
        assert abs(colours[:, 0].astype(int) - 8 * x).max() < 26
        assert abs(colours[:, 1].astype(int) - 8 * y).max() < 26
    np.testing.assert_allclose(
        box_ops.area(moved["boxes"][:-1, 0]) / 180, share[:-1], atol=0.1
    )


def test_a_window_has_so_much_in_common_with_an_object(batch):
    size, least = (20, 20), 0.5
    moved = apply(augment.random_iou_crop(size, ious=(least,)), batch)
    assert moved["image"].shape == (COUNT, *size, 3)
    stays = moved["classes"] >= 0
    assert stays[:-1].any(1).all() and not stays[-1].any()
    assert 0.1 < (~stays[:-1, :2]).mean()  # objects with their centre outside are gone
    assert not moved["boxes"][~stays].any()
    # The window, of the colours at its corners, half a pixel inside of them.
    red, green = moved["image"][..., 0] / 8, moved["image"][..., 1] / 8
    across = (red[:, 0, -1] - red[:, 0, 0] + 1) / WIDTH
    down = (green[:, -1, 0] - green[:, 0, 0] + 1) / HEIGHT
    assert across[:-1].min() < 0.75 and (across > 0.25).all() and (down > 0.25).all()
    assert (abs(np.log2((across / down)[:-1])) < 1.25).all()
    shares = across * down * HEIGHT * WIDTH
    own = box_ops.area(moved["boxes"]) / 400 * shares[:, None]
    ious = own / (shares[:, None] + np.float32([180, 112, 0]) - own)
    whole = shares[:-1] > 0.9 * HEIGHT * WIDTH  # where no window had so much
    assert whole.mean() < 0.3 and (whole | (ious[:-1].max(1) > least - 0.1)).all()


def test_from_one_on_the_image_stays_whole(batch):
    moved = apply(augment.random_iou_crop((HEIGHT, WIDTH), ious=(1.0,)), batch)
    np.testing.assert_array_equal(moved["image"], batch["image"])
    np.testing.assert_allclose(moved["boxes"], batch["boxes"], atol=1e-4)


def test_bad_strengths_and_batches_are_named(batch):
    with pytest.raises(UsageError, match=r"largest must be at least 1, got 0\.5"):
        augment.random_expansion(0.5)
    with pytest.raises(UsageError, match="ious must name at least one"):
        augment.random_iou_crop(8, ious=())
    with pytest.raises(UsageError, match="this batch has image alone"):
        augment.random_iou_crop(8)(jax.random.key(0), {"image": batch["image"]})
