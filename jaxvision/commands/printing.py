"""How commands print, and name files after data sets."""

import re
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from jaxvision.printing import make_console


def file_name(dataset: str) -> str:
    """A data set's name as that of a file."""
    return re.sub(r"[^\w.-]+", "_", dataset)


def shape_in_words(shape: Sequence[int | None]) -> str:
    """Such as `28×28×1`, or `any size×3`."""
    if None in shape[:2]:
        return f"any size×{shape[-1]}"
    return "×".join(map(str, shape))


def show(content: Any, *, wide: bool = False) -> None:
    """Print text, a table or columns; `wide`: without folding where a program, and no
    terminal, reads it."""
    console = make_console(soft_wrap=False)
    if wide and not console.is_terminal:
        console.width = 1000
    console.print(content)


def show_rows(rows: dict[str, str]) -> None:
    """Names in bold with their values."""
    grid = Table(box=None, show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(name, value)
    show(grid)
