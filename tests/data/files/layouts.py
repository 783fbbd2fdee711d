"""Data sets of tiny images in the layouts that each kind of data takes."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from jaxvision.data.source import Splits

Names = Mapping[str, range]
"""The numbers of the images of each split, by what the split is called; `""` for a set
without splits."""


def _png(mode: str) -> bytes:
    image = Image.new(mode, (2, 2))
    image.putpixel((0, 0), 1 if mode == "L" else (1, 0, 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


PHOTO, MASK = _png("RGB"), _png("L")
XML = (
    "<annotation><object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
    "<xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>"
)
BOX = "{} 0.5 0.5 1 1\n"


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def folder(root: Path, splits: Names) -> str:
    for name, numbers in splits.items():
        for n in numbers:
            write(root / name / "ab"[n % 2] / f"{n}.png", PHOTO)
    return f"folder:{root}"


def csv(root: Path, splits: Names) -> str:
    lines = ["path,label" + ",split" * ("" not in splits)]
    for name, numbers in splits.items():
        for n in numbers:
            write(root / f"{n}.png", PHOTO)
            lines.append(f"{n}.png,{'ab'[n % 2]}" + f",{name}" * bool(name))
    write(root / "table.csv", "\n".join(lines))
    return f"csv:{root / 'table.csv'}"


def masks(root: Path, splits: Names) -> str:
    for name, numbers in splits.items():
        for n in numbers:
            write(root / name / f"images/{n}.png", PHOTO)
            write(root / name / f"masks/{n}.png", MASK)
    return f"masks:{root}"


def masks_inside(root: Path, splits: Names) -> str:
    for name, numbers in splits.items():
        for n in numbers:
            write(root / "images" / name / f"{n}.png", PHOTO)
            write(root / "masks" / name / f"{n}.png", MASK)
    return f"masks:{root}"


def coco(root: Path, splits: Names) -> str:
    for name, numbers in splits.items():
        for n in numbers:
            write(root / (name or "images") / f"{n}.png", PHOTO)
        write(
            root / f"annotations/instances_{name or 'default'}.json", objects(numbers)
        )
    return f"coco:{root}"


def coco_folders(root: Path, splits: Names) -> str:
    for name, numbers in splits.items():
        for n in numbers:
            write(root / name / f"{n}.png", PHOTO)
        write(root / name / "_annotations.coco.json", objects(numbers))
    return f"coco:{root}"


def objects(numbers: range) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": f"{n}.png"} for n in numbers],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 0, "bbox": [0, 0, 2, 2]}
                for n in numbers
            ],
            "categories": [{"id": 0, "name": "cat"}],
        }
    )


def voc(root: Path, splits: Names) -> str:
    for name, numbers in splits.items():
        for n in numbers:
            write(root / f"JPEGImages/{n}.png", PHOTO)
            write(root / f"Annotations/{n}.xml", XML.format("cat"))
        if name:
            lines = "".join(f"{n}\n" for n in numbers)
            write(root / f"ImageSets/Main/{name}.txt", lines)
    return f"voc:{root}"


def voc_folders(root: Path, splits: Names) -> str:
    for name, numbers in splits.items():
        for n in numbers:
            write(root / name / f"{n}.png", PHOTO)
            write(root / name / f"{n}.xml", XML.format("cat"))
    return f"voc:{root}"


def yolo_folders(root: Path, splits: Names) -> str:
    write(root / "classes.txt", "cat")
    for name, numbers in splits.items():
        for n in numbers:
            write(root / name / f"images/{n}.png", PHOTO)
            write(root / name / f"labels/{n}.txt", BOX.format(0))
    return f"yolo:{root}"


def yolo_beside(root: Path, splits: Names) -> str:
    write(root / "classes.txt", "cat")
    for name, numbers in splits.items():
        for n in numbers:
            write(root / name / f"{n}.png", PHOTO)
            write(root / name / f"{n}.txt", BOX.format(0))
    return f"yolo:{root}"


def yolo_declared(root: Path, splits: Names) -> str:
    """Folders that only `data.yaml` knows."""
    return _yolo_yaml(root, splits, lambda k, numbers: f"images/part{k}")


def yolo_halves(root: Path, splits: Names) -> str:
    """A list of two folders for each split, the second in another place."""

    def value(k: int, numbers: range) -> list[str]:
        for n in numbers[1:]:
            for form in ("images/part{}/{}.png", "labels/part{}/{}.txt"):
                old, new = root / form.format(k, n), root / form.format(f"{k}b", n)
                new.parent.mkdir(parents=True, exist_ok=True)
                old.rename(new)
        return [f"images/part{k}", *([f"./images/part{k}b"] if numbers[1:] else [])]

    return _yolo_yaml(root, splits, value)


def yolo_lists(root: Path, splits: Names) -> str:
    """A text file with the images of each split, which lie in one folder."""

    def value(k: int, numbers: range) -> str:
        lines = [f"/once/was/here/images/part{k}/{n}.png\n" for n in numbers]
        write(root / f"list{k}.txt", "".join(lines))
        return f"list{k}.txt"

    return _yolo_yaml(root, splits, value)


def _yolo_yaml(root: Path, splits: Names, value) -> str:
    content = {"names": ["cat"]}
    for k, (name, numbers) in enumerate(splits.items()):
        for n in numbers:
            write(root / f"images/part{k}/{n}.png", PHOTO)
            write(root / f"labels/part{k}/{n}.txt", BOX.format(0))
        content[name or "train"] = value(k, numbers)
    write(root / "data.yaml", json.dumps(content))
    return f"yolo:{root}"


LAYOUTS = [folder, csv, masks, masks_inside, coco, coco_folders, voc, voc_folders]
LAYOUTS += [yolo_folders, yolo_beside, yolo_declared, yolo_halves, yolo_lists]


def numbers_of(splits: Splits) -> list[list[int]]:
    """The numbers of the images of each split, in the order of `Splits`."""
    found = []
    for source in filter(None, splits):
        found.append(sorted(int(Path(path).stem) for path in source.encoded.paths))
    return found
