"""Images with masks are a data set for segmentation; what is wrong has a path."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import carve, registry
from jaxvision.data.files import image_files
from jaxvision.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def photo(path: Path, level=0, size=(8, 6), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 0, 0)).save(path, **options)


def mask(path: Path, numbers, mode="P") -> None:
    """An image whose indices, or grey levels, or colours are these numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(numbers, np.uint8))
    if mode == "P":
        image = Image.fromarray(np.asarray(numbers, np.uint8), "L")
        image.putpalette([7 * i % 256 for i in range(768)])
    image.save(path)


def numbers(i: int) -> np.ndarray:
    """[6,8] of 0, 1 and 2, one pixel unknown; no two alike."""
    found = np.zeros((6, 8), np.uint8)
    found.flat[i : i + 20] = 1
    found.flat[i + 20 : i + 24] = 2
    found[5, 7] = 255
    return found


@pytest.fixture
def cells(tmp_path) -> Path:
    """Five training images, and two to test on."""
    root = tmp_path / "cells"
    for split, numbered in (("train", range(5)), ("val", (10, 11))):
        for i in numbered:
            photo(root / split / "images" / f"{i}.jpg")
            mask(root / split / "masks" / f"{i}.png", numbers(i))
    return root


def load(root: Path):
    return registry.load(f"masks:{root}")


def refused(root: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(root)
    return str(caught.value)


def test_numbers_come_as_they_are_in_both_ways(cells):
    train, test, _ = load(cells)
    assert (train.size, test.size) == (5, 2)
    assert train.image_shape == (6, 8, 3)
    assert train.class_names == test.class_names == ("0", "1", "2")
    assert train.targets() == {}
    data = train.read()
    assert data.keys() == {"image", "segmentation"}
    assert data["segmentation"].dtype == np.uint8
    np.testing.assert_array_equal(data["segmentation"], [numbers(i) for i in range(5)])
    maps = pickle.loads(pickle.dumps(test.maps))
    np.testing.assert_array_equal(maps(1)["segmentation"], numbers(11))


def test_splits_may_be_inside_and_files_in_folders(tmp_path):
    for i in range(5):
        photo(tmp_path / f"images/train/a/{i}.PNG")
        mask(tmp_path / f"masks/train/a/{i}.png", numbers(i))
    photo(tmp_path / "images/test/a/0.png")
    mask(tmp_path / "masks/test/a/0.png", numbers(7))
    train, test, _ = load(tmp_path)
    assert (train.size, test.size) == (5, 1)
    np.testing.assert_array_equal(test.read()["segmentation"][0], numbers(7))


def test_a_fifth_is_held_out_with_its_masks(tmp_path):
    for i in range(10):
        photo(tmp_path / f"images/{i}.png", level=i)
        mask(tmp_path / f"masks/{i}.png", numbers(i))
    train, test, _ = load(tmp_path)
    assert (train.size, test.size) == (8, 2)
    for source in (train, test, *carve(train, 3)):
        data = source.read()
        levels = data["image"][:, 0, 0, 0].tolist()
        wanted = [numbers(i) for i in levels]
        np.testing.assert_array_equal(data["segmentation"], wanted)
        for row, each in enumerate(wanted):
            np.testing.assert_array_equal(source.maps(row)["segmentation"], each)


def test_images_of_several_sizes_are_streamed(cells):
    photo(cells / "train/images/9.jpg", size=(3, 4))
    mask(cells / "train/masks/9.png", np.ones((4, 3)))
    train, *_ = load(cells)
    assert train.image_shape == (None, None, 3)
    assert train.maps(5)["segmentation"].shape == (4, 3)


def test_a_test_split_without_masks_is_none(cells):
    photo(cells / "test/images/1.jpg")
    assert load(cells).test.size == 2


def test_classes_may_have_names(cells):
    (cells / "classes.txt").write_text("background\ncell wall\nnucleus\n")
    assert load(cells).train.class_names == ("background", "cell wall", "nucleus")


@pytest.mark.parametrize("name", ["labels", "annotations", "Labels"])
def test_the_folder_of_the_masks_may_be_called_otherwise(cells, name):
    (cells / "train/masks").rename(cells / "train" / name)
    assert [source.size for source in load(cells)[:2]] == [5, 2]
    (cells / "train/labels").mkdir(exist_ok=True)
    (cells / "train/annotations").mkdir(exist_ok=True)
    message = refused(cells)
    assert "annotations/: call that which belongs to images/ masks/" in message
    (cells / "train" / name).rename(cells / "train/masks")
    assert load(cells).train.size == 5


@pytest.mark.parametrize(
    ("names", "classes", "of_numbers"),
    [
        ("a\nb\nVoid\n", ("a", "b"), (0, 1, 255)),
        ("unlabelled\na\nb\n", ("a", "b"), (255, 0, 1)),
        ("a\nignore\nb\n", ("a", "b"), (0, 255, 1)),
    ],
)
def test_a_class_called_void_is_unknown(cells, names, classes, of_numbers):
    (cells / "classes.txt").write_text(names)
    train, test, _ = load(cells)
    assert train.class_names == classes
    table = np.array([*of_numbers, *[255] * 253], np.uint8)
    for source, first in ((train, 0), (test, 10)):
        maps = pickle.loads(pickle.dumps(source.maps))
        np.testing.assert_array_equal(
            maps(0)["segmentation"], table[numbers(first)], strict=True
        )
    # What is beyond all names is still an error, and so is one class.
    mask(cells / "val/masks/10.png", numbers(0) * (numbers(0) < 3) + 1)
    assert "val/masks/10.png holds 3, and there are 3 classes" in refused(cells)
    (cells / "classes.txt").write_text("void\na\nunknown\n")
    mask(cells / "val/masks/10.png", numbers(0))
    assert "hold 1 class (a), and classification needs two" in refused(cells)


def test_all_three_splits_are_checked_alike(cells):
    for i in range(20, 23):
        photo(cells / f"test/images/{i}.jpg")
        mask(cells / f"test/masks/{i}.png", numbers(i))
    assert [source.size for source in load(cells)] == [5, 3, 2]
    (cells / "classes.txt").write_text("a\nb\nc\nd\n")
    mask(cells / "val/masks/11.png", np.full((6, 8), 3))
    assert "class d is in the validation split and not in the" in refused(cells)
    (cells / "classes.txt").unlink()
    mask(cells / "val/masks/11.png", numbers(11)[1:])
    assert "its mask val/masks/11.png 5×8" in refused(cells)
    (cells / "val/masks/11.png").unlink()
    assert "val/images/11.jpg has no mask in val/masks/" in refused(cells)
    (cells / "exclude.txt").write_text("val/images/11.jpg\n")
    assert load(cells).validation.size == 1


def test_classes_without_an_example_are_warned_of(cells):
    (cells / "classes.txt").write_text("a\nb\nc\nd\n")
    with pytest.warns(UserWarning, match="no example of 1 of the 4 classes: d"):
        assert load(cells).train.class_names == ("a", "b", "c", "d")


COLOURS = "0 0 0\t\tVoid\n64 128 64\tAnimal\n192 0 128 Archway\n"


def test_colours_stand_for_classes(tmp_path):
    table = np.array([[64, 128, 64], [192, 0, 128], [0, 0, 0]], np.uint8)
    for i in range(5):
        photo(tmp_path / f"images/{i}.png")
        shown = np.minimum(numbers(i), 2)
        mask(tmp_path / f"masks/{i}.png", table[shown], mode="RGB")
    (tmp_path / "label_colors.txt").write_text(COLOURS)
    train, *_ = load(tmp_path)
    assert train.class_names == ("Animal", "Archway")
    wanted = np.where(numbers(0) < 2, numbers(0), 255)
    np.testing.assert_array_equal(train.maps(0)["segmentation"], wanted)

    mask(tmp_path / "masks/3.png", np.full((6, 8, 3), 9), mode="RGB")
    message = refused(tmp_path)
    assert "masks/3.png: label_colors.txt does not list its colours 9 9 9" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 0 a\n0 0 0 b\n", "line 2: the colour of b is taken"),
        ("0 0 300 a\n", "line 1: '0 0 300 a' is not of the form 64 128 64 Animal"),
        ("a 0 0 0\n", "is not of the form"),
        ("0 0 0 a\n1 1 1 a\n", "names more than one class a"),
        ("0 0 0 void\n", "names no class"),
    ],
)
def test_a_colour_table_that_is_none(cells, text, message):
    (cells / "label_colors.txt").write_text(text)
    assert message in refused(cells)


def test_pascal_voc(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for i in range(3):
        photo(root / f"JPEGImages/{i}.jpg")
        mask(root / f"SegmentationClass/{i}.png", numbers(i))
    photo(root / "JPEGImages/9.jpg")  # has boxes only
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n2\n")
    (lists / "val.txt").write_text("1\n")
    (lists / "test.txt").write_text("9\n")
    (tmp_path / "classes.txt").write_text("not looked at")
    with pytest.warns(UserWarning, match="no example of 18 of the 21 classes"):
        train, test, _ = load(tmp_path / "VOCdevkit")
    assert train.class_names[:3] == ("background", "aeroplane", "bicycle")
    assert (train.size, test.size) == (2, 1)
    np.testing.assert_array_equal(train.maps(1)["segmentation"], numbers(2))

    (lists / "train.txt").write_text("0\n2\n2\n7\n")
    (lists / "val.txt").write_text("1\n0\n")
    message = refused(root)
    assert "train.txt lists 2 more than once" in message
    assert "train.txt and val.txt both list 0" in message
    assert "there is no image 7" in message


# Bad input


def test_no_such_layout(tmp_path):
    photo(tmp_path / "images/0.png")
    assert "no images/ and masks/" in refused(tmp_path)
    photo(tmp_path / "val/images/0.png")
    mask(tmp_path / "val/masks/0.png", numbers(0))
    assert "but nothing to train on" in refused(tmp_path)
    assert "there is no folder" in refused(tmp_path / "nowhere")


def test_what_has_no_counterpart_is_named(cells):
    photo(cells / "train/images/7.jpg")
    photo(cells / "train/images/3.png")
    mask(cells / "val/masks/8.png", numbers(0))
    lines = [line.strip() for line in refused(cells).splitlines()[1:]]
    assert sorted(lines) == [
        "train/images/3.png and train/images/3.jpg differ in extension only",
        "train/images/7.jpg has no mask in train/masks/",
        "val/masks/8.png is a mask that has no image in val/images/",
    ]
    (cells / "train/images/3.png").unlink()
    (cells / "exclude.txt").write_text("train/images/7.jpg\nval/masks/8.png\n")
    assert (load(cells).train.size, load(cells).test.size) == (5, 2)


def test_a_mask_of_another_size_is_named_with_both(cells):
    mask(cells / "train/masks/1.png", numbers(0).T)
    mask(cells / "val/masks/10.png", numbers(0)[1:])
    lines = [line.strip() for line in refused(cells).splitlines()[1:]]
    assert lines == [
        "train/images/1.jpg is 6×8 (height × width, upright), its mask "
        "train/masks/1.png 8×6",
        "val/images/10.jpg is 6×8 (height × width, upright), its mask "
        "val/masks/10.png 5×8",
    ]


def test_masks_belong_to_upright_images(cells):
    tags = Image.Exif()
    tags[0x0112] = 6
    photo(cells / "train/images/1.jpg", size=(6, 8), exif=tags)
    assert load(cells).train.read()["segmentation"].shape == (5, 6, 8)


def test_numbers_beyond_the_classes(cells):
    (cells / "classes.txt").write_text("a\nb\n")
    message = refused(cells)
    assert message.count("\n") == 7
    assert "train/masks/0.png holds 2, and there are 2 classes, from 0 on" in message
    (cells / "classes.txt").unlink()
    mask(cells / "val/masks/10.png", numbers(0) * (numbers(0) < 3) + 3)
    assert "val/masks/10.png holds 3, 4, 5, and there are 3 classes" in refused(cells)


def test_numbers_with_gaps_want_names(cells):
    mask(cells / "train/masks/0.png", np.where(numbers(0) == 2, 200, 0))
    message = refused(cells)
    assert "the numbers up to 200, but not 3, 4, 5" in message
    assert "classes.txt" in message


@pytest.mark.parametrize("level", [0, 255])
def test_one_class_only(tmp_path, level):
    for i in range(5):
        photo(tmp_path / f"images/{i}.png")
        mask(tmp_path / f"masks/{i}.png", np.where(numbers(i) == 1, level, 0))
    message = refused(tmp_path)
    assert "hold 1 class (0), and classification needs two" in message
    assert ("255 255 255 object" in message) == (level == 255)
    (tmp_path / "label_colors.txt").write_text("0 0 0 no\n255 255 255 yes\n")
    for i in range(5):
        mask(tmp_path / f"masks/{i}.png", np.where(numbers(i) == 1, 255, 0), "L")
    assert load(tmp_path).train.class_names == ("no", "yes")


def test_a_test_split_of_which_nothing_is_known(cells):
    for i in (10, 11):
        mask(cells / f"val/masks/{i}.png", np.full((6, 8), 255))
    assert "no pixel of the test masks is of a class: all are 255" in refused(cells)


def test_a_class_that_only_the_test_has(cells):
    (cells / "classes.txt").write_text("a\nb\nc\nd\n")
    mask(cells / "val/masks/10.png", np.full((6, 8), 3))
    assert "class d is in the test split and not in the training" in refused(cells)


def test_files_that_are_no_masks(cells):
    photo(cells / "train/images/6.jpg")
    mask(cells / "train/masks/6.png", np.arange(144).reshape(6, 8, 3), mode="RGB")
    whole = (cells / "train/masks/1.png").read_bytes()
    (cells / "train/masks/1.png").write_bytes(whole[: len(whole) // 2])
    (cells / "train/masks/2.png").unlink()
    photo(cells / "train/masks/2.jpg")
    deep = Image.fromarray(np.full((6, 8), 300, np.uint16))
    deep.save(cells / "train/masks/3.png")
    message = refused(cells)
    assert "4 of 6 images below" in message
    assert "train/masks/6.png: it is a colour image" in message
    assert "train/masks/2.jpg: JPEG may change the numbers" in message
    assert "train/masks/3.png: it holds the number 300" in message

    left_out = "train/images/1.jpg\ntrain/images/2.jpg\ntrain/masks/3.png\n"
    (cells / "exclude.txt").write_text(left_out + "train/masks/6.png\n")
    assert load(cells).train.size == 2
    (cells / "exclude.txt").write_text(left_out + "train/masks/66.png\n")
    assert "1 images that are not in the set: train/masks/66.png" in refused(cells)


def test_a_mask_damaged_later_is_named_when_its_turn_comes(cells):
    train, *_ = load(cells)
    (cells / "train/masks/1.png").write_bytes(b"no image")
    mask(cells / "train/masks/3.png", numbers(0)[1:])
    with pytest.raises(UsageError) as caught:
        train.read()
    assert "train/images/1.jpg: its mask train/masks/1.png: not an image" in str(
        caught.value
    )
    assert "train/images/3.jpg: its segmentation is 5×8 now, was 6×8" in str(
        caught.value
    )
    part, _ = carve(train, 2)
    with pytest.raises(UsageError, match=r"1 of 5 images.*(?s:.*)its mask"):
        image_files.verify(part)


def test_masks_are_counted_once_and_again_after_a_change(cells, monkeypatch):
    monkeypatch.setattr(image_files, "_CACHED_FROM", 1)
    load(cells)
    from jaxvision.data.files import masks

    def fail(path, colours):
        raise AssertionError("counted again")

    count = masks._count
    monkeypatch.setattr(masks, "_count", fail)
    assert load(cells).train.size == 5
    monkeypatch.setattr(masks, "_count", count)
    mask(cells / "train/masks/1.png", np.full((6, 8), 77))
    assert "77" in refused(cells)


def test_other_colours_are_counted_again(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_CACHED_FROM", 1)
    for i in range(5):
        photo(tmp_path / f"images/{i}.png")
        mask(tmp_path / f"masks/{i}.png", numbers(i) % 2, "L")
    (tmp_path / "label_colors.txt").write_text("0 0 0 no\n1 1 1 yes\n")
    assert load(tmp_path).train.class_names == ("no", "yes")
    (tmp_path / "label_colors.txt").write_text("0 0 0 no\n1 1 1 void\n")
    assert "hold 1 class (no)" in refused(tmp_path)


def test_more_classes_than_there_is_room_for(cells):
    names = "".join(f"{k} {k} {k} c{k}\n" for k in range(256))
    (cells / "label_colors.txt").write_text(names)
    assert "256 classes: at most 255 are possible" in refused(cells)
