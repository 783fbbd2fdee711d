"""COCO's JSON is a data set, and what is wrong with it has an id."""

import json
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


CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}]
SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]


def photo(path: Path, size=(8, 6), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, **options)


def image(n: int, **more):
    return {"id": n, "file_name": f"{n}.jpg", "height": 6, "width": 8} | more


def annotation(n: int, of: int, category=3, box=(1, 2, 4, 3), **more):
    found = {"id": n, "image_id": of, "category_id": category, "bbox": list(box)}
    return found | more


def content(images, annotations, categories=CATEGORIES):
    return {"images": images, "annotations": annotations, "categories": categories}


def write(path: Path, found) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


TRAIN = content(
    [image(7), image(5), image(6)],
    [
        annotation(1, 7),
        annotation(2, 5, 18, (0, 0, 8, 6), iscrowd=1),
        annotation(3, 7, 18, (0.5, 0.5, 1, 1)),
    ],
)
VAL = content([image(1)], [annotation(1, 1)])


@pytest.fixture
def pets(tmp_path) -> Path:
    """As COCO comes: annotations in one folder, the images of each split in one."""
    root = tmp_path / "training" / "pets"  # "train" above must not be taken for it
    write(root / "annotations/instances_train2017.json", TRAIN)
    write(root / "annotations/instances_val2017.json", VAL)
    write(root / "annotations/captions_train2017.json", "not read")
    for n in (5, 6, 7):
        photo(root / f"train2017/{n}.jpg")
    photo(root / "val2017/1.jpg")
    return root


def load(path: Path):
    return registry.load(f"coco:{path}")


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(path)
    return str(caught.value)


def change(root: Path, split="train", **lists) -> str:
    """What is said of the set with other lists in one of its files."""
    path = root / f"annotations/instances_{split}2017.json"
    found = TRAIN if split == "train" else VAL
    write(path, found | lists)
    return refused(root)


def test_boxes_are_corners_and_categories_are_numbered_by_their_ids(pets):
    train, test, _ = load(pets)
    assert train.class_names == test.class_names == ("cat", "dog")
    assert (train.size, test.size) == (3, 1)
    targets = train.targets()
    assert targets["boxes"].tolist() == [
        [[1, 2, 5, 5], [0.5, 0.5, 1.5, 1.5]],
        [[0, 0, 8, 6], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    assert targets["classes"].tolist() == [[0, 1], [1, -1], [-1, -1]]
    assert targets["crowd"].tolist() == [[0, 0], [1, 0], [0, 0]]
    assert test.targets()["boxes"].shape == (1, 2, 4)
    assert train.maps is None
    assert train.read()["image"].shape == (3, 6, 8, 3)
    assert train.encoded(0) == (pets / "train2017/7.jpg").read_bytes()


def test_the_file_may_be_named(pets):
    path = pets / "annotations/instances_train2017.json"
    assert load(path).test.size == 1
    # Without another to test on, a fifth of what is there.
    images = [image(n) for n in range(10)]
    for n in range(10):
        photo(pets / f"images/{n}.jpg")
    found = content(images, [annotation(n, n, [3, 18][n % 2]) for n in range(10)])
    train, test, _ = load(write(pets / "annotations/mine.json", found))
    assert (train.size, test.size) == (8, 2)
    again = load(pets / "annotations/mine.json").test
    np.testing.assert_array_equal(again.targets()["boxes"], test.targets()["boxes"])


def test_test_files_without_annotations_are_passed_over(pets):
    info = {"images": [image(1)], "categories": CATEGORIES}
    write(pets / "annotations/instances_test2017.json", info)
    assert load(pets).test.name.endswith("test")
    assert load(pets).test.size == 1


def test_a_folder_for_each_split(tmp_path):
    for split, found in (("train", TRAIN), ("valid", VAL)):
        write(tmp_path / split / "_annotations.coco.json", found)
        for each in found["images"]:
            photo(tmp_path / split / each["file_name"])
    train, test, _ = load(tmp_path)
    assert (train.size, test.size) == (3, 1)


def test_outlines_and_keypoints(pets):
    from pycocotools.coco import COCO

    pixels = np.zeros((6, 8), np.uint8)
    pixels[2:5, 3:7] = 1
    columns = [0, *np.flatnonzero(np.diff(pixels.T.ravel())) + 1, 48]
    found = content(
        [image(7), image(5), image(6)],
        [
            annotation(1, 7, segmentation=SQUARE, keypoints=[1, 2, 2, 0, 0, 0]),
            annotation(
                2,
                5,
                18,
                iscrowd=1,
                segmentation={"size": [6, 8], "counts": np.diff(columns).tolist()},
            ),
        ],
    )
    path = write(pets / "annotations/instances_train2017.json", found)
    write(
        pets / "annotations/instances_val2017.json",
        content([image(1)], [annotation(1, 1, segmentation=SQUARE)]),
    )
    train, test, _ = load(pets)
    assert train.targets()["keypoints"].tolist() == [
        [[[1, 2, 2], [0, 0, 0]]],
        [[[0] * 3] * 2],
        [[[0] * 3] * 2],
    ]
    assert train.skeleton.names == ("1", "2") and train.skeleton.mirrored is None
    np.testing.assert_array_equal(train.maps(1)["instances"], [pixels])
    assert test.maps(0)["instances"].sum() == 6
    peer = COCO(path)
    with pytest.warns(DeprecationWarning):
        for i, n in enumerate((7, 5)):
            (their,) = peer.loadAnns(peer.getAnnIds(imgIds=n))
            np.testing.assert_array_equal(
                train.maps(i)["instances"][0], peer.annToMask(their)
            )


def test_categories_say_what_keypoints_are(pets):
    def written(objects, **said):
        dog, cat = CATEGORIES
        found = content([image(7)], [*objects, annotation(2, 7, 18)])
        found["categories"] = [dog, cat | said]
        write(pets / "annotations/instances_train2017.json", found)

    names = ["nose", "left_ear", "right_ear"]
    pointed = [annotation(1, 7, keypoints=[1, 2, 2, 0, 0, 0, 3, 3, 1])]
    written(pointed, keypoints=names, skeleton=[[1, 2], [3, 1]])
    found = load(pets).train.skeleton
    assert found.names == (*names,) and found.limbs == ((0, 1), (2, 0))
    assert found.mirrored == (0, 2, 1) and len(found.sigmas) == 3
    written([annotation(1, 7)], keypoints=names, skeleton=[[1, 2]])
    assert load(pets).train.skeleton is None

    for objects, said, message in (
        (pointed, {"skeleton": [[1, 2]]}, "has a skeleton, and no keypoints that it"),
        (pointed, {"keypoints": names[1:]}, "3 keypoints, and its category names 2"),
        (pointed, {"keypoints": names, "skeleton": [[0, 1]]}, "from 0 to 2, got [(-1"),
        (pointed, {"keypoints": names, "skeleton": [[1]]}, "list of pairs of"),
        (pointed, {"keypoints": "nose"}, "it is not a list of names"),
    ):
        written(objects, **said)
        assert message in refused(pets)


def test_images_and_annotations_may_be_left_out(pets):
    message = change(
        pets, annotations=[*TRAIN["annotations"], annotation(9, 5, 3, (0, 0, 0, 4))]
    )
    assert "train2017/5.jpg, train annotation 9: the box 0 0 0 4" in message
    (pets / "exclude.txt").write_text("train annotation 9\ntrain2017/7.jpg\n")
    with pytest.warns(UserWarning, match="no example"):
        write(
            pets / "annotations/instances_val2017.json",
            content([image(1)], [annotation(9, 1, 18)]),
        )
        train, test, _ = load(pets)
    assert train.size == 2
    assert train.targets()["classes"].tolist() == [[1], [-1]]
    assert test.targets()["classes"].tolist() == [[1]]  # of the same id
    (pets / "exclude.txt").write_text("test annotation 99\n")
    assert "not in the set: test annotation 99" in refused(pets)


# Bad input


def test_everything_wrong_is_listed_by_id(pets):
    (pets / "train2017/6.jpg").unlink()
    message = change(
        pets,
        images=[image(7), image(5), image(6), image(5, file_name="7.jpg")],
        annotations=[
            annotation(1, 7),
            annotation(1, 7),
            annotation(2, 99),
            annotation(3, 5, 4),
        ],
    )
    lines = [line.strip() for line in message.splitlines()[1:]]
    prefix = "instances_train2017.json: "
    assert lines == [
        prefix + "image id 5 occurs 2 times",
        prefix + "annotation id 1 occurs 2 times",
        prefix + f"image 6: there is no file {pets / 'train2017/6.jpg'}",
        prefix + "train annotation 2: there is no image 99",
        prefix + "train annotation 3: there is no category 4, only 3, 18",
        "more than once, or in two splits: train2017/7.jpg",
    ]


def test_categories_that_differ_between_the_splits(pets):
    other = [{"id": 3, "name": "cow"}, {"id": 4, "name": "eel"}]
    message = change(pets, "val", categories=other)
    assert "category 3 is 'cow', and 'cat' in instances_train2017" in message
    assert "category 4 is 'eel', and 'none' in" in message
    twice = [*CATEGORIES, {"id": 3, "name": "eel"}, {"id": 4, "name": "dog"}]
    assert "names more than one class dog" in change(pets, categories=twice)


def test_entries_that_lack_what_they_must_have(pets):
    message = change(
        pets,
        images=[image(7), {"id": 5}, "6"],
        annotations=[
            annotation(1, 7, box=(1, 2, 3)),
            annotation(2, 7, box=(1, 2, None, 4)),
            {"id": 3, "image_id": 7, "segmentation": []},
            annotation(4, [7]),
            annotation(5, 7, keypoints=[1, "x", 2]),
            annotation(6, 7, iscrowd="perhaps"),
            annotation(7, 7, iscrowd=2),
            annotation(8, 7, box=[10**400, 2, 3, 4]),
            annotation(True, 7),
        ],
        categories=[{"name": "cat"}],
    )
    lines = [line.strip() for line in message.splitlines()[1:]]
    assert lines == [
        "images[1] has no file_name",
        "images[2] is '6', and not an object",
        "annotations[0] has the bbox [1, 2, 3]: a box is x, y, width, height",
        "annotations[1] has the bbox [1, 2, None, 4]: None is not a number",
        "annotations[2] has no category_id and no bbox",
        "annotations[3] has the image_id [7]: [7] is not a number",
        "annotations[4] has the keypoints [1, 'x', 2]: 'x' is not a number",
        "annotations[5] has the iscrowd 'perhaps': 'perhaps' is neither true nor "
        "false: write 1 or 0",
        "annotations[6] has the iscrowd 2: 2 is neither true nor false: write 1 or 0",
        "annotations[7] has the bbox [100000000000000000...0000000000000000000, 2, 3, "
        "4]: 100000000000000000...0000000000000000000 is not a number",
        "annotations[8] has the id True: True is not a number",
        "categories[0] has no id",
    ]


def test_sizes_that_are_not_those_of_the_files(pets):
    tags = Image.Exif()
    tags[0x0112] = 6
    photo(pets / "train2017/5.jpg", exif=tags)
    assert (
        "train2017/5.jpg is 8×6 (height × width), upright, and not 6×8 as its "
        "annotations say" in refused(pets)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON, or damaged"),
        ("[1]", "is not a COCO file"),
        ('{"images": 3}', "its images are not a list"),
        ('{"images": [], "annotations": []}', "has no annotations"),
        ('{"images": [NaN]}', "it holds NaN, which is not a number"),
    ],
)
def test_a_file_that_is_none(pets, text, message):
    path = write(pets / "annotations/instances_train2017.json", text)
    assert message in refused(pets)
    assert str(path) in refused(pets)


def test_no_file_several_files_and_no_images(pets, tmp_path):
    assert "there is no file" in refused(tmp_path / "nowhere.json")
    (tmp_path / "empty").mkdir()
    assert "has no JSON file with annotations" in refused(tmp_path / "empty")
    for n in (5, 6, 7):
        (pets / f"train2017/{n}.jpg").rename(tmp_path / f"{n}.jpg")
    message = refused(pets)
    assert (
        "the images of" in message and "cannot be found: 7.jpg is in none of" in message
    )
    (pets / "annotations/instances_train2017.json").rename(
        pets / "annotations/person_keypoints_train2017.json"
    )
    assert "several files of annotations" in refused(pets)


def test_broken_images_are_named(pets):
    (pets / "train2017/5.jpg").write_bytes(b"")
    message = refused(pets)
    assert "train2017/5.jpg: the file is empty" in message
    assert f"list them in {pets / 'exclude.txt'}" in message


# Other exporters


def test_fields_are_read_by_what_they_mean(pets):
    """Numbers as texts and as floats, marks as words."""
    images = [image(f"{n}", height="6", width=8.0) for n in (7, 5, 6)]
    annotations = [
        annotation(1, 7.0, "3", ["1", "2", "4", "3"], iscrowd="0"),
        annotation("2", "5", 18, (0, 0, 8, 6), iscrowd="1"),
        annotation(3, "7", 18.0, (0.5, 0.5, 1, 1), iscrowd="no"),
    ]
    categories = [{"id": "18", "name": "dog"}, {"id": 3.0, "name": "cat"}]
    want = load(pets).train.targets()
    path = pets / "annotations/instances_train2017.json"
    write(path, content(images, annotations, categories))
    found = load(pets).train
    assert found.class_names == ("cat", "dog")
    for key, array in found.targets().items():
        np.testing.assert_array_equal(array, want[key])


def test_run_lengths_may_be_of_a_size_in_text(pets):
    outline = {"size": ["6", "8.0"], "counts": [0, 48]}
    path = pets / "annotations/instances_train2017.json"
    write(path, TRAIN | {"annotations": [annotation(1, 7, segmentation=outline)]})
    write(pets / "annotations/instances_val2017.json", VAL | {"annotations": []})
    with pytest.warns(UserWarning, match="no example of 1 of the 2 classes: dog"):
        assert load(path).train.maps(0)["instances"].all()


def test_a_root_above_the_classes_is_none_even_if_it_has_the_name_of_one(pets):
    roots = [
        {"id": 0, "name": "dog", "supercategory": "none"},
        *(entry | {"supercategory": "dog"} for entry in CATEGORIES),
    ]
    for split, found in (("train", TRAIN), ("val", VAL)):
        path = pets / f"annotations/instances_{split}2017.json"
        write(path, found | {"categories": roots})
    assert load(pets).train.class_names == ("cat", "dog")
    # Two classes of one name that both have objects stay an error.
    used = [annotation(9, 7, 0), *TRAIN["annotations"]]
    assert "names more than one class dog" in change(
        pets, categories=roots, annotations=used
    )


@pytest.mark.parametrize(
    "name",
    ["train2017\\{}.jpg", "train2017/{}.jpg", "..\\train2017\\{}.jpg", "./{}.jpg"],
)
def test_paths_of_images_as_exporters_write_them(pets, name):
    images = [image(n, file_name=name.format(n)) for n in (7, 5, 6)]
    path = pets / "annotations/instances_train2017.json"
    write(path, TRAIN | {"images": images})
    (pets / "exclude.txt").write_text("train2017/6.jpg")
    assert load(pets).train.size == 2


def test_a_backslash_may_be_part_of_a_name(pets):
    (pets / "train2017/7.jpg").rename(pets / "train2017/a\\7.jpg")
    images = [image(7, file_name="a\\7.jpg"), image(5), image(6)]
    write(pets / "annotations/instances_train2017.json", TRAIN | {"images": images})
    assert load(pets).train.size == 3


def test_one_image_by_two_paths_is_one(pets):
    names = {
        7: "train2017/7.jpg",
        5: "train2017/5.jpg",
        6: "val2017/../train2017/5.jpg",
    }
    images = [image(n, file_name=name) for n, name in names.items()]
    assert "more than once, or in two splits: train2017/5.jpg" in change(
        pets, images=images
    )


@pytest.mark.parametrize("name", ["x" * 5_000 + ".jpg", "a\0b.jpg", "\ud800.jpg", 7])
def test_names_that_no_file_can_have(pets, name):
    images = [image(7, file_name=name), image(5), image(6)]
    assert "7" in change(pets, images=images)


def test_objects_that_have_but_keypoints_have_a_box_around_them(pets):
    points = [1, 2, 2, 0, 0, 0, 6, 4.5, 1]
    one = annotation(1, 7, keypoints=points)
    other = annotation(2, 7, keypoints=[0, 0, 0] * 3)
    del one["bbox"]
    train, dog = pets / "annotations/instances_train2017.json", annotation(3, 7, 18)
    write(train, content([image(7)], [one, dog]))
    found = load(pets).train.targets()
    np.testing.assert_array_equal(found["boxes"][0, 0], [0.5, 1.5, 6.5, 5])
    del other["bbox"]
    write(train, content([image(7)], [other, dog]))
    assert "annotations[0] has no bbox" in refused(pets)
