"""`csv:PATH` and `jsonl:PATH`: a table of one's own images and their labels."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data.image_files import Labelled, splits
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError, unknown

COLUMNS = ("path", "label", "split")
"""The last may be missing; others are ignored."""

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
"""What `split` may say, in upper or lower case, and what it means."""

_LISTED = 20
_EXAMPLE = '{"path": "cat/1.jpg", "label": "cat"}'
_MULTI_LABEL = (
    "more than one label to an image is not supported yet; give each one 'label'"
)


class _Row(NamedTuple):
    line: int
    path: str
    label: str
    split: str
    """One of the values of `SPLITS`, or empty."""


def load(name: str) -> Splits:
    """The set called `csv:PATH` or `jsonl:PATH`.

    The file has one image a line: its `path`, relative to the file's own folder, its
    `label`, a name or a whole number, and perhaps its `split`.  A CSV is separated by
    commas and begins with the names of its columns; JSON Lines has an object a line.
    Without a column `split`, a fifth of each class becomes the test split.  Where there
    are rows of `test`, those of `validation` are not used: validation examples are
    carved from `train`.

    Classes are the labels of the training rows, sorted; by value if all are numbers, so
    that those of 1 to 10 become the classes 0 to 9, called "1" to "10".

    Raises `UsageError` for what is wrong with the table, listing the lines, and for
    images that cannot be read.
    """
    kind, _, given = name.partition(":")
    table = Path(given).expanduser()
    if not table.is_file():
        raise UsageError(f"there is no file {table}, which {name!r} asks for")
    problems: list[str] = []
    try:
        read = _csv_rows if kind == "csv" else _jsonl_rows
        rows = list(_valid(read(table, problems), table.parent, problems))
    except UnicodeDecodeError as error:
        raise UsageError(f"{table} is not UTF-8: {error}.  Save it as UTF-8") from error

    if any(row.split for row in rows):
        problems += [
            f"line {row.line}: no split, where other lines have one"
            for row in rows
            if not row.split
        ]
    train = [row for row in rows if row.split in ("", "train")]
    test = [row for row in rows if row.split == "test"] or [
        row for row in rows if row.split == "validation"
    ]
    classes = _classes(train)
    # Each may be but a consequence of what was found so far.
    problems = problems or _check_classes(train, test, classes)
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems[:_LISTED])
        if len(problems) > _LISTED:
            listed += f"\n  … and {len(problems) - _LISTED} more"
        raise UsageError(f"{table} cannot be used; put right:{listed}")

    indices = {label: i for i, label in enumerate(classes)}
    return splits(
        name,
        table.parent,
        train=_labelled(train, indices),
        test=_labelled(test, indices) if test else None,
        class_names=tuple(classes),
        remedy=f"remove their lines from {table}",
    )


def _csv_rows(table: Path, problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        _check_columns(table, list(reader.fieldnames or []))
        try:
            for row in reader:
                if None in row:
                    problems.append(
                        f"line {reader.line_num}: more values than columns; put those "
                        "with a comma into double quotes"
                    )
                else:
                    yield reader.line_num, row
        except csv.Error as error:
            problems.append(f"line {reader.line_num}: {error}")


def _jsonl_rows(
    table: Path, problems: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    columns: dict[str, None] = {}
    with table.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                problems.append(f"line {line}: not JSON: {error.msg}")
                continue
            if not isinstance(row, dict):
                problems.append(f"line {line}: not an object such as " + _EXAMPLE)
                continue
            columns.update(dict.fromkeys(row))
            yield line, row
    if not problems:
        _check_columns(table, list(columns))


def _check_columns(table: Path, columns: list[str]) -> None:
    if "label" not in columns and "labels" in columns:
        raise UsageError(f"{table} has a column 'labels': {_MULTI_LABEL}")
    missing = [column for column in COLUMNS[:2] if column not in columns]
    if missing:
        raise UsageError(
            f"{table} has no column {' and no column '.join(map(repr, missing))}, only "
            f"{', '.join(map(repr, columns)) or 'none at all'}: name the columns "
            "path,label or path,label,split in the first line of a CSV, or in each "
            f"object of JSON Lines: {_EXAMPLE}"
        )


def _valid(
    rows: Iterator[tuple[int, dict[str, Any]]], root: Path, problems: list[str]
) -> Iterator[_Row]:
    """The rows in which nothing is wrong; what is, is added to `problems`."""
    first: dict[str, int] = {}
    for line, row in rows:
        wrong: list[str] = []
        label = row.get("label")
        if isinstance(label, list | dict):
            wrong.append(_MULTI_LABEL)
        elif label is None or not str(label).strip():
            wrong.append("empty label")
        elif isinstance(label, float | bool):
            wrong.append(f"label {label!r} is neither a name nor a whole number")
        elif _is_number(str(label)) and int(label) < 0:
            wrong.append(f"label {label} is negative")

        path = row.get("path")
        if not isinstance(path, str) or not path.strip():
            wrong.append("empty path")
        elif (normal := Path(path.strip()).as_posix()) in first:
            wrong.append(f"{path} is already in line {first[normal]}")
        else:
            first[normal] = line
            if not (root / normal).is_file():
                wrong.append(f"there is no file {root / normal}")

        split = str(row.get("split") or "").strip()
        if split and split.lower() not in SPLITS:
            wrong.append(str(unknown("split", split, SPLITS)))

        problems += [f"line {line}: {what}" for what in wrong]
        if not wrong:
            meant = SPLITS.get(split.lower(), "")
            yield _Row(line, normal, str(label).strip(), meant)


def _check_classes(
    train: list[_Row], test: list[_Row], classes: list[str]
) -> list[str]:
    if not train:
        return ["no line is of the split train"]
    if len(classes) == 1:
        return [
            f"all training images have the label {classes[0]!r}, and to tell classes "
            "apart takes two"
        ]
    known = set(classes)
    return [
        f"line {row.line}: no training image has the label {row.label!r}"
        for row in test
        if row.label not in known
    ]


def _classes(rows: list[_Row]) -> list[str]:
    labels = {row.label for row in rows}
    if all(map(_is_number, labels)):
        return sorted(labels, key=int)
    return sorted(labels)


def _is_number(label: str) -> bool:
    return label.strip().removeprefix("-").isdecimal()


def _labelled(rows: list[_Row], indices: dict[str, int]) -> Labelled:
    return Labelled(
        paths=tuple(row.path for row in rows),
        labels=np.array([indices[row.label] for row in rows], np.int32),
    )
