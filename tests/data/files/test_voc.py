"""Pascal VOC's XML is a data set, and what is wrong with it has a path."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import carve, registry
from jaxvision.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


def photo(path: Path, size=(8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def thing(name="cat", box=(2, 3, 5, 4), more="<difficult>0</difficult>") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inside = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name>{more}<bndbox>{inside}</bndbox></object>"


def xml(path: Path, *things: str, size=(8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    head = f"<size><width>{width}</width><height>{height}</height></size>"
    path.write_text(f"<annotation>{head}{''.join(things)}</annotation>")


DIFFICULT = thing("dog", (1, 1, 8, 6), "<difficult>1</difficult>")
PARTS = thing("dog", more="<part><name>head</name><bndbox/></part>")
OBJECTS = {
    "a": [thing(), DIFFICULT],
    "b": [],
    "c": [PARTS],
    "d": [thing("cat", (1.5, 1, 2, "5.25"))],
}


@pytest.fixture
def devkit(tmp_path) -> Path:
    """A and b to train on, c to validate, d to test."""
    root = tmp_path / "VOCdevkit" / "VOC2007"
    for name, things in OBJECTS.items():
        photo(root / f"JPEGImages/{name}.jpg")
        xml(root / f"Annotations/{name}.xml", *things)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    names = {"train": "ab", "val": "c", "trainval": "abc", "test": "d"}
    for split, each in names.items():
        (lists / f"{split}.txt").write_text("\n".join(each) + "\n")
    (lists / "cat_train.txt").write_text("a  1\nb -1\n")
    return root


def load(path: Path):
    return registry.load(f"voc:{path}")


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(path)
    return str(caught.value)


def lines(message: str) -> list[str]:
    return [line.strip() for line in message.splitlines()[1:]]


def test_boxes_count_from_one_and_contain_their_last_pixels(devkit):
    (devkit / "ImageSets/Main/val.txt").unlink()
    train, test, validation = load(devkit.parent)
    assert train.name == f"voc:{devkit.parent}:train"
    assert (train.size, test.size, validation) == (3, 1, None)
    assert train.class_names == ("cat", "dog")
    targets = train.targets()
    assert targets["boxes"].tolist() == [
        [[1, 2, 5, 4], [0, 0, 8, 6]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
        [[1, 2, 5, 4], [0, 0, 0, 0]],
    ]
    assert targets["classes"].tolist() == [[0, 1], [-1, -1], [1, -1]]
    assert targets["crowd"].tolist() == [[0, 1], [0, 0], [0, 0]]
    assert test.targets()["boxes"][0, 0].tolist() == [0.5, 0, 2, 5.25]
    assert train.maps is None


def test_all_lists_are_used_where_they_are_annotated(devkit):
    assert [source.size for source in load(devkit)] == [2, 1, 1]
    assert load(devkit).validation.choice == (
        "the list ImageSets/Main/val.txt, as declared"
    )


def test_without_annotations_of_test_there_are_train_and_val(devkit):
    (devkit / "Annotations/d.xml").unlink()
    train, test, _ = load(devkit)
    assert (train.size, test.size) == (2, 1)
    assert test.targets()["classes"].tolist() == [[1, -1]]
    (devkit / "ImageSets/Main/val.txt").unlink()
    (devkit / "ImageSets/Main/train.txt").unlink()
    train, test, _ = load(devkit)
    assert (train.size, test.size) == (2, 1)


def test_without_lists_all_are_split(devkit):
    for path in (devkit / "ImageSets/Main").iterdir():
        path.unlink()
    train, test, _ = load(devkit)
    assert (train.size, test.size) == (3, 1)


@pytest.mark.parametrize("images", ["images", ""])
@pytest.mark.parametrize("splits", [True, False])
def test_plain_folders(tmp_path, images, splits):
    for n in range(10):
        split = ("test" if n < 2 else "train") if splits else ""
        inside = tmp_path / split
        photo(inside / images / f"{n}.png")
        annotations = inside / ("annotations" if images else "")
        xml(annotations / f"{n}.xml", thing("ba"[n % 2]))
    train, test, _ = load(tmp_path)
    assert train.class_names == ("a", "b")
    assert (train.size, test.size) == (8, 2)
    if splits:
        assert test.targets()["classes"].tolist() == [[1], [0]]


def test_declared_classes_keep_their_order(devkit):
    (devkit / "classes.txt").write_text("dog\ncat\n")
    assert load(devkit).train.class_names == ("dog", "cat")
    assert load(devkit).train.targets()["classes"][0].tolist() == [1, 0]


def test_masks_of_objects(devkit):
    masks = {
        name: np.full((6, 8), 255 if name == "a" else 0, np.uint8) for name in OBJECTS
    }
    masks["a"][:3], masks["a"][4] = 1, 2
    masks["d"][5, 7] = 1
    for name, mask in masks.items():
        path = devkit / f"SegmentationObject/{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    train, test, _ = load(devkit)
    maps = pickle.loads(pickle.dumps(train.maps))
    instances = maps(0)["instances"]
    assert (instances.shape, instances.dtype) == ((2, 6, 8), np.uint8)
    np.testing.assert_array_equal(instances[0], masks["a"] == 1)
    np.testing.assert_array_equal(instances[1], masks["a"] == 2)
    assert test.read()["instances"].sum() == 1
    for part in carve(train, 1):
        assert part.maps(0)["instances"].shape == (2, 6, 8)

    Image.fromarray(masks["a"].T).save(devkit / "SegmentationObject/c.png")
    assert lines(refused(devkit)) == [
        "SegmentationObject/c.png is 8×6 (height × width), its image 6×8"
    ]
    (devkit / "SegmentationObject/c.png").unlink()
    assert load(devkit).train.maps is None


# Bad input


def test_no_xml_and_several_years(tmp_path, devkit):
    photo(tmp_path / "plain/1.jpg")
    assert "an XML file for each image" in refused(tmp_path / "plain")
    xml(tmp_path / "plain/test/1.xml")
    assert "has test/, but nothing to train on" in refused(tmp_path / "plain")
    (devkit.parent / "VOC2012").mkdir()
    assert "holds VOC2007, VOC2012: name one of them" in refused(devkit.parent)


def test_files_that_are_missing_are_named(devkit):
    (devkit / "Annotations/a.xml").unlink()
    (devkit / "JPEGImages/b.jpg").unlink()
    photo(devkit / "JPEGImages/c.png")
    (devkit / "ImageSets/Main/test.txt").write_text("d\nd\nc\n")
    main = devkit / "ImageSets/Main"
    assert sorted(lines(refused(devkit))) == sorted(
        [
            f"{main / 'test.txt'} lists d more than once",
            "test.txt and val.txt both list c",
            *["JPEGImages/c.png and JPEGImages/c.jpg differ in extension only"] * 3,
            f"there is no image b in {devkit / 'JPEGImages'}",
            f"there is no file {devkit / 'Annotations/a.xml'}",
        ]
    )


def test_what_has_no_counterpart_in_plain_folders(tmp_path):
    for n in range(6):
        photo(tmp_path / f"{n}.jpg")
        xml(tmp_path / f"{n}.xml", thing("ab"[n % 2]))
    (tmp_path / "3.xml").unlink()
    (tmp_path / "4.jpg").unlink()
    assert lines(refused(tmp_path)) == [
        f"3.jpg has no 3.xml in {tmp_path}",
        "4.xml has no image",
    ]


def test_annotations_that_are_none(devkit):
    (devkit / "Annotations/a.xml").write_text("<annotation><object>")
    (devkit / "Annotations/b.xml").write_text("<html/>")
    xml(devkit / "Annotations/c.xml", thing(box=(1, 2, "x", 4)))
    xml(devkit / "Annotations/d.xml", "<object><name>cat</name></object>", thing(" "))
    found = lines(refused(devkit))
    broken = devkit / "Annotations/a.xml"
    assert found[0].startswith(f"{broken} is not XML, or damaged: no element found")
    assert found[1] == ("Annotations/b.xml: its root is <html> and not <annotation>")
    assert found[2] == "Annotations/d.xml: object 1 has no <bndbox>"
    assert found[3] == "Annotations/c.xml: xmax of object 1: 'x' is not a number"
    xml(devkit / "Annotations/d.xml", thing(), thing(" "))
    assert "Annotations/d.xml: object 2 has no <name>" in refused(devkit)


def test_objects_that_cannot_be(devkit):
    xml(devkit / "Annotations/a.xml", thing("dog"), thing(box=(2, 2, 1, 3)))
    xml(devkit / "Annotations/c.xml", thing(box=(2, 2, 11, 3)), size=(6, 8))
    xml(devkit / "Annotations/d.xml", thing(), thing("cow"))
    found = lines(refused(devkit))
    assert found == [
        "Annotations/d.xml, object 2: no training image has a 'cow', and no "
        "classes.txt declares it",
        "Annotations/c.xml says 8×6 (height × width), and JPEGImages/c.jpg is 6×8, "
        "upright",
        "JPEGImages/a.jpg, object 2: the box 1 1 1 3 (x_min y_min x_max y_max) has no "
        "area",
        "JPEGImages/c.jpg, object 1: the box 1 1 11 3 (x_min y_min x_max y_max) is not "
        "inside its image, 6×8 (height × width)",
    ]


def test_images_may_be_left_out(devkit):
    (devkit / "Annotations/b.xml").write_text("broken")
    assert "Annotations/b.xml" in refused(devkit)
    (devkit / "exclude.txt").write_text("JPEGImages/b.jpg\n")
    assert load(devkit).train.size == 1


@pytest.mark.parametrize(
    ("text", "crowd"),
    [("0", 0), ("1", 1), ("0.0", 0), ("1.0", 1), ("False", 0), ("True", 1),
     ("No", 0), ("yes", 1), ("Unspecified", 0), (" ", 0)],
)  # fmt: skip
def test_difficult_is_read_by_what_it_means(devkit, text, crowd):
    mark = f"<difficult>{text}</difficult>"
    xml(devkit / "Annotations/a.xml", thing(more=mark), thing("dog", more=mark))
    assert load(devkit).train.targets()["crowd"][0].tolist() == [crowd, crowd]


def test_difficult_without_a_meaning_is_refused(devkit):
    found = thing(more="<difficult>perhaps</difficult>")
    xml(devkit / "Annotations/a.xml", found)
    assert lines(refused(devkit))[0] == (
        "Annotations/a.xml: difficult of object 1: 'perhaps' is neither true nor "
        "false: write 1 or 0"
    )


def test_suffixes_count_in_any_case(tmp_path):
    for name, things in OBJECTS.items():
        photo(tmp_path / f"{name}.jpg")
        xml(tmp_path / f"{name}.XML", *things)
    assert load(tmp_path).train.size + load(tmp_path).test.size == 4


def test_both_spellings_of_a_name_are_one_class(devkit):
    xml(devkit / "Annotations/a.xml", thing("cafe\u0301"), thing("caf\xe9"), thing())
    (devkit / "ImageSets/Main/val.txt").unlink()
    found = load(devkit).train
    assert found.class_names == ("caf\xe9", "cat", "dog")
