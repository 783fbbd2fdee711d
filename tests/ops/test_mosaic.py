"""Mosaics: every object is where its box says, and nothing is lost in silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.ops import augment

COUNT, HEIGHT, WIDTH, OBJECTS = 6, 40, 56, 2
COLOURS = np.array(
    [[4, 0, 0], [0, 4, 0], [0, 0, 4], [4, 4, 0], [4, 0, 4], [0, 4, 4]], np.uint8
) * 60  # fmt: skip
"""None is a mixture of another one with black, as there is at edges."""
KEYS = jax.random.split(jax.random.key(0), 8)


@pytest.fixture(scope="module")
def batch():
    """Black images, each with one rectangle of a colour of its own, its class."""
    random = np.random.default_rng(0)
    images = np.zeros((COUNT, HEIGHT, WIDTH, 3), np.uint8)
    boxes = np.zeros((COUNT, OBJECTS, 4), np.float32)
    classes = np.full((COUNT, OBJECTS), -1, np.int32)
    for i in range(COUNT):
        x, y = random.integers(0, WIDTH - 20), random.integers(0, HEIGHT - 16)
        images[i, y : y + 16, x : x + 20] = COLOURS[i]
        boxes[i, i % OBJECTS] = x, y, x + 20, y + 16  # the other is padding
        classes[i, i % OBJECTS] = i
    crowd = (classes == 2).astype(np.uint8)
    return {"image": images, "boxes": boxes, "classes": classes, "crowd": crowd}


def through(transform, batch):
    made = jax.jit(jax.vmap(transform, (0, None)))(KEYS, batch)
    return {name: np.asarray(array) for name, array in made.items()}


def seen(image, colour, within=3):
    """The bounding box of the pixels of that colour, and their number."""
    off = abs(image.astype(int) - colour.astype(int)).max(-1)
    rows, columns = np.nonzero(off <= within)
    if not len(rows):
        return np.zeros(4), 0
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return np.array(box), len(rows)


@pytest.mark.parametrize(
    ("options", "loose"),
    [
        (dict(degrees=0.0, shear=0.0), 1.5),
        # The corners of a rectangle that is turned are not those of its box.
        pytest.param(
            dict(degrees=10.0, shear=0.1, translation=0.3), 8, marks=pytest.mark.slow
        ),
    ],
)
def test_objects_are_where_their_boxes_are(batch, options, loose):
    made = through(augment.mosaic(**options, fill=0, min_visible=0), batch)
    assert made["image"].shape == (len(KEYS), COUNT, HEIGHT, WIDTH, 3)
    assert made["classes"].shape == (len(KEYS), COUNT, 4 * OBJECTS)
    many = 0
    for key in range(len(KEYS)):
        for i in range(COUNT):
            classes = made["classes"][key, i]
            found = classes[classes >= 0].tolist()
            others = {(i - place) % COUNT for place in range(4)}
            assert len(set(found)) == len(found) and set(found) <= others
            many += len(found) > 2
            for j in range(COUNT):
                box, pixels = seen(made["image"][key, i], COLOURS[j])
                if j in found:
                    (place,) = np.flatnonzero(classes == j)
                    said = made["boxes"][key, i, place]
                    assert said.min() >= 0 and (said[2:] <= [WIDTH, HEIGHT]).all()
                    assert made["crowd"][key, i, place] == (j == 2)
                    if pixels > 12:  # all but slivers at the border
                        assert (said[:2] <= box[:2] + 1.5).all()
                        assert (said[2:] >= box[2:] - 1.5).all()
                        assert abs(said - box).max() <= loose
                else:
                    assert pixels <= 6
    assert many > 5
    absent = made["classes"] < 0
    assert not made["boxes"][absent].any() and not made["crowd"][absent].any()


@pytest.mark.slow
def test_slivers_are_dropped_and_only_the_largest_kept(batch):
    options = dict(degrees=0.0, shear=0.0, fill=0)
    every = through(augment.mosaic(**options, min_visible=0), batch)
    whole = through(augment.mosaic(**options, min_visible=0.99), batch)
    few = through(augment.mosaic(**options, min_visible=0, most=2), batch)
    counts = [(made["classes"] >= 0).sum(-1) for made in (every, whole, few)]
    assert (counts[1] <= counts[0]).all() and counts[1].sum() < counts[0].sum()
    np.testing.assert_array_equal(counts[2], np.minimum(counts[0], 2))
    np.testing.assert_array_equal(few["image"], every["image"])

    def areas(made):
        sides = made["boxes"][..., 2:] - made["boxes"][..., :2]
        return np.sort(np.prod(sides, -1), axis=-1)[..., ::-1]

    np.testing.assert_allclose(areas(few), areas(every)[..., :2], rtol=1e-5)


def test_mixup_adds_another_image_with_its_objects(batch):
    alone = {**batch, "image": batch["image"].copy()}
    alone["image"][1:] = 0  # 0 is the partner of 4, and no part of its mosaic
    made = through(augment.mosaic(mixup=(0.5, 1.5), fill=0, min_visible=0), alone)
    assert made["classes"].shape[-1] == 5 * OBJECTS
    mirrored = 0
    for key in range(len(KEYS)):
        image, classes = made["image"][key, 4], made["classes"][key, 4]
        box, pixels = seen(image, COLOURS[0] // 2, within=20)
        there = np.flatnonzero(classes == 0)
        assert len(there) == (pixels > 0)
        if pixels:
            said = made["boxes"][key, 4, there[0]]
            assert abs(said - box).max() <= 2
            mirrored += abs(said[0] - batch["boxes"][0, 0, 0]) > 25
    assert 0 < mirrored < len(KEYS)


def test_an_example_that_is_not_drawn_stays_as_it_is(batch):
    made = through(augment.mosaic(probability=0.5), batch)
    same = (made["image"] == batch["image"][None]).all((2, 3, 4))
    assert 0.25 < same.mean() < 0.75
    objects = made["classes"][same]
    expected = np.broadcast_to(batch["classes"], (len(KEYS), COUNT, OBJECTS))[same]
    np.testing.assert_array_equal(objects[:, :OBJECTS], expected)
    assert (objects[:, OBJECTS:] == -1).all()


def test_batches_that_cannot_be_joined_are_refused(batch):
    key, transform = jax.random.key(0), augment.mosaic()
    labels = {"image": batch["image"], "label": jnp.zeros(COUNT, int)}
    with pytest.raises(UsageError, match="this batch has image, label alone"):
        transform(key, labels)
    with pytest.raises(UsageError, match="is of an evaluation"):
        transform(key, {**batch, "mask": jnp.ones(COUNT, bool)})
    with pytest.raises(UsageError, match="zoom must be two numbers"):
        augment.mosaic(zoom=(2.0, 1.0))
    with pytest.raises(UsageError, match="most must be at least 1"):
        augment.mosaic(most=0)
