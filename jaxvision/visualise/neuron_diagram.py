"""Networks as circles and lines, as the charts of lectures draw them.

The kinds of cells are those of van Veen's chart of neural networks (2016,
https://www.asimovinstitute.org/neural-network-zoo/).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from jaxvision.errors import check, unknown
from jaxvision.visualise.page import element

KINDS: Mapping[str, tuple[str, str]] = {
    "input": ("yellow", ""),
    "backfed input": ("yellow", "circle"),
    "noisy input": ("yellow", "triangle"),
    "hidden": ("green", ""),
    "probabilistic hidden": ("green", "circle"),
    "spiking hidden": ("green", "triangle"),
    "output": ("red", ""),
    "match input output": ("red", "circle"),
    "recurrent": ("blue", ""),
    "memory": ("blue", "circle"),
    "gated memory": ("blue", "triangle"),
    "kernel": ("purple", ""),
    "convolution or pool": ("purple", "circle"),
}
"""The colour of a cell's circle and the mark in it."""

LOOPED = ("recurrent", "memory", "gated memory")
"""Cells that hear themselves a step later."""

_COLUMN, _ROW, _RADIUS, _MARGIN = 46.0, 27.0, 9.0, 14.0
_LOOK = """
.cell{stroke:#333;stroke-width:1}.line{stroke:currentColor;stroke-width:.6;opacity:.45}
.loop{fill:none;stroke:currentColor;stroke-width:.8}.mark{fill:none;stroke:#222}
.yellow{fill:#F0E442}.green{fill:#009E73}.red{fill:#D55E00}.blue{fill:#56B4E9}
.purple{fill:#CC79A7}
"""


class Diagram(NamedTuple):
    """Cells with their places, and which of them are connected."""

    kinds: Sequence[str]
    """Of each cell, a name of `KINDS`."""
    places: Sequence[tuple[float, float]]
    """x and y of each, in units of the drawing."""
    lines: Sequence[tuple[int, int]]
    """Pairs of cells."""
    arcs: Sequence[tuple[int, int]] = ()
    """Pairs that are connected around what is between them."""


def layered(
    *columns: Sequence[str], reach: float | None = None, skips: bool = False
) -> Diagram:
    """Columns of cells from left to right, each connected with the next one.

    Args:
      columns: the kinds of their cells, from above.
      reach: up to which distance cells of neighbouring columns are connected, in rows,
        as with kernels; None: all are.
      skips: whether each column but the first is also connected with the one after the
        next, cell by cell, as in residual networks.
    """
    check((len(columns) > 0, "there are no columns of cells to draw"))
    middle = (max(len(column) for column in columns) - 1) / 2
    kinds: list[str] = []
    places: list[tuple[float, float]] = []
    rows: list[range] = []
    for number, column in enumerate(columns):
        first = len(kinds)
        rows.append(range(first, first + len(column)))
        for i, kind in enumerate(column):
            kinds.append(kind)
            y = _ROW * (middle + i - (len(column) - 1) / 2)
            places.append((_COLUMN * number, y))

    def near(i: int, j: int) -> bool:
        return reach is None or abs(places[i][1] - places[j][1]) <= reach * _ROW

    pairs = itertools.pairwise(rows)
    lines = [
        (i, j) for these, those in pairs for i in these for j in those if near(i, j)
    ]
    arcs = [
        pair
        for these, those in zip(rows[1:], rows[3:], strict=False)
        for pair in zip(these, those, strict=False)
    ]
    return Diagram(kinds, places, lines, arcs if skips else ())


def ring(*kinds: str) -> Diagram:
    """Cells on a circle, each connected with all others."""
    count = len(kinds)
    radius = max(_ROW * count / 6, _ROW)
    turns = [2 * math.pi * i / count - math.pi / 2 for i in range(count)]
    places = [
        (radius * (1 + math.cos(turn)), radius * (1 + math.sin(turn))) for turn in turns
    ]
    lines = [(i, j) for i in range(count) for j in range(i)]
    return Diagram(kinds, places, lines)


def reservoir(inputs: Sequence[str], hidden: str, outputs: Sequence[str]) -> Diagram:
    """Cells between inputs and outputs in disorder, of which some are connected."""
    offsets = (0.1, 0.5, -0.3, 0.4, -0.45, 0.15, -0.1, 0.35, -0.4)
    columns = [[hidden] * 3] * 3
    whole = layered(inputs, *columns, outputs)
    first = len(inputs)
    places = list(whole.places)
    for i, offset in enumerate(offsets):
        x, y = places[first + i]
        places[first + i] = (x + 14 * offset, y + 18 * offsets[-1 - i])
    inner = range(first, first + len(offsets))
    kept = [
        (i, j)
        for i, j in whole.lines
        if (i in inner and j in inner and (3 * i + 5 * j) % 4 != 0)
        or ((i in inner) != (j in inner) and (i + j) % 2 == 0)
    ]
    kept += [(first, first + 1), (first + 4, first + 5), (first + 7, first + 8)]
    return Diagram(whole.kinds, places, kept)


def neurons(diagram: Diagram, title: str) -> Element:
    """The diagram as an SVG picture.

    title: what it shows, in words.  Raises `UsageError` for a kind that is unknown.
    """
    for kind in diagram.kinds:
        if kind not in KINDS:
            raise unknown("kind of cell", kind, KINDS)
    left, top = (min(place[axis] for place in diagram.places) for axis in (0, 1))
    right, bottom = (max(place[axis] for place in diagram.places) for axis in (0, 1))
    shift = _RADIUS + _MARGIN
    places = [(x - left + shift, y - top + shift) for x, y in diagram.places]
    lines = [
        element(
            "line",
            **_numbers(
                x1=places[i][0], y1=places[i][1], x2=places[j][0], y2=places[j][1]
            ),
            **{"class": "line"},
        )
        for i, j in diagram.lines
    ]
    lines += [_arc(*places[i], *places[j]) for i, j in diagram.arcs]
    cells = [
        each
        for kind, (x, y) in zip(diagram.kinds, places, strict=True)
        for each in _cell(kind, x, y)
    ]
    width, height = right - left + 2 * shift, bottom - top + 2 * shift
    return _picture(title, width, height, [*lines, *cells])


def legend(kinds: Sequence[str] = tuple(KINDS)) -> list[tuple[Element, str]]:
    """A small picture of each kind of cell, and its name."""
    side = 2 * _RADIUS + 8
    return [
        (_picture(kind, side, side, _cell(kind, side / 2, side / 2, loop=False)), kind)
        for kind in kinds
    ]


def _arc(x1: float, y1: float, x2: float, y2: float) -> Element:
    way = f"M{x1:.1f} {y1:.1f}Q{(x1 + x2) / 2:.1f} {(y1 + y2) / 2 - 24:.1f}"
    return element("path", d=f"{way} {x2:.1f} {y2:.1f}", **{"class": "loop"})


def _cell(kind: str, x: float, y: float, *, loop: bool = True) -> list[Element]:
    colour, mark = KINDS[kind]
    drawn = []
    if loop and kind in LOOPED:
        around = f"M{x - 5:.1f} {y - 7:.1f}a6 6 0 1 1 10 0"
        drawn.append(element("path", d=around, **{"class": "loop"}))
    circle = _numbers(cx=x, cy=y, r=_RADIUS)
    drawn.append(element("circle", **circle, **{"class": f"cell {colour}"}))
    if mark == "circle":
        inner = _numbers(cx=x, cy=y, r=_RADIUS / 2)
        drawn.append(element("circle", **inner, **{"class": "mark"}))
    elif mark == "triangle":
        corners = ((0, -5), (4.5, 3.2), (-4.5, 3.2))
        points = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
        drawn.append(element("polygon", points=points, **{"class": "mark"}))
    return drawn


def _picture(
    title: str, width: float, height: float, drawn: Sequence[Element]
) -> Element:
    return element(
        "svg",
        element("title", title),
        element("style", _LOOK),
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        role="img",
    )


def _numbers(**values: float) -> dict[str, str]:
    return {name: f"{value:.1f}" for name, value in values.items()}
