"""The card of a data set: counts that are known beforehand, of sources made here."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import (
    card,
    catalogue,
    registry,
)
from jaxvision.data.feed.streaming import quick_fingerprint
from jaxvision.data.source import Source, Splits, fingerprint
from jaxvision.data.tfds import source as tfds_source
from jaxvision.errors import UsageError

RANDOM = np.random.RandomState(0)


def images(count, shape=(6, 4, 3)):
    return RANDOM.randint(256, size=(count, *shape)).astype(np.uint8)


def in_memory(image, label, names=("a", "b", "c"), name="set:train"):
    image, label = np.asarray(image), np.asarray(label, np.int32)
    return Source(
        name=name,
        size=len(image),
        image_shape=image.shape[1:],
        class_names=names,
        read=lambda: {"image": image, "label": label},
    )


def png(image, **options):
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, format="PNG", **options)
    return file.getvalue()


def streamed(files, label, channels=3, names=("a", "b", "c")):
    def read():
        raise AssertionError("images differ in size: they must not be read at once")

    return Source(
        name="set:train",
        size=len(files),
        image_shape=(None, None, channels),
        class_names=names,
        read=read,
        targets=lambda: {"label": np.asarray(label, np.int32)},
        encoded=files.__getitem__,
    )


def test_counts_of_each_class_and_split_with_classes_that_are_empty():
    splits = Splits(in_memory(images(5), [0, 0, 0, 1, 0]), in_memory(images(2), [2, 2]))
    found = card.card("set", splits)
    assert found.train.class_counts.tolist() == [4, 1, 0]
    assert found.test.class_counts.tolist() == [0, 0, 2]
    assert (found.train.size, found.test.size) == (5, 2)
    record = card.record(found)
    assert record["train_class_count_min"] == 0
    assert record["train_class_count_median"] == 1.0
    assert record["train_class_count_max"] == 4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("chunk", [1, 7, 1_000])
def test_mean_and_std_are_those_of_all_training_pixels(channels, chunk, monkeypatch):
    monkeypatch.setattr(card, "_CHUNK", chunk)
    train = images(20, (5, 3, channels))
    splits = Splits(in_memory(train, [0] * 20), in_memory(images(2), [0, 0]))
    found = card.card("set", splits)
    pixels = train / 255.0
    np.testing.assert_allclose(found.mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std((0, 1, 2)), rtol=1e-12)
    assert found.measured == 20


def test_constant_images_have_no_deviation():
    train = np.full((3, 2, 2, 1), 51, np.uint8)
    found = card.card("set", Splits(*[in_memory(train, [0, 0, 0])] * 2))
    assert found.mean.tolist() == [0.2]
    assert found.std.tolist() == [0.0]


def test_duplicates_within_and_across_splits_and_contradictory_labels():
    a, b, c, d, e = images(5)
    splits = Splits(
        in_memory([a, b, a, a, c, c], [0, 1, 0, 2, 1, 1]),
        in_memory([d, a, b, a, e, e], [0, 0, 0, 0, 1, 1]),
    )
    found = card.card("set", splits)
    assert found.train.duplicates == 3  # a twice more, c once more
    assert found.test.duplicates == 2  # a and e once more
    assert found.shared == {("test", "train"): 3}  # a, b and a again
    assert found.contradictory == 2  # a is 0 and 2; b is 1 and 0


def test_one_bit_makes_another_image():
    a = images(1)[0]
    b = a.copy()
    b[0, 0, 0] ^= 1
    found = card.card("set", Splits(*[in_memory([a, b], [0, 1])] * 2))
    assert found.train.duplicates == 0
    assert found.contradictory == 0
    assert found.shared == {("test", "train"): 2}


def test_the_fingerprint_is_the_one_that_runs_compare():
    train = in_memory(images(3), [0, 1, 2])
    test = in_memory(images(3), [0, 1, 2])
    found = card.card("set", Splits(train, test))
    assert found.train.fingerprint == fingerprint(train)
    assert found.test.fingerprint == fingerprint(test)


SHAPES = [(4, 8, 3), (6, 8, 3), (10, 2, 3), (4, 8, 3), (5, 5, 3)]


@pytest.fixture
def varied():
    pixels = [images(1, shape)[0] for shape in SHAPES]
    files = [png(image) for image in pixels]
    files[3] = files[0]
    pixels[3] = pixels[0]
    return pixels, streamed(files, [0, 1, 1, 2, 2])


def test_images_of_several_sizes_are_described_from_their_files(varied):
    pixels, source = varied
    found = card.card("set", Splits(source, source))
    assert found.train.sizes == {(4, 8): 2, (6, 8): 1, (10, 2): 1, (5, 5): 1}
    assert found.train.duplicates == 1
    assert found.contradictory == 1
    assert found.train.fingerprint == quick_fingerprint(source)
    every = np.concatenate([image.reshape(-1, 3) for image in pixels]) / 255.0
    np.testing.assert_allclose(found.mean, every.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, every.std(0), rtol=1e-12)
    assert found.measured == 5
    record = card.record(found)
    assert (record["train_height_min"], record["train_height_max"]) == (4, 10)
    assert (record["train_width_min"], record["train_width_max"]) == (2, 8)
    assert record["train_height_median"] == 5.0
    assert "4–10 × 2–8 (median 5 × 8) × 3" in card.rows(found)["images"]


def test_pixels_are_sampled_where_there_are_many_files(varied, monkeypatch):
    pixels, source = varied
    monkeypatch.setattr(card, "_SAMPLE", 3)
    found = card.card("set", Splits(source, source))
    every = np.concatenate([pixels[i].reshape(-1, 3) for i in (0, 2, 4)]) / 255.0
    np.testing.assert_allclose(found.mean, every.mean(0), rtol=1e-12)
    assert "of 3 training images" in card.rows(found)["mean"]


def test_what_would_fill_the_memory_is_not_read_at_once(monkeypatch):
    monkeypatch.setattr(card, "_IN_MEMORY", 100)
    files = [png(image) for image in images(3)]
    source = streamed(files, [0, 1, 2])._replace(image_shape=(6, 4, 3))
    assert card.card("set", Splits(source, source)).train.sizes == {(6, 4): 3}


def test_a_large_and_a_small_split_are_still_compared(monkeypatch):
    monkeypatch.setattr(card, "_IN_MEMORY", 200)
    files = [png(image) for image in images(3)]
    train = streamed(files, [0, 1, 2])._replace(image_shape=(6, 4, 3))
    test = streamed(files[:1], [0])._replace(image_shape=(6, 4, 3))
    assert card.card("set", Splits(train, test)).shared == {("test", "train"): 1}


@pytest.mark.parametrize(
    "form, orientation, size",
    # 6 lies on its side; 9 is no orientation.  Pillow turns TIFF files by itself.
    [("PNG", 6, (8, 4)), ("TIFF", 6, (8, 4)), ("PNG", 9, (4, 8)), ("TIFF", 9, (4, 8))],
)
def test_sizes_are_those_of_images_that_stand_upright(form, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(images(1, (4, 8, 3))[0]).save(file, form, exif=exif)
    source = streamed([file.getvalue()] * 3, [0, 1, 2])
    found = card.card("set", Splits(source, source))
    assert found.train.sizes == {size: 3}
    assert card.examples(source)[0][0]["image"].shape == (*size, 3)


@pytest.mark.parametrize("content", [b"", b"no image", "cut"])
def test_a_file_that_cannot_be_read_is_named(content):
    whole = png(images(1, (40, 40, 3))[0])
    files = [whole, whole[: len(whole) // 2] if content == "cut" else content, whole]
    source = streamed(files, [0, 1, 2])
    with pytest.raises(UsageError, match="image 1 of set:train cannot be read"):
        card.card("set", Splits(source, source))


def test_an_empty_split_is_refused():
    whole = in_memory(images(2), [0, 1])
    with pytest.raises(UsageError, match="set:test is empty"):
        card.card("set", Splits(whole, whole._replace(name="set:test", size=0)))


def test_the_record_is_flat_json():
    splits = registry.load("mnist_5k")
    record = card.record(card.card("mnist_5k", splits))
    assert json.loads(json.dumps(record)) == record
    assert not any(isinstance(value, dict) for value in record.values())
    assert record["train_class_counts"] == [400] * 10
    assert record["test_class_counts"] == [100] * 10
    assert record["train_duplicates"] == record["test_images_in_train"] == 0
    assert record["train_height_median"] == 28


# Annotations other than labels


def annotated(count=3, streams=False, **arrays):
    """Images of 6×4 with what is given, read at once or image by image."""
    pixels = images(count)
    maps = {key: arrays.pop(key) for key in ("segmentation",) if key in arrays}
    return Source(
        name="set:train",
        size=count,
        image_shape=(None, None, 3) if streams else (6, 4, 3),
        class_names=("a", "b", "c"),
        read=lambda: {"image": pixels, **arrays, **maps},
        targets=lambda: arrays,
        encoded=[png(image) for image in pixels].__getitem__,
        maps=(lambda i: {key: maps[key][i] for key in maps}) if maps else None,
    )


@pytest.mark.parametrize("streams", [False, True])
def test_presence_counts_images_of_each_class(streams):
    presence = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]], np.uint8)
    source = annotated(streams=streams, presence=presence)
    found = card.card("set", Splits(source, source))
    assert found.annotations == ("presence",)
    assert found.train.class_counts.tolist() == [1, 2, 0]
    assert (found.train.size, found.train.empty) == (3, 1)
    assert card.balance(found)[0] == "examples"
    assert card.record(found)["train_without_class"] == 1
    assert card.rows(found)["of no class"] == "train 1, test 1"
    rows = card.examples(source)
    assert [len(row) for row in rows.values()] == [1, 2, 0]
    assert rows[1][1]["presence"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("streams", [False, True])
def test_objects_are_counted_and_so_are_the_images_they_are_in(streams):
    classes = np.array([[1, 1, 0], [-1, -1, -1], [1, -1, -1]], np.int32)
    boxes = np.where(classes[..., None] >= 0, [0, 0, 2, 2], 0).astype(np.float32)
    source = annotated(streams=streams, classes=classes, boxes=boxes)
    found = card.card("set", Splits(source, source))
    assert found.annotations == ("boxes", "classes")
    assert found.train.objects.tolist() == [1, 3, 0]
    assert found.train.class_counts.tolist() == [1, 2, 0]
    assert found.train.per_image.tolist() == [3, 0, 1]
    assert found.train.empty == 1
    unit, counts = card.balance(found)
    assert unit == "objects" and counts["test"].tolist() == [1, 3, 0]
    record = card.record(found)
    assert json.loads(json.dumps(record)) == record
    assert record["train_objects"] == 4
    assert record["train_objects_per_image_max"] == 3
    rows = card.rows(found)
    assert rows["objects"] == "train 4, test 4"
    assert rows["in an image"] == "train 0–3 (median 1), test 0–3 (median 1)"
    assert card.examples(source)[1][1]["classes"].tolist() == [1, -1, -1]


@pytest.mark.parametrize("streams", [False, True])
def test_crowds_are_counted_beside_the_objects(streams):
    classes = np.array([[1, 1, 0], [-1, -1, -1], [1, -1, -1]], np.int32)
    crowd = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]], np.uint8)
    crowded = annotated(streams=streams, classes=classes, crowd=crowd)
    plain = annotated(streams=streams, classes=classes, crowd=0 * crowd)
    found = card.card("set", Splits(crowded, plain))
    assert found.train.crowds.tolist() == [1, 1, 0]
    assert card.rows(found)["objects"] == "train 4, test 4"
    assert card.rows(found)["of them crowds"] == "train 2, test 0"
    assert card.record(found)["train_crowds"] == 2
    assert "of them crowds" not in card.rows(card.card("set", Splits(plain, plain)))


def test_a_background_counts_where_it_has_pixels():
    found = card.card("scenes", registry.load("scenes:32x32x3:20:8"))
    assert card.rows(found)["keypoints"] == "4: top, right, bottom, left"
    assert card.record(found)["mirrored"] == [0, 3, 2, 1]
    assert found.class_names[0] == "background"
    assert found.train.class_counts[0] == 20  # in every image, by its pixels
    assert found.train.objects[0] == 0 < found.train.pixels[0]
    rows = card.rows(found)
    digits = found.train.objects[1:]
    assert rows["of each class"].startswith(f"train {digits.min()}–{digits.max()} ")
    assert card.balance(found)[0] == "examples"
    assert min(
        map(len, card.examples(registry.load("scenes:32x32x3:20").train).values())
    )


def test_the_card_says_which_images_are_the_test():
    found = card.card("mnist_5k", registry.load("mnist_5k"))
    choice = (
        "1,000 of 5,000 examples at random (seed 0), since all are of MNIST's training "
        "split"
    )
    assert card.rows(found)["test split"] == card.record(found)["tested_on"] == choice


def test_the_card_has_the_validation_split_where_one_is_declared():
    a, b, c, d = images(4)
    train, test, validation = (
        in_memory(pixels, labels) for pixels, labels in (
            ([a, b], [0, 1]), ([c, d, a], [0, 1, 0]), ([c, c], [1, 2])
        )
    )  # fmt: skip
    validation = validation._replace(choice="the folder val/, as declared")
    found = card.card("set", Splits(train, test, validation))
    assert found.parts["validation"].class_counts.tolist() == [0, 1, 1]
    assert found.shared == {
        ("validation", "train"): 0, ("test", "train"): 1, ("test", "validation"): 1
    }  # fmt: skip
    assert found.contradictory == 1  # c is 0, 1 and 2
    assert card.balance(found)[1].keys() == {"train", "validation", "test"}
    rows, record = card.rows(found), card.record(found)
    assert rows["examples"] == "train 2, validation 2, test 3"
    assert rows["validation split"] == record["validated_on"] == validation.choice
    assert rows["duplicates"].endswith("in train 1, test in validation 1")
    assert record["validation_examples"] == 2
    assert record["test_images_in_validation"] == 1


@pytest.mark.parametrize("streams", [False, True])
def test_pixels_are_counted_and_unknown_ones_apart(streams):
    numbers = np.zeros((3, 6, 4), np.uint8)
    numbers[0, :3], numbers[2] = 2, 255
    source = annotated(streams=streams, segmentation=numbers)
    found = card.card("set", Splits(source, source))
    assert found.annotations == ("segmentation",)
    assert found.train.pixels.tolist() == [36, 0, 12, 24]
    assert found.train.class_counts.tolist() == [2, 0, 1]
    assert found.train.empty == 1
    unit, counts = card.balance(found)
    assert unit == "% of the pixels" and counts["train"].tolist() == [75, 0, 25]
    record = card.record(found)
    assert record["train_pixel_shares"] == [0.75, 0, 0.25]
    assert record["train_unknown"] == pytest.approx(1 / 3)
    assert "a 75.0 %, b 0.0 %, c 25.0 %; unknown 33.3 %" in card.rows(found)["pixels"]
    rows = card.examples(source)
    assert [len(row) for row in rows.values()] == [2, 0, 1]
    np.testing.assert_array_equal(rows[2][0]["segmentation"], numbers[0])


def test_equal_images_with_other_objects_are_contradictory():
    pixels = images(1)[0]
    classes = np.array([[1], [0]], np.int32)
    source = annotated(2, classes=classes)
    both = source._replace(
        read=lambda: {"image": np.array([pixels] * 2), "classes": classes}
    )
    assert card.card("set", Splits(both, both)).contradictory == 1


# Examples for the contact sheet


def numbered(labels, names):
    values = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return in_memory(np.broadcast_to(values, (len(labels), 2, 2, 1)), labels, names)


def chosen(source, **options):
    found = card.examples(source, **options)
    return {
        label: [int(one["image"].max()) for one in row] for label, row in found.items()
    }


def test_examples_are_spread_over_each_class():
    source = numbered([0] * 9 + [1] * 2 + [2] * 5, tuple("abcd"))
    assert chosen(source, columns=3) == {
        0: [0, 4, 8],
        1: [9, 10],
        2: [11, 13, 15],
        3: [],
    }


def test_of_many_classes_some_are_chosen():
    source = numbered(np.arange(100), tuple(map(str, range(100))))
    assert list(chosen(source, rows=4)) == [0, 33, 66, 99]
    assert len(chosen(source)) == 20


def test_examples_of_several_sizes(varied):
    pixels, source = varied
    found = card.examples(source)
    np.testing.assert_array_equal(found[1][1]["image"], pixels[2])
    assert [one["image"].shape for one in found[2]] == [(4, 8, 3), (5, 5, 3)]


# Sets that this machine happens to have


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("mnist", [0.1307], [0.3081]),
        ("fashion_mnist", [0.2860], [0.3530]),
        ("cifar10", [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    ],
)
def test_prepared_sets_have_the_published_mean_and_std(name, mean, std):
    folder = tfds_source.data_folder()
    there = {found.name.partition(":")[0] for found in catalogue.prepared(folder)}
    if name not in there:
        pytest.skip(f"{name} is not prepared in {folder}")
    found = card.card(name, registry.load(name))
    np.testing.assert_allclose(found.mean, mean, atol=6e-5)
    np.testing.assert_allclose(found.std, std, atol=6e-5)
    assert found.train.size + found.test.size in (60_000, 70_000)
    assert found.shared == {("test", "train"): 0} and found.contradictory == 0
