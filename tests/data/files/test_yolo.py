"""YOLO's texts are a data set, and what is wrong with them has a path and a line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import registry
from jaxvision.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


def photo(path: Path, size=(8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


YAML = """\
path: /somewhere/else
train: ../train/images
val: ../valid/images
nc: 2
names: [cat, dog]
"""


@pytest.fixture
def pets(tmp_path) -> Path:
    """Two training images with objects and one without; one to test on."""
    root = tmp_path / "pets"
    write(root / "data.yaml", YAML)
    for split, names in (("train", "abc"), ("valid", "d")):
        for name in names:
            photo(root / split / "images" / f"{name}.jpg")
    write(root / "train/labels/a.txt", "0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.5 1\n")
    write(root / "train/labels/b.txt", "\n1 0.5 0.5 1 1\n\n")
    write(root / "valid/labels/d.txt", "0 0.125 0.25 0.25 0.5")
    return root


def load(path: Path):
    return registry.load(f"yolo:{path}")


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(path)
    return str(caught.value)


def test_shares_become_corners_in_pixels(pets):
    train, test, _ = load(pets)
    assert train.class_names == ("cat", "dog")
    assert (train.size, test.size) == (3, 1)
    assert train.targets()["boxes"].tolist() == [
        [[2, 1.5, 6, 4.5], [0, 0, 4, 6]],
        [[0, 0, 8, 6], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    assert train.targets()["classes"].tolist() == [[0, 1], [1, -1], [-1, -1]]
    assert not train.targets()["crowd"].any()
    assert test.targets()["boxes"][0, 0].tolist() == [0, 0, 2, 3]
    assert train.maps is None
    assert load(pets / "data.yaml").test.size == 1


def test_each_image_has_its_own_size(pets):
    photo(pets / "train/images/a.jpg", size=(80, 30))
    boxes = load(pets).train.targets()["boxes"]
    assert boxes[0, 0].tolist() == [20, 7.5, 60, 22.5]
    assert boxes[1, 0].tolist() == [0, 0, 8, 6]


def test_the_yaml_may_name_other_folders(pets):
    (pets / "train").rename(pets / "first")
    (pets / "valid").rename(pets / "second")
    write(
        pets / "data.yaml",
        "train: first/images\nval: second/images\nnames: {0: a, 1: b}",
    )
    train, test, _ = load(pets)
    assert (train.size, test.size) == (3, 1)
    assert train.class_names == ("a", "b")
    write(pets / "data.yaml", "train: first/images\nval: first/images\nnames: [a, b]")
    assert "would be tested on 3 images that it is trained on" in refused(pets)


@pytest.mark.parametrize("layout", ["{n}", "images/{n}", "images/train/{n}"])
@pytest.mark.parametrize("names", ["classes.txt", "obj.names"])
def test_texts_beside_their_images_or_in_a_folder(tmp_path, layout, names):
    write(tmp_path / names, "cat\ndog\n")
    for n in range(10):
        path = layout.format(n=n)
        photo(tmp_path / f"{path}.png")
        write(
            tmp_path / f"{path.replace('images', 'labels')}.txt", f"{n % 2} .5 .5 1 1"
        )
    train, test, _ = load(tmp_path)
    assert (train.size, test.size) == (8, 2)
    assert train.class_names == ("cat", "dog")


def test_polygons(pets):
    triangle = "1 0.25 0 0.75 0 0.75 1 0.25 1"
    for text in ("train/labels/a", "train/labels/b", "valid/labels/d"):
        write(pets / f"{text}.txt", f"{triangle}\n{triangle.replace('1', '0', 1)}")
    train, test, _ = load(pets)
    assert train.targets()["boxes"][0].tolist() == [[2, 0, 6, 6], [2, 0, 6, 6]]
    instances = train.read()["instances"]
    assert instances.shape == (3, 2, 6, 8)
    wanted = np.zeros((6, 8))
    wanted[:, 2:6] = 1
    np.testing.assert_array_equal(instances[0, 1], wanted)
    assert not instances[2].any()
    assert test.maps(0)["instances"].sum() == 48


@pytest.mark.parametrize("each", [2, 3])
def test_keypoints(pets, each):
    write(pets / "data.yaml", YAML + f"kpt_shape: [2, {each}]\n")
    row = "0.5 0.5 1 1 0.25 0.5 1 0 0 0" if each == 3 else "0.5 0.5 1 1 0.25 0.5 0 0"
    for text in ("train/labels/a", "train/labels/b", "valid/labels/d"):
        write(pets / f"{text}.txt", f"0 {row}\n1 {row}\n")
    train = load(pets).train
    assert train.skeleton.names == ("1", "2") and train.skeleton.mirrored is None
    points = train.targets()["keypoints"]
    assert points.shape == (3, 2, 2, 3)
    visible = 1 if each == 3 else 2
    assert points[0, 1].tolist() == [[2, 3, visible], [0, 0, 0]]
    assert not points[2].any()
    more = f"kpt_shape: [2, {each}]\nflip_idx: [1, 0]\nkpt_names:\n  0: [ear, tail]\n"
    write(pets / "data.yaml", YAML + more)
    found = load(pets).test.skeleton
    assert found.names == ("ear", "tail") and found.mirrored == (1, 0)
    write(pets / "train/labels/b.txt", "0 0.5 0.5 1 1")
    assert "b.txt, line 1: 4 numbers after the class: expected a box and 2" in (
        refused(pets)
    )


# Bad input


def test_rows_that_are_none(pets):
    rows = [
        "0 0.5 0.5 0.5 0.5",
        "2 0.5 0.5 0.5 0.5",
        "-1 0.5 0.5 0.5 0.5",
        "cat 0.5 0.5 0.5 0.5",
        "0 0.5 0.5 0.5",
        "0 0.5 0.5 0.5 0.5 0.5",
        "0 0.5 0.5 nan 0.5",
        "0 0.5 0.5 x 0.5",
        "0  0.5 0.5 0.5 0.5",
        "1 50 40 20 10",
        "1 0.5 0.5 0 0.5",
        "1",
    ]
    write(pets / "train/labels/a.txt", "\n".join(rows))
    wanted = [
        "line 2: there is no class 2, only those from 0 to 1",
        "line 3: there is no class -1, only those from 0 to 1",
        "line 4: there is no class cat, only those from 0 to 1",
        "line 5: 3 numbers after the class: expected a box of 4, or a polygon of x "
        "and y for three corners or more",
        "line 6: 5 numbers after the class: expected a box of 4, or a polygon of x "
        "and y for three corners or more",
        "line 7: '0.5 0.5 nan 0.5' are not all numbers",
        "line 8: '0.5 0.5 x 0.5' are not all numbers",
        "line 9: the same as line 1",
        "line 12: 0 numbers after the class: expected a box of 4, or a polygon of x "
        "and y for three corners or more",
    ]
    found = [line.strip() for line in refused(pets).splitlines()[1:]]
    assert found[:9] == [f"train/labels/a.txt, {line}" for line in wanted]
    assert found[9].startswith("train/images/a.jpg, line 10: the box 320 210 480 270")
    assert found[10].endswith("has no area")
    assert len(found) == 11


def test_texts_without_an_image(pets):
    write(pets / "train/labels/z.txt", "0 0.5 0.5 1 1")
    photo(pets / "train/images/a.png")
    found = [line.strip() for line in refused(pets).splitlines()[1:]]
    assert found == [
        "train/images/a.png and train/images/a.jpg differ in extension only",
        "train/labels/z.txt has no image in train/images/",
    ]


def test_no_text_at_all(pets):
    for path in pets.rglob("*.txt"):
        path.unlink()
    assert "no image of" in refused(pets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b", "is not YAML, or damaged"),
        ("train: x", "does not name its classes"),
        ("- a", "does not name its classes"),
        ("names: {1: a, 2: b}", "numbers from 0 without gaps"),
        ("names: [a, a]", "names more than one class a"),
        ("names: []", "names no class"),
        ("nc: 3\nnames: [a, b]", "has nc: 3, and 2 names"),
        ("names: [a]\nkpt_shape: [17, 4]", "kpt_shape: ['17', '4']"),
    ],
)
def test_a_yaml_that_names_no_classes(pets, text, message):
    write(pets / "data.yaml", text)
    assert message in refused(pets)


def test_no_names_and_no_folders(pets):
    (pets / "data.yaml").unlink()
    assert "has neither data.yaml nor classes.txt nor obj.names" in refused(pets)
    (pets / "classes.txt").write_text("cat\ndog\n")
    (pets / "train").rename(pets / "test")
    assert "has test/images/" in refused(pets)
    assert "but nothing to train on" in refused(pets)


def test_images_may_be_left_out(pets):
    (pets / "train/images/c.jpg").write_bytes(b"")
    assert "train/images/c.jpg: the file is empty" in refused(pets)
    (pets / "exclude.txt").write_text("train/images/c.jpg")
    assert load(pets).train.size == 2


# Fields


@pytest.mark.parametrize(
    ("names", "read"),
    [
        ("[yes, NO]", ("yes", "NO")),
        ("[010, 12:30]", ("010", "12:30")),
        ("[2024-01-01, 1e3]", ("2024-01-01", "1e3")),
        ("[!!int 7, null]", ("7", "null")),
        ("{0: on, 1: off}", ("on", "off")),
        ("{'1': b, 0: a}", ("a", "b")),
        ("{1.0: b, 0: a}", ("a", "b")),
        ("[cafe\u0301, dog]", ("caf\xe9", "dog")),
    ],
)
def test_names_are_read_as_they_are_written(pets, names, read):
    write(pets / "data.yaml", f"names: {names}\nnc: '2'")
    assert load(pets).train.class_names == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: {0: a, x: b}", "'x' is not a number"),
        ("names: {0: a, 00: b}", "two classes alike"),
        ("names: {0: a, 2: b}", "it has no class 1"),
        ("names: [[a], b]", "neither a name nor a whole number"),
        ("names: [a]\nnc: many", "has a wrong nc: 'many' is not a number"),
        ("names: [a]\nkpt_shape: [99999999999, 3]", "up to 1000"),
        ("names: [a]\nkpt_shape: x", "kpt_shape: 'x'"),
        ("names: [a]\nkpt_shape: [2, 3]\nflip_idx: [1, 1]", "each the other's"),
        ("names: [a]\nkpt_shape: [2, 3]\nflip_idx: [1, x]", "'x' is not a number"),
        ("names: [a]\nkpt_shape: [2, 3]\nkpt_names: [b]", "kpt_names are 1, and"),
        ("names: [a]\nkpt_shape: [2, 3]\nkpt_names: bc", "kpt_names is 'bc'"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]", "neither a name nor"),
    ],
)
def test_names_that_are_none(pets, text, message):
    write(pets / "data.yaml", text)
    assert message in refused(pets)


def test_aliases_of_aliases_are_not_written_out(pets):
    levels = "\n".join(
        f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]" for k in range(1, 40)
    )
    write(pets / "data.yaml", f"l0: &l0 [x]\n{levels}\nnames: *l39")
    assert len(refused(pets)) < 1_000


def test_classes_may_be_floats_and_suffixes_in_upper_case(pets):
    want = load(pets).train.targets()
    (pets / "train/labels/a.txt").unlink()
    write(pets / "train/labels/a.TXT", "0.0 0.5 0.5 0.5 0.5\n1.0 0.25 0.5 0.5 1\n")
    for key, array in load(pets).train.targets().items():
        np.testing.assert_array_equal(array, want[key])
    write(pets / "train/labels/a.txt", "0 0.5 0.5 0.5 0.5\n")
    assert "differ in extension only" in refused(pets)


@pytest.mark.parametrize(
    "row", ["0.5 0.5 0.5 0.5 0.5", "0 0_5 0.5 0.5 0.5", "9" * 5_000]
)
def test_what_python_takes_for_numbers_and_yolo_does_not(pets, row):
    write(pets / "train/labels/a.txt", row)
    assert "train/labels/a.txt, line 1: " in refused(pets)


def test_texts_in_other_encodings(pets):
    (pets / "train/labels/a.txt").write_bytes("0 0.5 0.5 1 1".encode("utf-16"))
    assert load(pets).train.targets()["classes"][0].tolist() == [0]
    (pets / "train/labels/a.txt").write_bytes("0 0.5 0.5 1 1 \xe9".encode("latin-1"))
    assert "a.txt is not UTF-8: line 1" in refused(pets)
