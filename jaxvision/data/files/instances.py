"""`instances:PATH`: images, each with a mask that numbers the objects in it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvision.data.files import classes, image_files, listing, masks, reading, voc
from jaxvision.data.files.decoding import DecodeError, numbers
from jaxvision.data.files.image_files import Annotated, ImageFiles
from jaxvision.data.files.objects import Listed, Object, annotate
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from jaxvision.types import UNKNOWN

ONLY = "object"
"""What the class is called where nothing names it."""

_LAYOUT = """\
expected a mask for each image, of the same name but for the extension:
  PATH/                  or   PATH/
    images/                     train/
      1.jpg                       images/1.jpg
    masks/  (or labels/)          masks/1.png
      1.png                     val/ , test/            """


def load(name: Name) -> Splits:
    """The set called `instances:PATH`, with `boxes`, `classes`, `crowd`, `instances`.

    PATH holds `images/` and `masks/`, as `masks:PATH` does.  The pixels of number n of
    a mask, from 1 to 254, are one object, whose box is the smallest around them; 0 is
    background and 255 unknown.  Numbers may be missing.  All objects are of one class,
    which `classes.txt` in PATH may name.  Lines of `exclude.txt` leave out images.

    All masks are decoded once, to find the boxes; of many that is kept in the user's
    cache.

    Raises `UsageError` naming the images without a mask, masks without an image or of
    another size, and unreadable files, and as `objects.annotate` does.
    """
    root = listing.folder(name.path)
    exclude = listing.Exclude(root)
    problems: list[str] = []
    folders, words = listing.paired_folders(root, "images", masks.FOLDERS, _LAYOUT)
    pairs = [masks.paired(root, *pair, exclude, problems) for pair in folders]
    exclude.check_all_found()
    refuse(root, problems)

    class_name = _class_name(root)
    listed = []
    order: list[tuple[tuple[int, ...], ...]] = []
    for split in pairs:
        shapes = image_files.shapes(root, split.images, exclude.remedy)
        rows = image_files.survey(
            ImageFiles(root, split.masks, 1, exclude.remedy),
            "masks of objects",
            _look,
            2 + 4 * (UNKNOWN - 1),
        )
        sizes, boxes = rows[:, :2], rows[:, 2:].reshape(len(rows), -1, 4)
        problems += [
            f"{split.masks[i]} is {sizes[i][0]}×{sizes[i][1]} (height × width), its "
            f"image {split.images[i]} {shapes[i][0]}×{shapes[i][1]}, upright"
            for i in np.flatnonzero((sizes != shapes[:, :2]).any(axis=1))
        ]
        found = [np.flatnonzero(of_image[:, 2] > 0) for of_image in boxes]
        order.append(tuple(tuple((each + 1).tolist()) for each in found))
        listed.append(
            Listed(
                split.images,
                shapes,
                [
                    [
                        Object(f"object {k + 1}", 0, (*of_image[k].tolist(),))
                        for k in each
                    ]
                    for of_image, each in zip(boxes, found, strict=True)
                ],
            )
        )
    refuse(root, problems)
    annotated = annotate(root, (class_name,), listed, problems)
    parts = [
        _with_masks(root, split, numbered, part)
        for split, numbered, part in zip(pairs, order, annotated, strict=True)
    ]
    return image_files.splits(
        name.text, root, parts, words, (class_name,), exclude.remedy
    )


def _class_name(root: Path) -> str:
    if not (root / classes.FILE).is_file():
        return ONLY
    names = classes.read(root / classes.FILE)
    classes.check_names(root / classes.FILE, names)
    if len(names) != 1:
        raise UsageError(
            f"{root / classes.FILE} names {some(list(names))}: the numbers of these "
            "masks tell objects apart, which are of one class.  Masks of several "
            "classes are read by masks:, objects of several by coco: or voc:"
        )
    return names[0]


def _look(path: Path) -> list[int]:
    """Height and width, and the box of each number from 1 on, zeros for none."""
    try:
        mask = numbers(reading.read_bytes(path))
    except OSError as error:
        raise DecodeError(error.strerror or str(error)) from error
    boxes = np.zeros((UNKNOWN - 1, 4), np.int32)
    for number in np.unique(mask):
        if 0 < number < UNKNOWN:
            rows, columns = np.nonzero(mask == number)
            boxes[number - 1] = (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
    return [*mask.shape, *boxes.ravel().tolist()]


def _with_masks(
    root: Path,
    pairs: masks.Pairs,
    numbered: Sequence[Sequence[int]],
    part: Annotated,
) -> Annotated:
    most = part.targets["classes"].shape[1]
    return part._replace(maps=voc.ObjectMasks(root, pairs.masks, most, numbered))
