"""`fold:I/K:NAME`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvision import data
from jaxvision.data import folds
from jaxvision.data.files import image_files
from jaxvision.data.rows import join
from jaxvision.data.source import Source
from jaxvision.errors import UsageError


@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array),
    count=st.integers(2, 7),
)
def test_folds_are_even_in_size_and_in_each_class(labels, count):
    of_example = folds.assign(labels, count)
    sizes = np.bincount(of_example, minlength=count)
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(labels):
        inside = np.bincount(of_example[labels == label], minlength=count)
        assert inside.max() - inside.min() <= 1


def test_folds_are_random_within_a_class_and_always_the_same():
    of_example = folds.assign(np.zeros(1000, int), 2)
    assert of_example.tolist() == folds.assign(np.zeros(1000, int), 2).tolist()
    assert not np.array_equal(of_example, np.arange(1000) % 2)
    assert 350 < np.abs(np.diff(of_example)).sum() < 650
    # Frozen: another assignment would mix the folds of runs made before.
    assert folds.assign(np.zeros(8, int), 4).tolist() == [0, 2, 1, 0, 2, 3, 3, 1]


def test_each_example_is_tested_once_by_a_model_that_has_not_seen_it():
    whole = data.load("mnist_5k").train
    pixels = whole.read()["image"].reshape(whole.size, -1)
    tested = []
    for fold in (1, 2, 3):
        train, test, _ = data.load(f"fold:{fold}/3:mnist_5k")
        assert (train.name, test.name) == (
            f"fold:{fold}/3:mnist_5k:train",
            f"fold:{fold}/3:mnist_5k:test",
        )
        arrays = test.read(), train.read()
        assert (len(arrays[0]["label"]), len(arrays[1]["label"])) == (
            test.size,
            train.size,
        )
        seen = {image.tobytes() for image in arrays[1]["image"]}
        assert not any(image.tobytes() in seen for image in arrays[0]["image"])
        of_example = folds.assign(whole.read()["label"], 3)
        rows = np.flatnonzero(of_example == fold - 1)
        assert np.array_equal(arrays[0]["image"].reshape(len(rows), -1), pixels[rows])
        tested += rows.tolist()
    assert sorted(tested) == list(range(whole.size))


def test_a_fold_of_files_keeps_files_and_targets_together(tmp_path):
    from PIL import Image

    for name, shade in (("cat", 0), ("dog", 100)):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "val" / name).mkdir(parents=True)
        for i in range(5):
            image = Image.new("L", (4, 4), shade + i)
            image.save(tmp_path / "train" / name / f"{i}.png")
        image.save(tmp_path / "val" / name / "0.png")
    for part in data.load(f"fold:2/2:folder:{tmp_path}").there().values():
        labels = part.targets()["label"]
        shades = [
            int(np.asarray(Image.open(_file(part.encoded(i))))[0, 0])
            for i in range(part.size)
        ]
        assert [shade // 100 for shade in shades] == labels.tolist()
        assert part.read()["image"][:, 0, 0, 0].tolist() == shades
        assert part.size == 5


def three_splits(path):
    """Ten training images, four to test on and two to validate on, by level."""
    image = np.arange(16, dtype=np.uint8).reshape(-1, 1, 1)
    label = np.arange(16) % 2
    parts = {"train": slice(10), "test": slice(10, 14), "val": slice(14, 16)}
    arrays = {f"x_{split}": image[part] for split, part in parts.items()}
    arrays |= {f"y_{split}": label[part] for split, part in parts.items()}
    np.savez(path / "set.npz", **arrays)
    return f"npz:{path / 'set.npz'}"


def levels(source):
    return source.read()["image"].ravel().tolist()


def test_a_declared_validation_split_chooses_in_every_fold(tmp_path):
    name = three_splits(tmp_path)
    for fold in (1, 2):
        train, test, validation = data.load(f"fold:{fold}/2:{name}")
        assert validation.name == f"fold:{fold}/2:{name}:validation"
        assert levels(validation) == [14, 15]
        assert sorted(levels(train) + levels(test)) == list(range(10))


def test_folds_of_all_splits_together(tmp_path):
    name = three_splits(tmp_path)
    tested = []
    for fold in (1, 2, 3):
        train, test, validation = data.load(f"fold:{fold}/3:all:{name}")
        assert validation is None and train.choice == ""
        assert test.choice == f"fold {fold} of 3 of all:{name}"
        assert train.targets()["label"].tolist() == train.read()["label"].tolist()
        assert [level % 2 for level in levels(test)] == test.read()["label"].tolist()
        tested += levels(test)
    assert sorted(tested) == list(range(16))


def test_folds_of_all_files_keep_masks_with_their_images(tmp_path):
    from PIL import Image

    for i in range(10):
        for folder, level in (("images", i), ("masks", i % 2)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.new("L", (2, 2), level).save(tmp_path / folder / f"{i}.png")
    train, test, _ = data.load(f"fold:1/5:all:masks:{tmp_path}")
    assert (train.size, test.size) == (8, 2)
    for part in train, test:
        assert part.sizes().tolist() == [[2, 2]] * part.size
        for i, image in enumerate(part.read()["image"]):
            decoded = np.asarray(Image.open(_file(part.encoded(i))))
            assert (decoded == image[..., 0]).all()
            assert (part.maps(i)["segmentation"] == image[0, 0, 0] % 2).all()
    (tmp_path / "images/3.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"images/3\.png"):
        image_files.verify(train)


def test_joined_splits_have_room_for_the_objects_of_each():
    def source(classes):
        arrays = {"classes": np.array(classes), "boxes": np.ones((len(classes), 1, 4))}
        return Source("set:a", len(classes), (2, 2, 1), ("x",), lambda: dict(arrays))

    classes = join([source([[0]]), source([[0, 0], [0, -1]])], name="all").read()
    assert classes["classes"].tolist() == [[0, -1], [0, 0], [0, -1]]


def test_both_parts_come_of_one_reading():
    whole = data.load("synthetic:4x4x1:3").train
    reads = []

    def read():
        reads.append(whole.name)
        return whole.read()

    train, test, _ = folds.split(whole._replace(read=read), 1, 4, name="fold:1/4:x")
    labels = np.concatenate([train.read()["label"], test.read()["label"]])
    assert np.array_equal(np.sort(labels), np.sort(whole.read()["label"]))
    assert (train.size, test.size) == (len(train.read()["label"]), 256)
    assert len(reads) == 1


def _file(content: bytes):
    import io

    return io.BytesIO(content)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fold:mnist_5k", "write fold:I/K:NAME"),
        ("fold:0/3:mnist_5k", "counted from 1 to 3"),
        ("fold:4/3:mnist_5k", "counted from 1 to 3"),
        ("fold:1/1:mnist_5k", "2 or more"),
        ("fold:1/4001:mnist_5k", "too few for 4001 folds"),
        ("fold:1/2:mnist_6k", "unknown dataset"),
        ("fold:1/2:all:", "unknown dataset 'all:'"),
    ],
)
def test_bad_names_say_what_is_wanted(name, words):
    with pytest.raises(UsageError, match=words):
        data.load(name)
