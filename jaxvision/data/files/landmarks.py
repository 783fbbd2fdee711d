"""`landmarks:PATH`: tables of image files and of the points of the object in each."""

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxvision.data.files import fields, image_files, reading, split_names
from jaxvision.data.files.objects import Listed, Object, annotate, box_around
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError
from jaxvision.skeletons import skeleton

_FILES = ("path", "file", "image")
"""What the column of the image files may be called."""

_COORDINATE = re.compile(r"([xy])_?(.+)|(.+)_([xy])", re.IGNORECASE)

_LAYOUT = """\
expected tables of image files and points:
  PATH/train.csv      path,x0,y0,x1,y1   or   path,nose_x,nose_y,chin_x,chin_y
  PATH/train/1.jpg    1.jpg,30.5,42,61,40.25
  PATH/test.csv
  PATH/test/2.jpg"""

_CLASSES = ("object",)


def load(name: Name) -> Splits:
    """The set called `landmarks:PATH`: one object in each image, with `keypoints`.

    PATH is a CSV file, or a folder with one for each split, `train.csv` and optionally
    `test.csv` and `valid.csv`.  The first line names the columns: `path`, `file` or
    `image`, and two for each point, which are called `x0,y0`, `x_0,y_0` or `nose_x,
    nose_y`; others are ignored.  Coordinates are in pixels, continuous as in
    `types.Batch`; a point whose two fields are empty is not labelled.  Images are
    relative to the folder that has the name of the table (`train/` for `train.csv`)
    where there is one, and to the table's own otherwise.  Without a test split a fifth
    of the images is held out.

    The box of the object is that around its labelled points.  An image without any has
    no object.

    Raises `UsageError` for what is wrong with the tables, listing the lines, for points
    outside of their image, and for images that cannot be read.
    """
    tables, words = _tables(name.path)
    root = Path(os.path.commonpath([table.folder for table in tables]))
    problems: list[str] = []
    names = tables[0].points
    remedy = "remove their lines from the tables"
    listed = []
    for table in tables:
        if table.points != names:
            problems.append(
                f"{table.path.name} has the points {some(table.points)}, and "
                f"{tables[0].path.name} has {some(names)}"
            )
        paths, objects = _rows(table, root, problems)
        refuse(name.path, problems)
        shapes = image_files.shapes(root, paths, remedy)
        listed.append(Listed(paths, shapes, objects))
    return image_files.splits(
        name.text,
        root,
        annotate(name.path, _CLASSES, listed, problems),
        words,
        class_names=_CLASSES,
        remedy=remedy,
        known=frozenset(table.path.name for table in tables),
        skeleton=skeleton(names),
    )


class _Table(NamedTuple):
    path: Path
    folder: Path
    """Of the images."""
    rows: Sequence[tuple[int, dict[str, str]]]
    """The number of its line, and the fields of each row by their columns."""
    file: str
    """The column of the image files."""
    points: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    """Those of x and y of each point."""


def _tables(given: Path) -> tuple[list[_Table], tuple[str, ...]]:
    """The table for training and what is declared beside it; `Choice.words`."""
    if given.is_file():
        return [_parse(given)], split_names.NOTHING.words
    if not given.is_dir():
        raise UsageError(f"there is no file or folder {given}: {_LAYOUT}")
    files = sorted(given.glob("*.csv"))
    roles = split_names.unique(
        ((file.name, split_names.role(file.stem), file) for file in files),
        f"{given} has the tables",
    )
    if "train" not in roles:
        raise UsageError(
            f"{given} has no table train.csv"
            + f", only {some([file.name for file in files])}" * bool(files)
            + f": {_LAYOUT}"
        )
    split_names.refuse_unread(
        given,
        [
            file.name
            for file in files
            if file not in roles.values() and split_names.mentions(file.stem)
        ],
    )
    choice = split_names.choose(
        {role: file for role, file in roles.items() if role != "train"},
        describe=lambda file: f"the table {file.name}",
    )
    return [*map(_parse, (roles["train"], *choice.splits))], choice.words


def _parse(path: Path) -> _Table:
    reader = csv.DictReader(io.StringIO(reading.text(path), newline=""), strict=True)
    problems: list[str] = []
    rows = []
    try:
        columns = list(reader.fieldnames or [])
        for row in reader:
            if None in row or None in row.values():
                problems.append(f"line {reader.line_num}: not one value for a column")
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {max(reader.line_num, 1)}: {error}: {_LAYOUT}"
        ) from error
    refuse(path, problems)
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise UsageError(f"{path} has more than one column {some(twice)}: keep one")
    file = next((column for column in columns if column in _FILES), None)
    places: dict[str, dict[str, str]] = {}
    for column in columns:
        if match := _COORDINATE.fullmatch(column):
            axis, point = (match[1], match[2]) if match[1] else (match[4], match[3])
            places.setdefault(point, {})[axis.lower()] = column
    whole = {point: both for point, both in places.items() if len(both) == 2}
    if file is None or not whole:
        given = some([f"{column!r:.40}" for column in columns]) or "none at all"
        lacks = "column of image files" if file is None else "columns of points"
        raise UsageError(f"{path} has no {lacks}, only {given}: {_LAYOUT}")
    beside = path.with_suffix("")
    return _Table(
        path,
        beside if beside.is_dir() else path.parent,
        rows,
        file,
        tuple(whole),
        tuple((both["x"], both["y"]) for both in whole.values()),
    )


def _rows(
    table: _Table, root: Path, problems: list[str]
) -> tuple[tuple[str, ...], list[list[Object]]]:
    """The paths from the root, and the objects; what is wrong is added."""
    first: dict[str, int] = {}
    objects: list[list[Object]] = []
    for line, row in table.rows:
        where = f"{table.path.name}, line {line}"
        path = os.path.normpath(table.folder / row[table.file].strip())
        inside = os.path.relpath(path, root)
        if not row[table.file].strip():
            problems.append(f"{where}: empty {table.file}")
        elif inside in first:
            problems.append(f"{where}: {inside} is already in line {first[inside]}")
        elif not os.path.isfile(path):
            problems.append(f"{where}: there is no file {path:.400}")
        first.setdefault(inside, line)
        points = []
        for point, columns in zip(table.points, table.columns, strict=True):
            given = [row[column].strip() for column in columns]
            try:
                both = [fields.number(each) for each in given if each]
                if len(both) == 1:
                    raise ValueError("it has one coordinate alone")
            except ValueError as error:
                problems.append(f"{where}, the point {point}: {error}")
                both = []
            points.append((*both, 2.0) if both else (0.0, 0.0, 0.0))
        flat = [number for point in points for number in point]
        box = box_around(flat)
        found = [] if box is None else [Object(f"line {line}", 0, box, keypoints=flat)]
        objects.append(found)
    return tuple(first), objects
