"""A folder of one's own images is a data set, and what is wrong with it has a path."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import carve, registry
from jaxvision.data.files.decoding import decode
from jaxvision.data.files.image_files import verify
from jaxvision.errors import UsageError

TINY_IMAGENET = Path(__file__).parents[4] / "shared" / "datasets" / "tiny-imagenet-20"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def put(path: Path, level: int = 0, size=(8, 6), mode: str = "RGB", **options) -> None:
    """An image of one colour; `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (level, 0, 0) if mode == "RGB" else level
    Image.new(mode, size, colour).save(path, **options)


def load(root: Path):
    return registry.load(f"folder:{root}")


@pytest.fixture
def pets(tmp_path) -> Path:
    """Ten cats and five dogs whose red level numbers them, in one folder each."""
    for i in range(10):
        put(tmp_path / f"pets/cat/{i}.png", i)
    for i in range(5):
        put(tmp_path / f"pets/dog/{i}.png", 100 + i)
    return tmp_path / "pets"


@pytest.fixture
def split_pets(pets) -> Path:
    """The same as the training split of a set with a validation split."""
    root = pets.parent / "split"
    root.mkdir()
    pets.rename(root / "train")
    for i in range(3):
        put(root / f"val/dog/{i}.png", 200 + i)
    put(root / "val/cat/0.png", 250)
    return root


def levels(source) -> list[int]:
    return source.read()["image"][:, 0, 0, 0].tolist()


def refused(root: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(root)
    return str(caught.value)


def test_the_splits_that_are_there_are_used(split_pets):
    train, test, _ = load(split_pets)
    assert train.name == f"folder:{split_pets}:train"
    assert (train.size, test.size) == (15, 4)
    assert train.image_shape == test.image_shape == (6, 8, 3)
    assert train.class_names == test.class_names == ("cat", "dog")
    assert levels(train) == [*range(10), *range(100, 105)]
    assert train.read()["label"].tolist() == [0] * 10 + [1] * 5
    assert levels(test) == [250, 200, 201, 202]
    assert test.read()["label"].tolist() == [0, 1, 1, 1]
    data = train.read()
    assert (data["image"].dtype, data["label"].dtype) == (np.uint8, np.int32)
    assert data["image"].shape == (15, 6, 8, 3)


def test_labels_and_files_come_without_decoding(split_pets):
    train, *_ = load(split_pets)
    assert train.targets()["label"].tolist() == train.read()["label"].tolist()
    encoded = pickle.loads(pickle.dumps(train.encoded))
    images = [decode(encoded(i), 3) for i in range(train.size)]
    np.testing.assert_array_equal(images, train.read()["image"])


def test_a_fifth_of_each_class_becomes_the_test_where_there_is_none(pets):
    train, test, _ = load(pets)
    assert (train.size, test.size) == (12, 3)
    assert np.bincount(test.targets()["label"]).tolist() == [2, 1]
    assert sorted(levels(train) + levels(test)) == [*range(10), *range(100, 105)]
    assert levels(load(pets).test) == levels(test)
    for source in (train, test):
        np.testing.assert_array_equal(
            source.targets()["label"], np.array(levels(source)) >= 100
        )


def test_train_alone_is_split_too(split_pets):
    (split_pets / "val").rename(split_pets.parent / "val")
    assert load(split_pets).test.size == 3


def test_validation_is_carved_with_its_files(pets):
    source = load(pets).train
    for part in carve(source, 4):
        assert part.targets()["label"].tolist() == part.read()["label"].tolist()
        encoded = pickle.loads(pickle.dumps(part.encoded))
        images = [decode(encoded(i), 3) for i in range(part.size)]
        np.testing.assert_array_equal(images, part.read()["image"])


def test_test_comes_before_validation_unless_it_has_no_labels(split_pets):
    put(split_pets / "test/images/0.png")
    assert load(split_pets).test.size == 4
    put(split_pets / "test/cat/0.png")
    (split_pets / "test/images/0.png").unlink()
    (split_pets / "test/images").rmdir()
    assert load(split_pets).test.size == 1


def test_a_class_may_be_absent_from_the_test(split_pets):
    (split_pets / "val/cat/0.png").unlink()
    (split_pets / "val/cat").rmdir()
    assert load(split_pets).test.targets()["label"].tolist() == [1, 1, 1]


def test_every_extension_counts_in_any_case_and_nothing_else(tmp_path):
    names = "a.jpg b.jpeg c.JPEG d.png e.BMP f.webp g.gif h.tif i.TIFF j.ppm k.Pgm"
    for name in names.split():
        put(tmp_path / "x" / name, mode="L" if name.endswith("Pgm") else "RGB")
    put(tmp_path / "y" / "deep" / "er" / "1.png")
    put(tmp_path / "y" / ".hidden.png")
    put(tmp_path / "y" / ".cache" / "1.png")
    (tmp_path / "y" / "notes.txt").write_text("no image")
    (tmp_path / ".git").mkdir()
    train, test, _ = load(tmp_path)
    assert train.size + test.size == 11 + 1
    assert train.class_names == ("x", "y")


def test_links_are_followed_once(pets):
    outside = pets.parent / "outside"
    put(outside / "1.png", 7)
    put(pets.parent / "more" / "1.png", 8)
    (pets / "cow").symlink_to(outside)
    (pets / "cat" / "back").symlink_to(pets / "cat")
    (pets / "cat" / "more").symlink_to(pets.parent / "more")
    (outside / "round").symlink_to(outside)
    train, test, _ = load(pets)
    assert train.class_names == ("cat", "cow", "dog")
    numbers = [*range(10), 7, 8, *range(100, 105)]
    assert sorted(levels(train) + levels(test)) == sorted(numbers)


def test_words_name_the_classes(pets):
    (pets / "words.txt").write_text("cat\ttabby, cat\ndog\tpug, pug-dog\nx\ty\n")
    assert load(pets).train.class_names == ("tabby", "pug")


def test_words_that_two_classes_share_are_given_in_full(pets):
    (pets / "words.txt").write_text("cat\tcrane, bird\ndog\tcrane, machine\n")
    assert load(pets).train.class_names == ("crane, bird", "crane, machine")


def test_folders_without_words_keep_their_names(pets):
    (pets / "classes.txt").write_text("cat house cat\ndog\n")
    assert load(pets).train.class_names == ("house cat", "dog")


def test_greyscale_only_if_all_are(tmp_path):
    for i in range(5):
        put(tmp_path / f"a/{i}.png", i, mode="L")
        put(tmp_path / f"b/{i}.jpg", i, mode="L")
    assert load(tmp_path).train.image_shape == (6, 8, 1)
    assert load(tmp_path).train.read()["image"].shape == (8, 6, 8, 1)
    put(tmp_path / "b/5.jpg")
    assert load(tmp_path).train.image_shape == (6, 8, 3)
    assert load(tmp_path).train.read()["image"].shape == (9, 6, 8, 3)


def test_rotated_images_count_as_they_are_seen(pets):
    tags = Image.Exif()
    tags[0x0112] = 6
    put(pets / "cat/rotated.jpg", 99, size=(6, 8), exif=tags)
    assert load(pets).train.image_shape == (6, 8, 3)
    load(pets).train.read()


@pytest.mark.parametrize("size", [(80, 60), (8, 60), (80, 6)])
def test_images_of_many_sizes_cannot_be_one_array(pets, size):
    put(pets / "cat/large.png", size=size)
    train, *_ = load(pets)
    assert train.image_shape == (None, None, 3)
    with pytest.raises(UsageError, match=r"differ in size.*streams"):
        train.read()


def test_a_missing_folder(tmp_path):
    message = refused(tmp_path / "here" / "not")
    assert f"no folder {tmp_path / 'here' / 'not'}" in message
    assert str(tmp_path) + "\n" in message + "\n"


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "table.csv").write_text("path,label\n")
    assert "is a file" in refused(tmp_path / "table.csv")


@pytest.mark.parametrize("flat", [0, 3])
def test_no_class_folders(tmp_path, flat):
    for i in range(flat):
        put(tmp_path / f"{i}.png")
    message = refused(tmp_path)
    assert "no class folders" in message
    assert ("3 images of unknown class" in message) == bool(flat)
    assert "one folder per class" in message


def test_splits_without_train(split_pets):
    (split_pets / "train").rename(split_pets / "first")
    assert "no train/" in refused(split_pets)


def test_an_empty_class_is_named(split_pets):
    (split_pets / "train/cow").mkdir()
    (split_pets / "val/dog/notes.txt").write_text("")
    for path in (split_pets / "val/dog").glob("*.png"):
        path.unlink()
    message = refused(split_pets)
    assert "train split: cow" in message
    assert "test split: dog" in message


def test_one_class_only(pets):
    for path in [*(pets / "dog").iterdir(), pets / "dog"]:
        path.rmdir() if path.is_dir() else path.unlink()
    assert "only one class, 'cat'" in refused(pets)


def test_a_class_that_only_the_test_has(split_pets):
    put(split_pets / "val/Dog/0.png")
    assert "not in train/: Dog" in refused(split_pets)


def test_a_test_with_none_of_the_classes(split_pets):
    (split_pets / "val/dog").rename(split_pets / "val/n01")
    (split_pets / "val/cat").rename(split_pets / "val/n02")
    assert "no folder of train/ in val/" in refused(split_pets)


def test_broken_files_are_all_named_before_anything_is_read(pets):
    (pets / "cat/empty.png").write_bytes(b"")
    (pets / "dog/page.jpg").write_text("<html>")
    whole = (pets / "cat/1.png").read_bytes()
    (pets / "cat/half.png").write_bytes(whole[: len(whole) // 2])
    (pets / "dog/gone.png").symlink_to(pets / "nowhere")
    message = refused(pets)
    assert "4 of 19 images" in message
    for part in ("cat/empty.png: the file is empty", "dog/page.jpg: ", "cat/half.png"):
        assert part in message
    assert "dog/gone.png" in message
    assert f"list them in {pets / 'exclude.txt'}" in message


def test_excluded_files_are_no_part_of_the_set(pets):
    (pets / "cat/empty.png").write_bytes(b"")
    (pets / "exclude.txt").write_text("# broken\n\ncat/empty.png\n./dog/4.png\n")
    train, test, _ = load(pets)
    assert train.size + test.size == 14
    assert 104 not in levels(train) + levels(test)


def test_an_excluded_file_that_is_not_there_may_be_a_typing_error(pets):
    (pets / "exclude.txt").write_text("cat/0.png\ncats/1.png\n")
    message = refused(pets)
    assert "1 images that are not in the set: cats/1.png" in message


def test_of_many_broken_files_the_list_goes_where_it_can_be_appended(pets):
    for i in range(25):
        (pets / f"cat/broken{i:02}.png").write_bytes(b"")
    message = refused(pets)
    assert "… and 5 more" in message
    assert "broken19" in message
    assert "broken20" not in message
    file = Path(message.split("all are listed in ")[1].split("\n")[0])
    (pets / "exclude.txt").write_text(file.read_text())
    train, test, _ = load(pets)
    assert train.size + test.size == 15


@pytest.fixture
def damaged(split_pets) -> Path:
    """Two files whose pixels are damaged between an intact header and end."""
    for path in (split_pets / "train/cat/3.png", split_pets / "train/dog/1.png"):
        content = path.read_bytes()
        start = content.index(b"IDAT") + 6
        path.write_bytes(content[:start] + b"\0" * 8 + content[start + 8 :])
    return split_pets


def test_damaged_pixels_are_named_all_at_once_when_read(damaged):
    with pytest.raises(UsageError) as caught:
        load(damaged).train.read()
    message = str(caught.value)
    assert "2 of 15 images" in message
    assert "train/cat/3.png" in message
    assert "train/dog/1.png" in message
    load(damaged).test.read()


def test_verify_names_them_for_those_who_stream(damaged):
    train, test, _ = load(damaged)
    verify(test)
    part, _ = carve(train, 2)
    with pytest.raises(UsageError, match="2 of 15 images"):
        verify(part)
    verify(registry.load("synthetic").train)  # has no files


def test_a_file_that_changed_after_it_was_looked_at(pets):
    test = load(pets).test
    for path in pets.glob("*/*.png"):
        put(path, size=(3, 3))
    with pytest.raises(UsageError, match="is 3×3×3 now, was 6×8×3"):
        test.read()


def test_sizes_are_looked_up_once_and_again_after_a_change(pets, monkeypatch):
    from jaxvision.data.files import image_files

    calls = []
    inspect = image_files.inspect
    monkeypatch.setattr(
        image_files, "inspect", lambda path: calls.append(path) or inspect(path)
    )
    monkeypatch.setattr(image_files, "_CACHED_FROM", 10)
    first = load(pets)
    assert len(calls) == 15
    assert load(pets).train[1:4] == first.train[1:4]
    assert len(calls) == 15
    put(pets / "cat/0.png", size=(9, 9))
    assert load(pets).train.image_shape == (None, None, 3)
    assert len(calls) == 30
    os.utime(pets / "cat/1.png", (1, 1))
    load(pets)
    assert len(calls) == 45


def test_a_cache_that_cannot_be_written_is_done_without(pets, monkeypatch):
    from jaxvision.data.files import image_files

    monkeypatch.setattr(image_files, "_CACHED_FROM", 10)
    monkeypatch.setattr(image_files, "user_cache", lambda: Path("/dev/null/x"))
    assert load(pets).train.size == 12


@pytest.mark.skipif(not TINY_IMAGENET.is_dir(), reason=f"no {TINY_IMAGENET}")
def test_tiny_imagenet():
    train, test, _ = load(TINY_IMAGENET)
    assert (train.size, test.size) == (10_000, 1_000)
    assert train.image_shape == (64, 64, 3)
    assert train.class_names[:2] == ("goldfish", "centipede")
    data = test.read()
    assert np.bincount(data["label"]).tolist() == [50] * 20
    assert 100 < data["image"].mean() < 130
    grey = (data["image"] == data["image"][..., :1]).all((1, 2, 3))
    assert 0 < grey.sum() < 50


def test_both_spellings_of_a_name_are_one_class(pets):
    for name in ("cafe\u0301", "caf\xe9"):
        (pets / name).mkdir()
        Image.new("RGB", (8, 6)).save(pets / name / f"{len(name)}.png")
    names = load(pets).train.class_names
    assert names.count("caf\xe9") == 1 and "cafe\u0301" not in names


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\tb"])
def test_folders_that_cannot_name_a_class(pets, name):
    os.mkdir(os.fsencode(pets) + b"/" + name)
    with pytest.raises(UsageError, match=r"cannot name a class.*Rename it"):
        load(pets)


def test_names_of_files_that_are_not_utf_8_are_refused(pets):
    file = next(pets.rglob("*.png"))
    os.rename(file, os.fsencode(file.parent) + b"/caf\xe9.png")
    with pytest.raises(UsageError, match=r"1 files .*not UTF-8.*udce9.*rename"):
        load(pets)


@pytest.mark.parametrize("file", ["words.txt", "classes.txt", "exclude.txt"])
def test_lists_in_other_encodings_are_refused_by_name(pets, file):
    (pets / file).write_bytes("cat K\xe4tzchen\n".encode("latin-1"))
    with pytest.raises(UsageError, match=f"{file} is not UTF-8: line 1"):
        load(pets)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_may_have_a_byte_order_mark(pets, encoding):
    (pets / "words.txt").write_bytes("cat K\xe4tzchen\n".encode(encoding))
    assert "K\xe4tzchen" in load(pets).train.class_names


def test_a_pipe_among_the_images_is_named_and_not_waited_for(pets):
    os.mkfifo(pets / "cat" / "pipe.png")
    with pytest.raises(UsageError, match=r"cat/pipe\.png: it is a pipe"):
        load(pets)
