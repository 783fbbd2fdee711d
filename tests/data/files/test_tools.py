"""Sets as the usual tools write them: the table in docs/data.md.

The layouts are those that each tool's documentation shows for its export.
"""

import json

import pytest

from jaxvision.data import registry
from jaxvision.errors import UsageError
from tests.data.files.layouts import (
    BOX,
    MASK,
    PHOTO,
    XML,
    numbers_of,
    objects,
    write,
)

TRAIN, VALID, TEST = range(4), range(4, 6), range(6, 8)
ROBOFLOW = {"train": TRAIN, "valid": VALID, "test": TEST}
CVAT = {"Train": TRAIN, "Validation": VALID, "Test": TEST}
WHOLE = range(10)


def each(form: str, splits=ROBOFLOW, content=PHOTO):
    """A file for each number, whose path may hold its split and its number."""
    return {
        form.format(split, n): content
        for split, numbers in splits.items()
        for n in numbers
    }


def whole(form: str, content=PHOTO):
    return {form.format(n): content for n in WHOLE}


def described(numbers, form: str) -> str:
    """A COCO file whose images have names of that form."""
    content = json.loads(objects(numbers))
    for image in content["images"]:
        image["file_name"] = form.format(image["id"])
    return json.dumps(content)


ROBOFLOW_YAML = """\
train: ../train/images
val: ../valid/images
test: ../test/images

nc: 1
names: ['cat']

roboflow:
  workspace: mine
  project: cats
  version: 1
"""

READ = {
    "Roboflow, YOLO": (
        "yolo",
        each("{}/images/{}.png")
        | each("{}/labels/{}.txt", content=BOX.format(0))
        | {"data.yaml": ROBOFLOW_YAML, "README.roboflow.txt": "cats"},
    ),
    "Roboflow, COCO": (
        "coco",
        each("{}/{}.png")
        | {f"{s}/_annotations.coco.json": objects(n) for s, n in ROBOFLOW.items()},
    ),
    "Roboflow, Pascal VOC": (
        "voc",
        each("{}/{}.png") | each("{}/{}.xml", content=XML.format("cat")),
    ),
    "CVAT, COCO with subsets": (
        "coco",
        each("images/{}/{}.png", CVAT)
        | {f"annotations/instances_{s}.json": objects(n) for s, n in CVAT.items()},
    ),
    "CVAT, Ultralytics YOLO with subsets": (
        "yolo",
        each("images/{}/{}.png", ROBOFLOW)
        | each("labels/{}/{}.txt", ROBOFLOW, BOX.format(0))
        | {
            f"{s}.txt": "".join(f"data/images/{s}/{n}.png\n" for n in numbers)
            for s, numbers in ROBOFLOW.items()
        }
        | {
            "data.yaml": "path: .\ntrain: train.txt\nval: valid.txt\ntest: test.txt\n"
            "names:\n  0: cat\n"
        },
    ),
    "CVAT, Pascal VOC with subsets": (
        "voc",
        each("JPEGImages/{1}.png", CVAT)
        | each("Annotations/{1}.xml", CVAT, XML.format("cat"))
        | {
            f"ImageSets/Main/{s}.txt": "".join(f"{n}\n" for n in numbers)
            for s, numbers in CVAT.items()
        }
        | {"labelmap.txt": "# label:color_rgb:parts:actions\ncat:128,0,0::\n"},
    ),
    "Ultralytics, lists of folders": (
        "yolo",
        each("images/{}/{}.png")
        | each("labels/{}/{}.txt", content=BOX.format(0))
        | {
            "data.yaml": "path: ../datasets/cats\ntrain: [images/train]\n"
            "val: images/valid\ntest:\n  - images/test\nnames: {0: cat}\n"
        },
    ),
    "Ultralytics, classification": (
        "folder",
        each("{0}/cat/{1}.png") | {f"{s}/dog/9.png": PHOTO for s in ROBOFLOW},
    ),
}


@pytest.mark.parametrize("export", READ)
def test_exports_with_splits(tmp_path, export):
    kind, files = READ[export]
    for path, content in files.items():
        write(tmp_path / path, content)
    loaded = registry.load(f"{kind}:{tmp_path}")
    other = [9] if kind == "folder" else []
    assert numbers_of(loaded) == [[*part, *other] for part in (TRAIN, TEST, VALID)]
    assert loaded.test.choice.endswith(", as declared")
    assert loaded.validation.choice.endswith(", as declared")


WITHOUT_SPLITS = {
    "CVAT, COCO": (
        "coco",
        whole("images/{}.png") | {"annotations/instances_default.json": objects(WHOLE)},
    ),
    "CVAT, Pascal VOC": (
        "voc",
        whole("JPEGImages/{}.png")
        | whole("Annotations/{}.xml", XML.format("cat"))
        | {"ImageSets/Main/default.txt": "".join(f"{n}\n" for n in WHOLE)},
    ),
    "Label Studio, COCO": (
        "coco",
        whole("images/{}.png") | {"result.json": described(WHOLE, "images/{}.png")},
    ),
    "Label Studio, YOLO": (
        "yolo",
        whole("images/{}.png")
        | whole("labels/{}.txt", BOX.format(0))
        | {"classes.txt": "cat\n", "notes.json": "{}"},
    ),
    "Label Studio, Pascal VOC": (
        "voc",
        whole("images/{}.png") | whole("Annotations/{}.xml", XML.format("cat")),
    ),
    "labelme, labelme2coco": (
        "coco",
        whole("JPEGImages/{}.png")
        | {"annotations.json": described(WHOLE, "JPEGImages/{}.png")},
    ),
    "labelme, labelme2voc": (
        "masks",
        whole("JPEGImages/{}.png")
        | whole("SegmentationClass/{}.png", MASK)
        | {"class_names.txt": "_background_\ncat\n"},
    ),
    "VIA, COCO": (
        "coco",
        whole("{}.png") | {"via_export_coco.json": objects(WHOLE)},
    ),
}


@pytest.mark.parametrize("export", WITHOUT_SPLITS)
def test_exports_without_splits(tmp_path, export):
    kind, files = WITHOUT_SPLITS[export]
    for path, content in files.items():
        write(tmp_path / path, content)
    loaded = registry.load(f"{kind}:{tmp_path}")
    trained, tested = numbers_of(loaded)
    assert (len(trained), sorted(trained + tested)) == (8, [*WHOLE])
    assert "at random (seed 0)" in loaded.test.choice


REFUSED = {
    "Roboflow, a split that was not exported": (
        "yolo",
        each("{}/images/{}.png", {"train": TRAIN, "valid": VALID})
        | each("{}/labels/{}.txt", {"train": TRAIN, "valid": VALID}, BOX.format(0))
        | {"data.yaml": ROBOFLOW_YAML},
        "declares '../test/images'",
    ),
    "Roboflow, YOLO Darknet": (
        "yolo",
        each("{}/{}.png") | {"train/_darknet.labels": "cat"},
        "has neither data.yaml nor classes.txt",
    ),
    "Roboflow, multi-label": (
        "csv",
        {"table.csv": "filename, cat, dog\n1.png, 1, 0\n"},
        "no column 'path'",
    ),
    "CVAT, YOLO 1.1": (
        "yolo",
        whole("obj_train_data/{}.png")
        | whole("obj_train_data/{}.txt", BOX.format(0))
        | {"obj.names": "cat", "obj.data": "classes = 1", "train.txt": "data/1.png"},
        "obj_train_data/, which looks like a split",
    ),
    "CVAT, CamVid": (
        "masks",
        whole("default/{}.png") | whole("defaultannot/{}.png", MASK),
        "has no images/ and masks/",
    ),
    "CVAT, segmentation mask": (
        "masks",
        whole("JPEGImages/{}.png")
        | whole("SegmentationClass/{}.png", PHOTO)
        | {"labelmap.txt": "cat:1,1,1::\n", "ImageSets/Segmentation/default.txt": "0"},
        "label_colors.txt",
    ),
    "Label Studio, JSON": (
        "coco",
        whole("{}.png") | {"project-1.json": '[{"id": 1, "data": {}}]'},
        "is not a COCO file",
    ),
    "labelme": (
        "coco",
        {"1.png": PHOTO, "1.json": '{"version": "5.0.1", "shapes": []}'},
        "is not a COCO file",
    ),
    "VIA, JSON": (
        "coco",
        {"1.png": PHOTO, "via_region_data.json": '{"1.png78": {"regions": []}}'},
        "is not a COCO file",
    ),
    "VIA, CSV": (
        "csv",
        {"table.csv": "filename,file_size,region_shape_attributes\n1.png,78,{}\n"},
        "no column 'path'",
    ),
}


@pytest.mark.parametrize("export", REFUSED)
def test_exports_that_are_refused(tmp_path, export):
    kind, files, message = REFUSED[export]
    for path, content in files.items():
        write(tmp_path / path, content)
    place = tmp_path / "table.csv" if kind == "csv" else tmp_path
    with pytest.raises(UsageError) as caught:
        registry.load(f"{kind}:{place}")
    assert message in str(caught.value)
