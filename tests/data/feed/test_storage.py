"""In memory and streaming are two ways to the same batches."""

import io

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from PIL import Image

from jaxvision import data
from jaxvision.data.feed import loader
from jaxvision.data.feed.crops import Box, move_objects
from jaxvision.data.files.decoding import decode
from jaxvision.data.source import Source
from jaxvision.errors import UsageError
from jaxvision.ops.augment import (
    compose,
    cutout,
    random_crop,
    random_flip,
    random_rotation,
)
from jaxvision.skeletons import skeleton

SIZE, HEIGHT, WIDTH = 17, 12, 20


def encode(pixels, format):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def make_source(format="PNG", files=True):
    """Everything a source can have: classes, objects and pixels of their own."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (SIZE, HEIGHT, WIDTH, 3), np.uint8)
    encoded = [encode(image, format) for image in pixels]
    maps = {
        "segmentation": random.integers(0, 4, (SIZE, HEIGHT, WIDTH), np.uint8),
        "instances": random.integers(0, 2, (SIZE, 3, HEIGHT, WIDTH), np.uint8),
    }
    corners = random.uniform(0, 6, (SIZE, 3, 2))
    targets = {
        "label": np.arange(SIZE, dtype=np.int32) % 4,
        "boxes": np.concatenate([corners, corners + 5], -1).astype(np.float32),
        "classes": random.integers(0, 4, (SIZE, 3)).astype(np.int32),
        "keypoints": random.uniform(1, 9, (SIZE, 3, 2, 3)).astype(np.float32),
    }
    targets["keypoints"][..., 2] = 2
    images = np.stack([decode(file, 3) for file in encoded])
    return Source(
        name="all",
        size=SIZE,
        image_shape=(HEIGHT, WIDTH, 3),
        class_names=tuple("abcd"),
        read=lambda: {"image": images, **targets, **maps},
        targets=(lambda: targets) if files else None,
        encoded=encoded.__getitem__ if files else None,
        maps=(lambda i: {k: v[i] for k, v in maps.items()}) if files else None,
        skeleton=skeleton(["left", "right"]),
    )


def as_is(key, batch):
    return batch


def batches(pipeline, count):
    key, resident, items = jax.random.key(0), pipeline.resident(), pipeline.items()
    fetched = (pipeline.fetch(resident, next(items), key) for _ in range(count))
    return [jax.tree.map(np.asarray, batch) for batch in fetched]


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert array.dtype == other[name].dtype, name
            np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("files", [True, False])
def test_both_storages_give_equal_batches(files, format, repeats):
    source = make_source(format, files)

    def train(storage):
        return data.train(
            source, 6, transform=as_is, seed=1, storage=storage, repeats=repeats
        )

    expected = batches(train("memory"), 7)
    assert expected[0]["segmentation"].shape == (6, HEIGHT, WIDTH)
    assert_equal(batches(train("stream"), 7), expected)


def test_both_storages_evaluate_alike():
    def evaluation(storage):
        source = make_source()
        return data.evaluation(source, 5, transform=as_is, storage=storage)

    for one, other in zip(
        batches(evaluation("stream"), 4), batches(evaluation("memory"), 4), strict=True
    ):
        np.testing.assert_array_equal(one["mask"], other["mask"])
        rows = np.flatnonzero(one["mask"])
        assert_equal(
            [{k: v[rows] for k, v in one.items()}],
            [{k: v[rows] for k, v in other.items()}],
        )
        assert (one["classes"][~one["mask"]] == -1).all()


def test_the_storage_is_chosen_by_size_and_can_be_forced(monkeypatch):
    def storage(source, **options):
        pipeline = data.train(source, 2, transform=as_is, seed=0, **options)
        return "memory" if "index" in next(pipeline.items()) else "stream"

    source = make_source()
    assert storage(source) == "memory"
    assert storage(source, storage="stream") == "stream"
    assert storage(source, crop=data.stretch(8)) == "stream"
    # Three bytes of colour, one of segmentation and three of instances.
    monkeypatch.setattr(loader, "MEMORY_LIMIT", SIZE * HEIGHT * WIDTH * 7)
    assert storage(source) == "memory"
    monkeypatch.setattr(loader, "MEMORY_LIMIT", SIZE * HEIGHT * WIDTH * 7 - 1)
    assert storage(source) == "stream"
    assert storage(source._replace(maps=None)) == "memory"
    assert storage(source, storage="memory") == "memory"
    assert storage(make_source(files=False)) == "memory"


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_a_key_augments_alike_in_both_storages_and_on_any_devices(storage):
    crop = random_crop(12, padding=3, mode="reflect")
    augment = compose(crop, random_flip, cutout(5), random_rotation(15))
    source = make_source()
    pipeline = data.train(source, 8, transform=augment, seed=0, storage=storage)
    alone = data.train(source, 8, transform=augment, seed=0, storage="memory")
    key = jax.random.key(7)
    expected = alone.fetch(alone.resident(), next(alone.items()), key)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    item = jax.device_put(
        next(pipeline.items()), NamedSharding(mesh, PartitionSpec("data"))
    )
    resident = jax.device_put(pipeline.resident(), NamedSharding(mesh, PartitionSpec()))
    batch = jax.jit(pipeline.fetch)(resident, item, key)
    assert not np.array_equal(expected["image"], source.read()["image"][:8])
    assert batch.keys() == expected.keys() == source.read().keys()
    for name, array in expected.items():
        np.testing.assert_allclose(batch[name], array, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_each_process_gets_its_rows(storage):
    options = {"transform": as_is, "storage": storage}
    train = data.train(make_source(), 6, seed=0, **options)
    evaluation = data.evaluation(make_source(), 6, **options)
    for pipeline in (train, evaluation):
        whole = next(pipeline.items())
        parts = [next(pipeline.items(slice(i, i + 2))) for i in (0, 2, 4)]
        for name, array in whole.items():
            joined = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(joined, array)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_repeats_put_each_example_several_times_into_a_batch(storage):
    source = make_source()
    options = {"transform": as_is, "seed": 0, "storage": storage}
    pipeline = data.train(source, 6, repeats=3, **options)
    once = data.train(source, 2, **options)
    assert pipeline.num_batches == once.num_batches == SIZE // 2
    for batch, distinct in zip(batches(pipeline, 9), batches(once, 9), strict=True):
        expected = np.repeat(distinct["image"], 3, axis=0)
        np.testing.assert_array_equal(batch["image"], expected)


def test_each_repeat_is_cropped_on_its_own():
    crop = data.random_resized_crop(8)
    pipeline = data.train(
        make_source(), 4, transform=as_is, seed=0, crop=crop, repeats=2
    )
    (batch,) = batches(pipeline, 1)
    assert batch["label"][0] == batch["label"][1]
    assert not np.array_equal(batch["image"][0], batch["image"][1])
    single = data.train(make_source(), 2, transform=as_is, seed=0, crop=crop)
    np.testing.assert_array_equal(batch["image"][::2], batches(single, 1)[0]["image"])


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize(
    "crop",
    [
        data.random_resized_crop((9, 14)),
        data.random_scaled_crop((30, 45), scale=(0.3, 1.2)),
        data.letterbox((30, 20)),
        data.central_crop(7),
        data.stretch((6, 40)),
    ],
)
def test_everything_moves_with_the_image(crop, files):
    """A white rectangle as image, map, mask and box is one in all of them after."""
    size = (60, 80)
    box = np.array([[[20, 15, 60, 45]]], np.float32)
    inside = np.zeros((1, *size), np.uint8)
    inside[0, 15:45, 20:60] = 1
    image = inside[..., None].repeat(3, -1) * np.uint8(255)
    targets = {"boxes": box, "classes": np.zeros((1, 1), np.int32)}
    targets["keypoints"] = np.array([[[[40, 30, 2], [21, 16, 2]]]], np.float32)
    maps = {"segmentation": inside, "instances": inside[:, None]}
    source = Source(
        name="one",
        size=1,
        image_shape=(*size, 3),
        class_names=("a",),
        read=lambda: {"image": image, **targets, **maps},
        targets=(lambda: targets) if files else None,
        encoded=(lambda i: encode(image[i], "PNG")) if files else None,
        maps=(lambda i: {k: v[i] for k, v in maps.items()}) if files else None,
    )
    pipeline = data.train(source, 1, transform=as_is, seed=5, crop=crop)
    for batch in batches(pipeline, 20):
        (image_,), (classes,) = batch["image"][..., 0], batch["classes"]
        height, width = crop.size
        bright, known = image_ > 127, batch["segmentation"][0]
        assert (bright == (known == 1)).mean() > 0.85
        if classes[0] < 0:
            assert not batch["boxes"].any() and not batch["instances"].any()
            continue
        np.testing.assert_array_equal(batch["instances"][0, 0] == 1, known == 1)
        x_min, y_min, x_max, y_max = batch["boxes"][0, 0]
        rows, columns = np.nonzero(known == 1)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.array(edges) - [x_min, y_min, x_max, y_max]).max() <= 0.51
        for x, y, visibility in batch["keypoints"][0, 0]:
            assert (visibility == 2) == ((x, y) != (0, 0))
            assert 0 <= x <= width and 0 <= y <= height


def test_what_a_letterbox_adds_is_black_and_of_unknown_class():
    source = make_source()
    pipeline = data.evaluation(
        source, SIZE, transform=as_is, crop=data.letterbox((20, 20))
    )
    (batch,) = batches(pipeline, 1)
    for part in (slice(0, 4), slice(16, 20)):
        assert not batch["image"][:, part].any()
        assert (batch["segmentation"][:, part] == 255).all()
        assert not batch["instances"][:, :, part].any()
    whole = source.read()
    np.testing.assert_array_equal(batch["image"][:, 4:16], whole["image"])
    np.testing.assert_array_equal(batch["segmentation"][:, 4:16], whole["segmentation"])
    shift = np.array([0, 4, 0, 4], np.float32)
    np.testing.assert_allclose(batch["boxes"], whole["boxes"] + shift, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_of_another_size_than_before_is_named(workers):
    source = make_source()
    files = [source.encoded(i) for i in range(SIZE)]
    files[4] = encode(np.zeros((5, 6, 3), np.uint8), "PNG")
    source = source._replace(encoded=files.__getitem__)
    pipeline = data.evaluation(
        source, SIZE, transform=as_is, storage="stream", workers=workers
    )
    with pytest.raises(UsageError, match=r"5×6 \(height × width\) and not 12×20"):
        next(pipeline.items())


def test_a_changed_mask_is_another_set():
    source = make_source()
    options = {"transform": as_is, "seed": 0, "storage": "stream"}
    state = data.train(source, 4, **options).items().get_state()
    maps = {k: v.copy() for k, v in source.maps(7).items()}
    maps["segmentation"][0, 0] ^= 1
    changed = source._replace(maps=lambda i: maps if i == 7 else source.maps(i))
    with pytest.raises(UsageError, match="fingerprint"):
        data.train(changed, 4, **options).items().set_state(state)


@pytest.mark.parametrize("share, kept", [(0.5, True), (0.101, True), (0.099, False)])
def test_an_object_is_dropped_when_less_than_a_tenth_is_left(share, kept):
    targets = {
        "boxes": np.array([[10, 10, 20, 20], [0, 0, 0, 0]], np.float32),
        "classes": np.array([1, -1], np.int32),
        "crowd": np.array([1, 0], np.uint8),
        "label": np.int32(3),
    }
    targets["boxes"][0] += np.float32(10 * share)  # to the right of 20 lies the crop
    moved = move_objects(targets, Box(5, 20, 30, 10), (60, 20))
    assert moved["label"] == 3 and moved["classes"].tolist() == [1 if kept else -1, -1]
    assert moved["crowd"].tolist() == [int(kept), 0]
    top = 2 * (5 + 10 * share)
    expected = [0, top, 20 * share, top + 20] if kept else [0, 0, 0, 0]
    np.testing.assert_allclose(moved["boxes"], [expected, [0] * 4], rtol=1e-5)
