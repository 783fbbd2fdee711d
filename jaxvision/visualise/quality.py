"""Images that deserve a second look, each with what was found."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style

# In inches: an image, the space around it, a line of words, and the headline.
_IMAGE, _GAP, _LINE, _HEAD = 1.15, 0.14, 0.13, 0.55
_WIDE = 9  # images in a row
_CHARACTERS = 21  # that fit above an image


class Cell(NamedTuple):
    """Images that belong together, such as copies, side by side under one frame."""

    images: Sequence[np.ndarray | None]
    """uint8 [H,W,C] of one channel (grey) or three (RGB); None for a damaged file."""
    lines: Sequence[Sequence[str]]
    """What stands above each image, as many lines for all."""


def findings(cells: Sequence[Cell], *, title: str, note: str = "") -> Figure:
    """The cells in rows, as they come.  One with too many images for a row is cut.

    Raises `UsageError` when there is nothing to show, or an image is none.
    """
    check(
        (len(cells) > 0, "there are no images to show"),
        *(
            style.image_rule(image)
            for cell in cells
            for image in cell.images
            if image is not None
        ),
    )
    places = _places([min(len(cell.images), _WIDE) for cell in cells])
    words = _LINE * max(len(lines) for cell in cells for lines in cell.lines)
    pitch = words + _IMAGE + 2 * _GAP
    rows = places[-1][0] + 1
    width = _WIDE * (_IMAGE + _GAP) + _GAP
    height = _HEAD + rows * pitch

    figure = Figure((width, height))
    for y, text, size, colour in (
        (0.08, title, style.LARGE, style.INK),
        (0.32, note, style.SMALL, style.PALE),
    ):
        figure.text(
            _GAP / width,
            1 - y / height,
            style.plain(text),
            size=size,
            color=colour,
            va="top",
        )
    axis = figure.add_axes((0, 0, 1, (height - _HEAD) / height))
    axis.set(xlim=(0, width), ylim=(height - _HEAD, 0))
    axis.set_axis_off()
    for cell, (row, column) in zip(cells, places, strict=True):
        for i, image in enumerate(cell.images[:_WIDE]):
            left = _GAP + (column + i) * (_IMAGE + _GAP)
            top = row * pitch
            for number, line in enumerate(cell.lines[i]):
                axis.text(
                    left,
                    top + number * _LINE,
                    style.plain(style.shorten(line, _CHARACTERS)),
                    size=style.SMALL - 1,
                    color=style.INK if number else style.PALE,
                    va="top",
                )
            _show(axis, image, left, top + words)
            if i:  # the copies of a cell hang together
                middle = top + words + _IMAGE / 2
                axis.plot(
                    [left - _GAP, left], [middle] * 2, color=style.VERMILION, lw=2
                )
    return figure


def _places(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Row and first column of each cell, in reading order."""
    places = []
    row = column = 0
    for width in widths:
        if column + width > _WIDE:
            row, column = row + 1, 0
        places.append((row, column))
        column += width
    return places


def _show(axis, image: np.ndarray | None, left: float, top: float) -> None:
    if image is None:
        axis.text(
            left + _IMAGE / 2, top + _IMAGE / 2, "damaged", ha="center", va="center"
        )
        return
    left, right, bottom, top = style.extent(image, left, top, _IMAGE)
    style.draw(axis, image, extent=(left, right, bottom, top), aspect="auto")
    # A blank image needs a border to be seen at all.
    axis.plot(
        [left, right, right, left, left],
        [bottom, bottom, top, top, bottom],
        color=style.RULE,
        lw=0.8,
    )
