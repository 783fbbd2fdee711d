"""What is in a data set: how many of each class, and what they look like."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from jaxvision.errors import check
from jaxvision.visualise import style

# In inches: the space around an image, what stands above the chart and left of the
# images, the chart itself and its least width, for the facts above it, and the room for
# names below it, slanted or level.
_GAP, _HEAD, _SIDE, _WIDE = 0.05, 0.95, 1.5, 6.2
_CHART, _SLANTED, _LEVEL = 1.15, 0.8, 0.35

_NAMES_UP_TO = 40  # classes up to which each bar has its name
_LEVEL_UP_TO = 20  # characters, of all names together, that fit beside each other
_NAME = 18  # characters of a class name that fit beside its images
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN)  # train, and one or two others


def card(
    counts: Mapping[str, np.ndarray],
    examples: Mapping[int, Sequence[np.ndarray]],
    class_names: Sequence[str],
    *,
    title: str,
    facts: Sequence[str] = (),
    unit: str = "examples",
    image_size: float = 0.72,
    colours: Sequence[tuple[int, int, int]] = (),
) -> Figure:
    """A chart of the class balance above a contact sheet with a row for each class.

    counts: for each split, such as `"train"`, int [K]: the examples of each class.  The
    first split is drawn as bars, one or two others as marks, scaled to the same mean:
    where they are balanced alike, the marks lie on the ends of the bars.
    facts: lines that are written below the title; two fit.
    unit: what the counts are of.
    image_size: of the longer side of an example, in inches.
    colours: RGB from 0 to 255 of each class, where the examples are drawn upon with it.
    examples: for some of the classes, by index, images uint8 [H,W,C] of one channel
    (grey) or three (RGB), of any size.  Each fills a square with its longer side.

    Raises `UsageError` when the counts do not fit the names, or an example is no image.
    """
    classes = len(class_names)
    check(
        (classes > 0, "there are no classes to show"),
        (
            1 <= len(counts) <= len(_COLOURS),
            f"one to {len(_COLOURS)} splits can be shown, got {len(counts)}",
        ),
        *(
            (
                numbers.shape == (classes,),
                f"the counts of {split} must be [{classes}], one for each class name, "
                f"got {numbers.shape}",
            )
            for split, numbers in counts.items()
        ),
        (
            all(0 <= label < classes for label in examples),
            f"examples must be of classes in 0..{classes - 1}, got {list(examples)}",
        ),
        *(
            style.image_rule(image, "examples")
            for images in examples.values()
            for image in images
        ),
    )
    columns = max([len(images) for images in examples.values()], default=0)
    right = _SIDE + max(columns * (image_size + _GAP), _WIDE)
    width = right + _GAP
    sheet = len(examples) * (_tallest(examples, image_size) + _GAP)
    below = _LEVEL if _names_are_level(class_names) else _SLANTED
    height = _HEAD + _CHART + below + sheet

    figure = Figure((width, height))
    for y, text, size, colour in (
        (0.05, title, style.LARGE, style.INK),
        (0.29, "\n".join(facts), style.SMALL, style.PALE),
    ):
        figure.text(
            _GAP / width,
            1 - y / height,
            style.plain(text),
            size=size,
            color=colour,
            va="top",
            linespacing=1.5,
        )
    chart = figure.add_axes(
        (
            _SIDE / width,
            1 - (_HEAD + _CHART) / height,
            (right - _SIDE - _GAP) / width,
            _CHART / height,
        )
    )
    _balance(chart, counts, class_names, unit)
    if examples:
        axis = figure.add_axes((0, 0, right / width, sheet / height))
        _sheet(axis, examples, class_names, image_size, colours)
        axis.set(xlim=(0, right), ylim=(sheet, 0), aspect="auto")
    return figure


def _tallest(examples: Mapping[int, Sequence[np.ndarray]], size: float) -> float:
    heights = [
        size * image.shape[0] / max(image.shape[:2])
        for images in examples.values()
        for image in images
    ]
    return max([0.2, *heights])  # a class name is 0.2 high


def _names_are_level(class_names: Sequence[str]) -> bool:
    return sum(map(len, class_names)) <= _LEVEL_UP_TO


def _balance(
    axis: Axes,
    counts: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    unit: str,
) -> None:
    (name, numbers), *others = counts.items()
    places = np.arange(len(class_names))
    bar = min(0.8, 0.1 * len(class_names))  # the bars of two classes are no walls
    handles: list[Any] = [axis.bar(places, numbers, width=bar, color=_COLOURS[0])]
    labels = [name]
    for (other, theirs), colour in zip(others, _COLOURS[1:], strict=False):
        scale = numbers.mean() / theirs.mean() if theirs.any() else 1
        ends = places - bar / 2, places + bar / 2
        labels.append(f"{other}, scaled × {scale:.3g}")
        marks = axis.hlines(theirs * scale, *ends, colour, linewidth=2)
        handles.append(marks)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.spines["left"].set_color(style.PALE)
    axis.tick_params(color=style.PALE, labelcolor=style.INK, labelsize=style.SMALL)
    axis.tick_params("x", length=0)
    axis.set_xlim(-0.6, len(class_names) - 0.4)
    axis.set_ylim(0, None)
    axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.grid(True, axis="y", color=style.RULE, linewidth=0.8)
    axis.set_axisbelow(True)
    style.label(axis, y=unit)
    if len(class_names) <= _NAMES_UP_TO:
        level = _names_are_level(class_names)
        axis.set_xticks(
            places,
            [style.plain(style.shorten(name, 14)) for name in class_names],
            rotation=0 if level else 35,
            ha="center" if level else "right",
            rotation_mode="anchor",
        )
    else:
        axis.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        style.label(axis, x="class (index)", y=unit)
    axis.legend(
        handles,
        list(map(style.plain, labels)),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(labels),
        frameon=False,
        borderaxespad=0.1,
        fontsize=style.SMALL,
        labelcolor=style.INK,
    )


def _sheet(
    axis: Axes,
    examples: Mapping[int, Sequence[np.ndarray]],
    class_names: Sequence[str],
    size: float,
    colours: Sequence[tuple[int, int, int]],
) -> None:
    """All images in one axes whose unit is an inch: hundreds of axes take seconds."""
    pitch = _tallest(examples, size) + _GAP
    for row, (label, images) in enumerate(examples.items()):
        middle = (row + 0.5) * pitch
        axis.text(
            _SIDE - 0.12,
            middle,
            style.plain(style.shorten(class_names[label], _NAME)),
            ha="right",
            va="center",
            size=style.NORMAL,
            color=style.INK,
        )
        if colours:
            patch = (_SIDE - 0.08, middle - size / 4), 0.05, size / 2
            paint = [level / 255 for level in colours[label]]
            axis.add_patch(Rectangle(*patch, color=paint, linewidth=0))
        for column, image in enumerate(images):
            left = _SIDE + column * (size + _GAP)
            extent = style.extent(image, left, middle - size / 2, size)
            style.draw(axis, image, extent=extent)
    axis.set_axis_off()
