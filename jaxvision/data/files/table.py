"""`csv:PATH` and `jsonl:PATH`: a table of image files and their labels."""

import csv
import io
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data.files import fields, reading, split_names
from jaxvision.data.files.image_files import Annotated, splits
from jaxvision.data.files.problems import refuse, some
from jaxvision.data.names import Name
from jaxvision.data.source import Splits
from jaxvision.errors import UsageError, unknown
from jaxvision.types import UNKNOWN

COLUMNS = ("path", "label", "split")
"""The last is optional, `labels` may take the place of `label`, with `unknown` beside
it; others are ignored."""

SEPARATOR = ";"
"""Between the `labels` of an image in a CSV."""

_EXAMPLE = '{"path": "cat/1.jpg", "label": "cat"}'


class _Row(NamedTuple):
    line: int
    path: str
    labels: tuple[str, ...]
    unknown: tuple[str, ...]
    split: split_names.Role | None


def load(name: Name) -> Splits:
    """The set called `csv:PATH` or `jsonl:PATH`.

    The file has one image per line: its `path`, relative to the file's own folder, its
    `label`, a name or a whole number, and optionally its `split`.  A CSV is separated
    by commas and begins with the names of its columns; JSON Lines has one object per
    line.
    Without a column `split`, a fifth of each class becomes the test split.

    With a column `labels` in place of `label`, an image may show several classes or
    none: `cat;dog` in a CSV, a list of names or of whole numbers in JSON Lines.  It is
    the annotation `presence` then, and `label` otherwise.  A column `unknown` beside it
    names, in the same way, classes of which it is not known whether the image shows
    them: `types.UNKNOWN` in `presence`.

    Classes are the labels of the training rows, sorted; by value if all are numbers, so
    that those of 1 to 10 become the classes 0 to 9, called "1" to "10".  A whole number
    may be written as 10.0, as pandas does.

    Raises `UsageError` for what is wrong with the table, listing the lines, and for
    images that cannot be read.
    """
    table = name.path
    if not table.is_file():
        raise UsageError(f"there is no file {table}, which {name.text!r} asks for")
    problems: list[str] = []
    read = _csv_rows if name.kind == "csv" else _jsonl_rows
    found = list(read(table, problems))
    multi = any("labels" in row for _, row in found)
    rows = list(_valid(found, table.parent, multi, problems))

    if any(row.split for row in rows):
        problems += [
            f"line {row.line}: no split, although other lines have one"
            for row in rows
            if not row.split
        ]
    else:
        _refuse_unread(table, [row for _, row in found])
    train = [row for row in rows if row.split in (None, "train")]
    chosen, words = split_names.choose(
        {row.split: row.split for row in rows if row.split},
        describe=lambda split: f"the lines of {table.name} whose split is {split}",
    )
    parts = [train, *([row for row in rows if row.split == split] for split in chosen)]
    classes = _classes(train)
    # Problems with classes may follow from those found so far.
    refuse(table, problems)
    refuse(table, _check_classes(parts, classes, multi))

    indices = {label: i for i, label in enumerate(classes)}
    return splits(
        name.text,
        table.parent,
        [_annotated(part, indices, multi) for part in parts],
        words,
        class_names=tuple(classes),
        remedy=f"remove their lines from {table}",
        known=(table.name,),
    )


def _refuse_unread(table: Path, rows: list[dict[str, Any]]) -> None:
    """Refuse columns that look like that of the split, where none is called so."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for column, value in row.items():
            values.setdefault(column, set()).add(str(value or "").strip())
    others = values.keys() - {"path", "label", "labels", "unknown"}
    split_names.refuse_unread(
        table,
        [
            f"the column {column!r}"
            for column in others
            if split_names.mentions(column)
            or all(map(split_names.resembles, values[column]))
        ],
    )


def _csv_rows(table: Path, problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(reading.text(table), newline=""), strict=True)
    try:
        _check_columns(table, list(reader.fieldnames or []))
        for row in reader:
            if None in row:
                problems.append(
                    f"line {reader.line_num}: more values than columns; put those "
                    "with a comma into double quotes"
                )
            else:
                yield reader.line_num, row
    except csv.Error as error:
        # In the first line, that of the columns, none was counted yet.
        problems.append(f"line {max(reader.line_num, 1)}: {error}")


def _jsonl_rows(
    table: Path, problems: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    columns: dict[str, None] = {}
    for line, text in enumerate(reading.text(table).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = reading.json_value(text)
        except ValueError as error:
            problems.append(f"line {line}: not JSON: {error}")
            continue
        if not isinstance(row, dict):
            problems.append(f"line {line}: not an object such as " + _EXAMPLE)
            continue
        columns.update(dict.fromkeys(row))
        yield line, row
    if not problems:
        _check_columns(table, list(columns))


def _check_columns(table: Path, columns: list[str]) -> None:
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UsageError(f"{table} has more than one column {some(twice)}: keep one")
    kinds = [column for column in ("label", "labels") if column in columns]
    if len(kinds) == 2:
        raise UsageError(
            f"{table} has a column 'label' and a column 'labels': keep 'label' if "
            "every image shows one class, and 'labels' if it may show several"
        )
    needed = ("path", *(kinds or ["label"]))
    missing = [column for column in needed if column not in columns]
    if missing:
        given = some([f"{name!r:.40}" for name in columns]) or "none at all"
        raise UsageError(
            f"{table} has no column {' and no column '.join(map(repr, missing))}, only "
            f"{given}: name the columns path,label or path,label,split in the first "
            f"line of a CSV, or in each object of JSON Lines: {_EXAMPLE}.  For several "
            "labels to an image call the column labels"
        )


def _valid(
    rows: list[tuple[int, dict[str, Any]]], root: Path, multi: bool, problems: list[str]
) -> Iterator[_Row]:
    """The rows in which nothing is wrong; what is, is added to `problems`."""
    first: dict[str, int] = {}
    for line, row in rows:
        wrong: list[str] = []
        labels = _labels(row, "labels", wrong) if multi else _label(row, wrong)
        unsure: tuple[str, ...] = ()
        if multi and row.get("unknown") is not None:
            unsure = _labels(row, "unknown", wrong)
            if both := sorted(set(labels) & set(unsure) - {""}):
                wrong.append(f"in labels and in unknown: {some(both)}")

        path = row.get("path")
        if not isinstance(path, str) or not path.strip():
            wrong.append("empty path")
        elif (normal := Path(path.strip()).as_posix()) in first:
            wrong.append(f"{path:.200} is already in line {first[normal]}")
        else:
            first[normal] = line
            if not os.path.isfile(root / normal):
                wrong.append(f"there is no file {root / normal!s:.400}")

        split = str(row.get("split") or "").strip()
        meant = split_names.role(split)
        if split and meant is None:
            known = [name for names in split_names.NAMES.values() for name in names]
            wrong.append(str(unknown("split", split[:40], known)))

        problems += [f"line {line}: {what}" for what in wrong]
        if not wrong:
            yield _Row(line, normal, labels, unsure, meant)


def _label(row: dict[str, Any], wrong: list[str]) -> tuple[str, ...]:
    label = row.get("label")
    if isinstance(label, list | dict):
        wrong.append("more than one label: call the column labels, in every line")
        return ()
    return (_class(label, wrong),)


def _labels(row: dict[str, Any], column: str, wrong: list[str]) -> tuple[str, ...]:
    given = row.get(column)
    if isinstance(given, str):  # of a CSV; a list of JSON is one already
        given = given.split(SEPARATOR) if given.strip() else []
    if not isinstance(given, list):
        wrong.append(f"no {column}: write [] for an image of no class")
        return ()
    labels = tuple(_class(label, wrong) for label in given)
    if twice := sorted(
        {label for label in labels if label and labels.count(label) > 1}
    ):
        wrong.append(f"more than once: {some(twice)}")
    return labels


def _class(label: Any, wrong: list[str]) -> str:
    """The name of a class, however it is written; "" and a reason if it has none."""
    if label is None or (isinstance(label, str) and not label.strip()):
        wrong.append("empty label")
        return ""
    try:
        name = fields.label(label)
        if not isinstance(label, str):
            fields.whole(label)
    except ValueError:
        what = "is neither a name nor a whole number"
        wrong.append(f"label {fields.shown(label)} {what}")
        return ""
    if _value(name) < 0:
        wrong.append(f"label {name} is negative")
    return name


def _check_classes(
    parts: list[list[_Row]], classes: list[str], multi: bool
) -> list[str]:
    train, *others = parts
    if not train:
        return ["no line is of the split train"]
    if not classes:
        return ["no training image has a label"]
    if len(classes) == 1 and not multi:  # among several, one may be there or not
        return [
            f"all training images have the label {classes[0]!r}, and classification "
            "needs two"
        ]
    known = set(classes)
    return [
        f"line {row.line}: no training image has the label {label!r}"
        for row in sorted((*train, *itertools.chain(*others)))
        for label in (*row.labels, *row.unknown)
        if label not in known
    ]


def _classes(rows: list[_Row]) -> list[str]:
    """Sorted by their values if all are numbers, else as texts."""
    labels = {label for row in rows for label in row.labels}
    if any(map(math.isnan, map(_value, labels))):
        return sorted(labels)
    return sorted(labels, key=lambda label: (_value(label), label))


def _value(label: str) -> float:
    try:
        return fields.number(label)
    except ValueError:
        return math.nan


def _annotated(rows: list[_Row], indices: dict[str, int], multi: bool) -> Annotated:
    paths = tuple(row.path for row in rows)
    if not multi:
        labels = [indices[row.labels[0]] for row in rows]
        return Annotated(paths, {"label": np.array(labels, np.int32)})
    presence = np.zeros((len(rows), len(indices)), np.uint8)
    for i, row in enumerate(rows):
        presence[i, [indices[label] for label in row.labels]] = 1
        presence[i, [indices[label] for label in row.unknown]] = UNKNOWN
    return Annotated(paths, {"presence": presence})
