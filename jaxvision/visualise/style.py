"""How every picture looks, and how it reaches the disk."""

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from jaxvision.errors import UsageError

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow
# (unreadable on white): https://jfly.uni-koeln.de/color/
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, ORANGE, BLACK = "#CC79A7", "#56B4E9", "#E69F00", "#000000"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, BLACK)

INK = "#333333"
PALE = "#8A8A8A"
RULE = "#E4E4E4"
SMALL, NORMAL, LARGE = 8, 9, 11
DPI = 150


def panels(count: int, *, width: float = 4.4, height: float = 3.4) -> list[Axes]:
    """`count` axes with a light grid in one new figure, at most three in a row.

    `width` and `height` are those of one panel, in inches.  Styles are set on the axes
    and not through `rcParams`, which would change the caller's own figures.
    """
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(
        (columns * width, rows * height),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.05),
    )
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(PALE)
        axis.tick_params(
            which="both", color=PALE, labelcolor=INK, labelsize=SMALL, grid_color=RULE
        )
        axis.grid(True, linewidth=0.8)
        axis.set_axisbelow(True)
    return axes


def title(axis: Axes, text: str) -> None:
    axis.set_title(text, loc="left", fontsize=LARGE, color=INK, pad=8)


def label(axis: Axes, *, x: str = "", y: str = "") -> None:
    axis.set_xlabel(x, fontsize=NORMAL, color=INK)
    axis.set_ylabel(y, fontsize=NORMAL, color=INK)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters, cut with an ellipsis where it is longer."""
    return text if len(text) <= width else text[: max(width - 1, 1)].rstrip() + "…"


def count(number: int, noun: str) -> str:
    """`1 mistake`, `1,234 mistakes`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` as a PNG at `path`: the whole picture, or what was there before.

    Raises `UsageError` when the folder of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UsageError(
            f"cannot save {path.name}: the folder {path.parent} does not exist; "
            "create it first"
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        figure.savefig(
            partial, format="png", dpi=DPI, facecolor="white", bbox_inches="tight"
        )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
