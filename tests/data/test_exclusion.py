"""Lists of examples to leave out."""

import pickle

import numpy as np
import pytest
from PIL import Image

from jaxvision import data
from jaxvision.data import exclusion
from jaxvision.errors import UsageError


def write_list(path, splits, *lines):
    there = splits.there().values()
    sources = [(source, exclusion.identity(source)) for source in there]
    path.write_text(exclusion.write(sources, [("Reasons", lines)]))
    return path


@pytest.fixture
def arrays(tmp_path):
    """A set of arrays whose i-th training image is i everywhere, of class i mod 2."""

    def save(offset=0):
        image = np.arange(offset, offset + 20, dtype=np.uint8)
        image = np.broadcast_to(image[:, None, None], (20, 2, 2))
        label = np.arange(20) % 2
        path = tmp_path / "set.npz"
        np.savez(path, x_train=image, y_train=label, x_test=image, y_test=label)
        return f"npz:{path}"

    return save


def test_what_is_listed_is_left_out_and_the_rest_keeps_its_order(arrays, tmp_path):
    name = arrays()
    path = write_list(
        tmp_path / "list.txt",
        data.load(name),
        "train 3 blank",
        "train 19 a reason of several words: 7, train 8",
        "  # train 5 stays",
        "train 0",
        "",
    )
    train, test, _ = data.load(name, exclude=path)
    kept = [i for i in range(20) if i not in (0, 3, 19)]
    assert train.size == 17
    assert train.read()["image"][:, 0, 0, 0].tolist() == kept
    assert train.read()["label"].tolist() == [i % 2 for i in kept]
    assert train.targets()["label"].tolist() == [i % 2 for i in kept]
    assert "without 3" in train.name and train.name.startswith(name)
    assert test.name == f"{name}:test" and test.size == 20


def test_files_targets_and_pixels_agree(tmp_path):
    for split in "train", "val":
        for name, shade in (("cat", 0), ("dog", 100)):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("L", (3, 3), shade + i).save(folder / f"{i}.png")
    name = f"folder:{tmp_path / 'set'}"
    path = write_list(
        tmp_path / "list.txt", data.load(name), "train 1 ...", "test 7 ..."
    )
    train, test, _ = data.load(name, exclude=path)
    shades = [0, 2, 3, 100, 101, 102, 103]
    assert train.read()["image"][:, 0, 0, 0].tolist() == shades
    assert train.targets()["label"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    whole = data.load(name).train
    sent = pickle.loads(pickle.dumps(train.encoded))  # as to a worker process
    for i, row in enumerate([0, 2, 3, 4, 5, 6, 7]):
        assert train.encoded(i) == sent(i) == whole.encoded(row)
    assert test.read()["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 100, 101, 102]

    first, second = data.carve(train, 3)
    parts = first.read()["image"], second.read()["image"]
    assert sorted(image[0, 0, 0] for part in parts for image in part) == shades

    # Another image under the same name, and the list no longer fits.
    Image.new("L", (3, 3), 55).save(tmp_path / "set" / "train" / "cat" / "3.png")
    changed = data.load(name, exclude=path).train
    for look in (changed.read, changed.targets, lambda: changed.encoded(0)):
        with pytest.raises(UsageError, match=r"made for other data.*fingerprint"):
            look()


def test_a_list_of_other_data_is_refused(arrays, tmp_path):
    name = arrays()
    path = write_list(tmp_path / "list.txt", data.load(name), "train 3 blank")
    data.load(name, exclude=path).train.read()
    with pytest.raises(
        UsageError, match=r"made for other data.*20 examples, these 4000"
    ):
        data.load("mnist_5k", exclude=path)
    arrays(offset=1)
    changed = data.load(name, exclude=path).train
    with pytest.raises(UsageError, match=r"made for other data.*fingerprint"):
        changed.read()
    with pytest.raises(UsageError, match="made for other data"):
        data.carve(changed, 5)[0].read()


def test_folds_are_taken_of_what_is_left(arrays, tmp_path):
    name = arrays()
    path = write_list(tmp_path / "list.txt", data.load(name), "train 3 blank")
    train, test, _ = data.load(f"fold:1/2:{name}", exclude=path)
    both = [*train.read()["image"][:, 0, 0, 0], *test.read()["image"][:, 0, 0, 0]]
    assert sorted(both) == [i for i in range(20) if i != 3]


def test_parts_of_a_split_have_no_list(arrays, tmp_path):
    name = arrays()
    splits = data.load(name)
    listed = exclusion.read(write_list(tmp_path / "list.txt", splits, "train 3"))
    with pytest.raises(UsageError, match="for whole splits, not for parts of them"):
        exclusion.exclude(data.carve(splits.train, 5)[0], listed)


def test_a_list_is_for_the_validation_split_too(arrays, tmp_path):
    old = write_list(tmp_path / "old.txt", data.load(arrays()), "train 3")
    image, label = np.arange(8, dtype=np.uint8).reshape(-1, 1, 1), np.arange(8) % 2
    given = {f"x_{split}": image for split in ("train", "test", "val")}
    given |= {f"y_{split}": label for split in ("train", "test", "val")}
    np.savez(tmp_path / "three.npz", **given)
    name = f"npz:{tmp_path / 'three.npz'}"
    path = write_list(tmp_path / "new.txt", data.load(name), "validation 3", "train 1")
    splits = data.load(name, exclude=path)
    assert [split.size for split in splits] == [7, 8, 7]
    assert splits.validation.read()["image"].ravel().tolist() == [0, 1, 2, 4, 5, 6, 7]
    old.write_text(old.read_text().replace("data train 20", "data train 8"))
    old.write_text(old.read_text().replace("data test 20", "data test 8"))
    with pytest.raises(UsageError, match="a line `data` for every split"):
        data.load(name, exclude=old)


def test_something_must_be_left(arrays, tmp_path):
    name = arrays()
    path = write_list(
        tmp_path / "list.txt", data.load(name), *(f"test {i}" for i in range(20))
    )
    with pytest.raises(UsageError, match="leaves no example of"):
        data.load(name, exclude=path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not say what data it is for"),
        ("train 3 blank", "line 1: 'train 3 blank' is neither"),
        ("data train 20 0123\ntrain 20 blank", "examples from 0 to 19, not 20"),
        ("data train 20 0123\ntrain -1 blank", "line 2"),
        ("data train 20 0123\nvalidation 1", "line 2: 'validation 1'"),
        ("data train many 0123", "line 1"),
        (f"data train {'9' * 5_000} 0123", "line 1"),
        (f"data train 20 0123\ntrain {'9' * 5_000}", "line 2"),
        ("data train ² 0123", "line 1"),
        ("train/cat/1.jpg", "line 1"),
    ],
)
def test_every_line_that_is_wrong_is_told(text, words, tmp_path):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UsageError, match=words):
        exclusion.read(tmp_path / "list.txt")


def test_lists_in_other_encodings(tmp_path):
    (tmp_path / "list.txt").write_bytes("data train 5 0 Käse".encode("utf-16"))
    assert exclusion.read(tmp_path / "list.txt").parts["train"].size == 5
    (tmp_path / "list.txt").write_bytes("data train 5 0 Käse".encode("latin-1"))
    with pytest.raises(UsageError, match=r"list\.txt is not UTF-8: line 1"):
        exclusion.read(tmp_path / "list.txt")


def test_many_wrong_lines_are_counted(tmp_path):
    (tmp_path / "list.txt").write_text("data train 5 0\n" + "wrong\n" * 30)
    with pytest.raises(UsageError, match=r"(?s)line 2.*line 11.*and 20 more"):
        exclusion.read(tmp_path / "list.txt")


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        data.load("mnist_5k", exclude=tmp_path / "none.txt")
