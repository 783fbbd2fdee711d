"""The log of a run as it is read again.  Needs no JAX: a list of runs reads many."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.errors import UsageError
from jaxvision.files import plain

FILE = "metrics.jsonl"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; none if it is missing.

    Lines that are no rows, such as one that a crash cut short, are left out.  Raises
    `UsageError` where it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    return parse_rows(text)


def parse_rows(text: str) -> list[dict[str, Any]]:
    """The rows in the text of a log."""
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and {"step", "epoch"} <= row.keys():
            rows.append(row)
    return rows


def validations(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Step and metrics of each validation in the rows, those that are one number."""
    prefix = "validation/"
    return [
        {"step": row["step"]}
        | {
            name.removeprefix(prefix): plain(value)
            for name, value in row.items()
            if name.startswith(prefix) and np.ndim(value) == 0
        }
        for row in rows
        if any(name.startswith(prefix) for name in row)
    ]
