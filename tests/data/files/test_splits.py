"""Which files form which split, in every format: as declared, or refused."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.data import registry
from jaxvision.data.files.split_names import NAMES
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from tests.data.files.layouts import (
    BOX,
    LAYOUTS,
    PHOTO,
    XML,
    Names,
    csv,
    folder,
    masks,
    numbers_of,
    objects,
    write,
    yolo_folders,
)


def load(layout, splits: Names) -> Splits:
    with tempfile.TemporaryDirectory() as root:
        return registry.load(layout(Path(root), splits))


CASES = st.sampled_from([str.lower, str.capitalize, str.upper])
CALLED = {
    role: st.builds(lambda name, case: case(name), st.sampled_from(names), CASES)
    for role, names in NAMES.items()
}
LIKE = st.sampled_from(
    ["val2017", "test_images", "Test-2", "holdout", "Validation_set"]
)


@settings(max_examples=150, deadline=None)
@given(
    layout=st.sampled_from(LAYOUTS),
    train=CALLED["train"],
    tests=st.lists(st.one_of(CALLED["test"], CALLED["validation"]), max_size=3),
    like=st.one_of(st.just(None), LIKE),
)
def test_no_image_is_in_two_splits_and_none_that_is_declared_is_left_out(
    layout, train, tests, like
):
    tests = list({name.casefold(): name for name in tests}.values())
    names = [train, *tests, *([like] if like else [])]
    starts = [0, 10, 13, 16, 19][: len(names)]
    sizes = [10, 2, 2, 2, 2]
    splits = {
        name: range(start, start + size)
        for name, start, size in zip(names, starts, sizes, strict=False)
    }
    roles = {
        role: [name for name in tests if name.casefold() in known]
        for role, known in NAMES.items()
    }
    wrong = [called for called in roles.values() if len(called) > 1]
    wrong += [[like]] if like else []
    if wrong and not (layout is csv and not like):  # there, they are the same value
        with pytest.raises(UsageError) as caught:
            load(layout, splits)
        message = str(caught.value)
        assert any(all(name in message for name in each) for each in wrong)
        return
    loaded = load(layout, splits)
    declared = [called for called in (roles["test"], roles["validation"]) if called]
    if declared:
        wanted = [[n for name in called for n in splits[name]] for called in declared]
        assert numbers_of(loaded) == [list(range(10)), *wanted]
        for source, called in zip(loaded[1:], declared, strict=False):
            assert called[0] in source.choice or layout is csv
            assert source.choice.endswith(", as declared")
    else:
        trained, tested = numbers_of(loaded)
        assert len(tested) == 2
        assert sorted(trained + tested) == list(range(10))
        assert "2 of 10 examples at random (seed 0)" in loaded.test.choice
    assert loaded.train.choice == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fifth_is_held_out_where_nothing_looks_like_a_split(layout):
    loaded = load(layout, {"": range(10)})
    trained, tested = numbers_of(loaded)
    assert (len(trained), len(tested)) == (8, 2)
    assert sorted(trained + tested) == list(range(10))
    assert loaded.test.choice == (
        "2 of 10 examples at random (seed 0), since nothing declares a test split"
    )


def test_the_lists_of_coco_in_yolos_form(tmp_path):
    # Of `images/train2017` and `train: train2017.txt`, all of `images/` was taken.
    for split, numbers in (("train", range(8)), ("val", range(8, 12))):
        for n in numbers:
            write(tmp_path / f"images/{split}2017/{n}.png", PHOTO)
            write(tmp_path / f"labels/{split}2017/{n}.txt", BOX.format(0))
        lines = "".join(f"./images/{split}2017/{n}.png\n" for n in numbers)
        write(tmp_path / f"{split}2017.txt", lines)
    yaml = "path: ../datasets/coco\nTrain: {0}\nValidation: {1}\ntest:\nnames: [cat]\n"
    write(tmp_path / "data.yaml", yaml.format("train2017.txt", "val2017.txt"))
    loaded = registry.load(f"yolo:{tmp_path}")
    assert numbers_of(loaded) == [list(range(8)), list(range(8, 12))]
    assert loaded.test.choice == "Validation: val2017.txt in data.yaml, as declared"


def test_a_folder_called_training_above(tmp_path):
    # The word was replaced in the folder's name, and `val.json` not found.
    root = tmp_path / "training"
    write(root / "train.json", objects(range(8)))
    write(root / "val.json", objects(range(8, 10)))
    for n in range(10):
        write(root / f"images/{n}.png", PHOTO)
    for path in (root, root / "train.json"):
        loaded = registry.load(f"coco:{path}")
        assert numbers_of(loaded) == [list(range(8)), [8, 9]]
        assert "val.json, as declared" in loaded.test.choice


def each(form: str, first: str, second: str = " ") -> dict[str, str]:
    """A photograph at each path of the form `{0}/{1}.png`."""
    return {
        form.format(a, b): "" for a in first.split() for b in second.split() or [""]
    }


VOC = {f"JPEGImages/{n}.png": "" for n in "123"}
VOC |= {f"Annotations/{n}.xml": XML.format("cat") for n in "123"}
YOLO = {f"images/{n}.png": "" for n in "123"} | {"labels/1.txt": BOX.format(0)}
YAML = "names: [cat]\ntrain: images\n"
TRAIN, TEST = objects(range(2)), objects(range(2, 4))

UNREAD = [
    # Splits inside of the classes, and beside each other under other names.
    ("folder", each("{}/{}/1.png", "cat dog", "train test"), "test, train"),
    ("folder", each("{}/{}/1.png", "train17 val17", "cat dog"), "val17/"),
    ("folder", each("{}/{}/1.png", "train query", "cat dog"), "query/ with cat, dog/"),
    ("folder", each("{}/{}.png", "cat dog", "1 2 3") | {"val.txt": "1"}, "val.txt"),
    ("masks", each("{}/{}/1.png", "images masks", "train17 val17"), "val17/"),
    ("masks", each("{}/{}.png", "images masks", "1") | each("test_imgs/{}.png", "1"),
     "test_imgs/"),
    # Lists that are not where VOC has them, or are not called so.
    ("voc", VOC | {"ImageSets/train.txt": "1"}, "ImageSets/train.txt"),
    ("voc", VOC | {"ImageSets/Main/train.txt": "1", "ImageSets/Main/val2.txt": "2"},
     "ImageSets/Main/val2.txt"),
    ("voc", VOC | {"ImageSets/Main/val.txt": "1"}, "no train.txt"),
    # Declarations that lead nowhere, are not read, or lead to the same images.
    ("yolo", YOLO | {"data.yaml": YAML + "val: images/val"}, "'images/val'"),
    ("yolo", YOLO | {"data.yaml": YAML + "val: some.txt", "some.txt": "images/9.png"},
     "images/9.png"),
    ("yolo", YOLO | {"data.yaml": YAML + "val_imgs: images"}, "key val_imgs"),
    ("yolo", YOLO | {"data.yaml": YAML.replace("train", "val")}, "what to train on"),
    ("yolo", YOLO | {"data.yaml": YAML + "val: [./images]"}, "tested on 3 images"),
    ("yolo", YOLO | {"classes.txt": "cat", "train.txt": "images/1.png"}, "train.txt"),
    # Files of annotations that belong to no training file, or are both validation.
    ("coco", {"train.json": TRAIN, "my_val.json": TEST}, "my_val.json"),
    ("coco", {"val.json": TEST}, "only val.json"),
    ("coco", {"train.json": TRAIN, "val.json": TEST, "valid.json": TEST},
     "val.json and valid.json"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "files", "named"), UNREAD)
def test_what_looks_like_a_split_and_is_none_is_named(tmp_path, kind, files, named):
    for path, content in files.items():
        write(tmp_path / path, content or PHOTO)
    with pytest.raises(UsageError) as caught:
        registry.load(f"{kind}:{tmp_path}")
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "row", "named"),
    [
        ("path,label,Split", "{n}.png,{c},val", "the column 'Split'"),
        ("path,label,is_test", "{n}.png,{c},0", "the column 'is_test'"),
        ("path,label,usage", "{n}.png,{c},PublicTest", "the column 'usage'"),
        ("path,label", "val/{n}.png,{c}", "folders called val"),
    ],
)
def test_a_table_with_splits_that_are_not_read(tmp_path, columns, row, named):
    rows = [row.format(n=n, c="ab"[n % 2]) for n in range(10)]
    for line in rows:
        write(tmp_path / line.partition(",")[0], PHOTO)
    write(tmp_path / "table.csv", "\n".join([columns, *rows]))
    with pytest.raises(UsageError) as caught:
        registry.load(f"csv:{tmp_path / 'table.csv'}")
    assert named in str(caught.value)


def test_a_table_for_each_split(tmp_path):
    csv(tmp_path, {"": range(10)})
    (tmp_path / "table.csv").rename(tmp_path / "train.csv")
    name = f"csv:{tmp_path / 'train.csv'}"
    assert registry.load(name).test.size == 2
    write(tmp_path / "test.csv", "path,label\n")
    with pytest.raises(UsageError, match=r"test\.csv, which looks like a split"):
        registry.load(name)


def test_links_give_no_image_to_two_splits(tmp_path):
    folder(tmp_path, {"train": range(4), "val": range(4, 6)})
    (tmp_path / "val/b/0.png").symlink_to(tmp_path / "train/a/0.png")
    with pytest.raises(UsageError, match="tested on 1 images that it is trained on"):
        registry.load(f"folder:{tmp_path}")
    (tmp_path / "val/b/0.png").unlink()
    (tmp_path / "val/a").rename(tmp_path / "a")
    (tmp_path / "val/a").symlink_to(tmp_path / "train/a")
    with pytest.raises(UsageError, match="tested on 2 images that it is trained on"):
        registry.load(f"folder:{tmp_path}")


def test_validation_shares_no_image_with_another_split(tmp_path):
    folder(tmp_path, {"train": range(4), "test": range(4, 6), "val": range(6, 8)})
    assert numbers_of(registry.load(f"folder:{tmp_path}"))[2] == [6, 7]
    link = tmp_path / "val/a/6.png"
    for path, use in (("train/a/0.png", "trained on"), ("test/a/4.png", "tested on")):
        link.unlink()
        link.symlink_to(tmp_path / path)
        with pytest.raises(UsageError, match=f"validated on 1 images that it is {use}"):
            registry.load(f"folder:{tmp_path}")


def test_validation_without_annotations_chooses_nothing(tmp_path):
    masks(tmp_path, {"train": range(10), "test": range(10, 12), "val": range(12, 14)})
    for path in (tmp_path / "val/masks").iterdir():
        path.unlink()
    (tmp_path / "val/masks").rmdir()
    loaded = registry.load(f"masks:{tmp_path}")
    assert loaded.validation is None
    assert loaded.test.choice == (
        "the folder test/images/, as declared; the folder val/images/ has no "
        "annotations of these classes"
    )


@pytest.mark.parametrize("system", ["@eaDir", "$RECYCLE.BIN", "__MACOSX", ".trash"])
@pytest.mark.parametrize("layout", [folder, masks, yolo_folders])
def test_folders_of_the_system_belong_to_no_set(tmp_path, layout, system):
    name = layout(tmp_path, {"": range(10)})
    for inside in {path.parent for path in tmp_path.rglob("*.png")} | {tmp_path}:
        write(inside / system / "0.png", PHOTO)
        write(inside / system / "0.txt", "no annotation")
    trained, tested = numbers_of(registry.load(name))
    assert sorted(trained + tested) == list(range(10))
