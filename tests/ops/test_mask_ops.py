"""Pasting against OpenCV's resizing, and overlaps against NumPy."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops import masks

SIDE, SIZE = 14, (37, 53)
HEIGHT, WIDTH = SIZE


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """So that a block is a few rows, and the last one is not whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "BLOCK", 5 * 53 * 9)
        yield


def predicted(seed, count=9):
    draw = np.random.default_rng(seed)
    corner = draw.uniform(-8, 45, (count, 2))
    length = np.exp(draw.uniform(-1, 4, (count, 2)))
    boxes = np.concatenate([corner, corner + length], 1).astype(np.float32)
    boxes[0] = 0
    return draw.uniform(size=(count, SIDE, SIDE)).astype(np.float32), boxes


def pasted_by_opencv(probabilities, boxes):
    """torchvision's rule, one object after the other."""
    result = np.zeros((len(boxes), HEIGHT, WIDTH), bool)
    for canvas, mask, box in zip(result, probabilities, boxes, strict=True):
        half = (box[2:] - box[:2]) * np.float32(0.5) * np.float32((SIDE + 2) / SIDE)
        middle = (box[2:] + box[:2]) * np.float32(0.5)
        (left, top), (right, bottom) = (
            np.trunc(middle + sign * half).astype(int).tolist() for sign in (-1, 1)
        )
        size = max(right - left + 1, 1), max(bottom - top + 1, 1)
        large = cv2.resize(np.pad(mask, 1), size, interpolation=cv2.INTER_LINEAR)
        for y in range(max(top, 0), min(bottom + 1, HEIGHT)):
            for x in range(max(left, 0), min(right + 1, WIDTH)):
                canvas[y, x] = large[y - top, x - left] > 0.5
    return result


def test_masks_are_pasted_as_torchvision_does():
    paste = jax.jit(lambda m, b: masks.paste(m, b, SIZE))
    found = 0
    for seed in range(5):
        wanted = pasted_by_opencv(*predicted(seed))
        found += wanted.sum()
        np.testing.assert_array_equal(paste(*predicted(seed)), wanted)
        host = masks.paste_on_host(*predicted(seed), SIZE)
        np.testing.assert_array_equal(host, wanted)
    assert found > 1_000


def test_overlaps_are_counts_of_pixels():
    """Of a batch, without a full-size mask of what is pasted, and within the canvas."""
    draw = np.random.default_rng(0)
    batch = [
        np.stack(each) for each in zip(*(predicted(s) for s in (0, 1)), strict=True)
    ]
    true = draw.integers(0, 2, (2, 4, *SIZE)).astype(np.uint8)
    true[:, 2] = 0
    canvas = np.zeros((2, *SIZE), np.uint8)
    canvas[0] = 1
    canvas[1, :20, :31] = 1
    got = jax.jit(jax.vmap(masks.pasted_overlap))(*batch, true, canvas)
    again = jax.jit(jax.vmap(masks.overlap))
    for i in range(2):
        mine = masks.paste_on_host(batch[0][i], batch[1][i], SIZE) & (canvas[i] > 0)
        both = np.einsum("dhw,mhw->dm", mine.astype(int), true[i].astype(int))
        np.testing.assert_array_equal(got.both[i], both)
        np.testing.assert_array_equal(got.a[i], mine.sum((1, 2)))
        np.testing.assert_array_equal(got.b[i], true[i].sum((1, 2), dtype=int))
        for part, plain in zip(got, again(mine[None], true[i][None]), strict=True):
            np.testing.assert_array_equal(part[i], plain[0])
    one = masks.Overlap(*(np.asarray(each[0]) for each in got))
    union = one.a[:, None] + one.b[None] - one.both
    crowd = np.uint8([0, 1, 0, 1])
    wanted = one.both / np.maximum(np.where(crowd, one.a[:, None], union), 1)
    got = jax.jit(masks.iou)(one, crowd)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert got[:, 2].max() == 0


def test_memory_is_bounded():
    shapes = (50, 28, 28), (50, 4), (8, 512, 512)
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    memory = jax.jit(masks.pasted_overlap).lower(*arrays).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 50 * 512 * 512 / 4


def test_boxes_are_around_what_is_seen():
    seen = np.zeros((2, 3, *SIZE), np.uint8)
    seen[0, 0, 3, 7] = seen[1, 2, 0] = seen[0, 1, 5:9, 2:4] = 1
    wanted = np.zeros((2, 3, 4))
    wanted[0, 0], wanted[0, 1], wanted[1, 2] = (7, 3, 8, 4), (2, 5, 4, 9), (0, 0, 53, 1)
    np.testing.assert_array_equal(jax.jit(masks.boxes_around)(seen), wanted)


def test_masks_of_other_shapes_are_refused():
    boxes = jnp.zeros((2, 4))
    with pytest.raises(UsageError, match="masks must be squares"):
        masks.paste(jnp.zeros((2, 14, 13)), boxes, SIZE)
    with pytest.raises(UsageError, match="masks must be squares"):
        masks.pasted_overlap(jnp.zeros((3, 14, 14)), boxes, jnp.zeros((2, *SIZE)))
    with pytest.raises(UsageError, match=r"\[D,H,W\] and \[M,H,W\]"):
        masks.overlap(jnp.zeros((2, 5, 4)), jnp.zeros((2, 5, 6)))
