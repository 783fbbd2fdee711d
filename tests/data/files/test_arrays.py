"""Arrays in an .npz file are a data set once their shapes, types and labels fit."""

import numpy as np
import pytest

from jaxvision.data import registry
from jaxvision.data.files.arrays import NAMINGS
from jaxvision.errors import UsageError

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (10, 6, 8, 3), dtype=np.uint8)
LABELS = np.arange(10) % 3


@pytest.fixture
def load(tmp_path):
    def load(save=np.savez, **arrays):
        save(tmp_path / "set.npz", **arrays)
        return registry.load(f"npz:{tmp_path / 'set.npz'}")

    return load


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_splits_by_any_naming(load, naming, save):
    parts = {"train": slice(0, 7), "test": slice(7, None), "val": slice(2, 4)}
    arrays = {
        form.format(split): array[part]
        for split, part in parts.items()
        for form, array in zip(naming, (IMAGES, LABELS), strict=True)
    }
    train, test, validation = load(save, **arrays)
    assert train.name.endswith("set.npz:train")
    assert (train.size, test.size, validation.size) == (7, 3, 2)
    assert validation.read()["label"].tolist() == LABELS[2:4].tolist()
    assert f"{naming[0].format('val')} and" in validation.choice
    assert train.image_shape == (6, 8, 3)
    assert train.class_names == test.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(train.read()["image"], IMAGES[:7])
    np.testing.assert_array_equal(test.read()["image"], IMAGES[7:])
    assert train.targets()["label"].tolist() == LABELS[:7].tolist()
    assert test.read()["label"].tolist() == LABELS[7:].tolist()
    assert {array.dtype.name for array in test.read().values()} == {"uint8", "int32"}


def test_without_a_test_split_a_fifth_is_held_out(load):
    train, test, _ = load(image=IMAGES, label=LABELS)
    assert (train.size, test.size) == (8, 2)
    together = np.concatenate([train.read()["image"], test.read()["image"]])
    assert {image.tobytes() for image in together} == {i.tobytes() for i in IMAGES}
    assert test.name.endswith("set.npz:test")


@pytest.mark.parametrize("shape", [(10, 6, 8), (10, 6, 8, 1)])
def test_greyscale_and_labels_in_a_column(load, shape):
    images = IMAGES[..., 0].reshape(shape)
    train, *_ = load(image=images, label=LABELS[:, None].astype(np.uint8))
    assert train.image_shape == (6, 8, 1)
    assert train.read()["image"].shape == (8, 6, 8, 1)
    assert train.targets()["label"].shape == (8,)


def test_whole_numbers_may_be_floats(load):
    splits = load(image=IMAGES, label=LABELS.astype(float))
    assert splits.train.class_names == ("0", "1", "2")
    assert splits.train.targets()["label"].dtype == np.int32


def test_class_names_of_the_file(load):
    train, *_ = load(image=IMAGES, label=LABELS, class_names=["cat", "cow", "dog"])
    assert train.class_names == ("cat", "cow", "dog")


def test_a_reader_cannot_spoil_the_labels(load):
    splits = load(x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    splits.train.read()["label"][:] = 7
    splits.train.targets()["label"][:] = 7
    assert splits.train.targets()["label"].tolist() == LABELS.tolist()


ONE_HOT = np.eye(3)[LABELS]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(image=IMAGES / 255), "image is float64: expected uint8"),
        (dict(image=np.moveaxis(IMAGES, -1, 1)), r"numpy.moveaxis\(image, 1, -1\)"),
        (dict(image=IMAGES[0]), r"as many as image has images: \[6\]"),
        (dict(image=IMAGES[..., :2]), r"\[10, 6, 8, 2\]: expected \[N,H,W\]"),
        (dict(image=IMAGES[:0], label=LABELS[:0]), "image is empty"),
        (dict(label=ONE_HOT), r"numpy.argmax\(label, axis=1\)"),
        (dict(label=LABELS + 0.5), "label is float64: expected whole numbers"),
        (dict(label=LABELS * np.nan), "label holds nan, out of range"),
        (dict(label=LABELS[:9]), r"as many as image has images: \[10\]"),
        (dict(label=LABELS.astype(str)), "expected whole numbers"),
        (dict(label=LABELS.astype(object)), "not of objects|expected whole"),
        (dict(label=LABELS - 1), "label holds -1, out of range: labels go from 0 to 1"),
        (dict(label=LABELS + 1), "no example of class 0: number the classes from 0"),
        (dict(label=LABELS * 10**9), "no example of class 1, 2, 3.* …"),
        (dict(label=LABELS + 2**32), "out of range"),
        (dict(label=LABELS * 0), "one class only"),
        (dict(class_names=["a", "b"]), "label holds 2, out of range"),
        (dict(class_names=[*"abcd"]), "no example of class 3"),
        (dict(class_names=[1, 2, 3]), "expected strings"),
    ],
)
def test_arrays_that_do_not_fit(load, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(**(dict(image=IMAGES, label=LABELS) | changes))
    assert str(tmp_path / "set.npz") in str(caught.value)


def test_a_test_split_that_does_not_fit(load):
    arrays = dict(x_train=IMAGES, y_train=LABELS)
    with pytest.raises(UsageError) as caught:
        load(**arrays, x_test=IMAGES[:, :5], y_test=LABELS + 1)
    assert "y_test holds 3, out of range" in str(caught.value)
    assert "differ in shape: (6, 8, 3) and (5, 8, 3)" in str(caught.value)


def test_validation_is_tested_on_where_nothing_else_can_be(load):
    arrays = dict(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:1])
    splits = load(**arrays, x_valid=IMAGES[:2], y_valid=LABELS[:2])
    assert (splits.test.size, splits.validation) == (2, None)
    assert "x_test and y_test has no annotations" in splits.test.choice
    with pytest.raises(UsageError, match="y_valid holds 4, out of range"):
        load(**arrays, y_test=LABELS[:1], x_valid=IMAGES[:1], y_valid=LABELS[4:5] + 3)


def test_other_names(load):
    with pytest.raises(UsageError, match="holds pixels, y: expected") as caught:
        load(pixels=IMAGES, y=LABELS)
    assert "x_train, y_train, x_test, y_test" in str(caught.value)


def test_damage(load, tmp_path):
    with pytest.raises(UsageError, match=r"is not an \.npz file"):
        path = tmp_path / "text.npz"
        path.write_text("no archive")
        registry.load(f"npz:{path}")
    source = load(image=IMAGES, label=LABELS).train
    content = bytearray((tmp_path / "set.npz").read_bytes())
    content[content.index(IMAGES.tobytes()[:32]) + 3] ^= 1
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UsageError, match=r"image in .* cannot be read"):
        source.read()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "b"], "names more than one class b"),
        (["caf\xe9", "cafe\u0301", "b"], "names more than one class"),
        (["a", "", "c"], "has no name for class 1"),
        (["a", "b", "\x1b[2J"], "is no name"),
    ],
)
def test_class_names_that_are_none(load, names, message):
    with pytest.raises(UsageError, match=message):
        load(image=IMAGES, label=LABELS, class_names=names)


def test_labels_below_32_bits_do_not_wrap(load):
    with pytest.raises(UsageError, match="out of range"):
        load(image=IMAGES, label=LABELS - 2**32)
