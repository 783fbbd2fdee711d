"""Which classes a model takes for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from jaxvision.errors import check
from jaxvision.visualise import style

_COUNTS_UP_TO = 20  # classes up to which every cell states its count
_GRID_UP_TO = 50  # classes up to which lines part the cells
_NAMES_UP_TO = 120  # classes up to which every row and column has its name
_LISTED = 24  # mistakes in the list that stands in for the counts

_MISTAKES, _CORRECT = "Oranges", "Blues"


def confusion(
    matrix: np.ndarray,
    class_names: Sequence[str],
    *,
    of: str = "example",
    shares: bool = False,
) -> Figure:
    """The confusion matrix, each cell coloured by its share of the true class.

    matrix: [C,C] counts; rows are true classes and columns are predicted ones.
    of: what is counted.  shares: cells state the share in percent, not the count.

    Mistakes and correct answers have a colour scale each, and that of the mistakes
    follows the square root, so that a share of half a percent is seen beside a diagonal
    of 99 %.  Cells without a count are white.  Up to 20 classes the cells state their
    counts; beyond that a list names the most frequent mistakes.

    Raises `UsageError` when the matrix is not square, holds anything but counts, or
    does not fit the names.
    """
    counts = check_counts(matrix, class_names)
    classes = len(class_names)
    parts_of_row = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(classes, dtype=bool)
    total, right = int(counts.sum()), int(counts.trace())

    spelled_out = classes <= _COUNTS_UP_TO
    side = float(np.clip(0.44 * classes, 4.4, 8.4)) if spelled_out else 9.5
    figure = Figure(
        (side + (1.9 if spelled_out else 6.4), side + 0.9), layout="constrained"
    )
    if spelled_out:
        axis = figure.add_subplot()
    else:
        parts = figure.add_gridspec(1, 2, width_ratios=(side + 2.5, 3.9))
        axis = figure.add_subplot(parts[0])
        _list_mistakes(figure.add_subplot(parts[1]), counts, class_names)

    scale = PowerNorm(0.5, 0, float(parts_of_row[~diagonal].max(initial=0)) or 1.0)
    worst = float(parts_of_row.diagonal()[counts.any(axis=1)].min(initial=1))
    bars = []
    for name, norm, hidden, words in (
        # The scale reaches below the worst class, so that this one is not white.
        (_CORRECT, Normalize(max(0, 2 * worst - 1.02), 1), ~diagonal, "correct"),
        (_MISTAKES, scale, diagonal, "mistakes"),
    ):
        shown = np.ma.array(parts_of_row, mask=hidden | (counts == 0))
        if not shown.count():
            continue
        image = axis.imshow(shown, cmap=name, norm=norm, interpolation="nearest")
        bar = figure.colorbar(image, ax=axis, shrink=0.8, aspect=30, pad=0.02)
        bars.append(bar)
        bar.outline.set_visible(False)
        bar.ax.set_title(words, fontsize=style.SMALL, color=style.INK, loc="left")
        bar.ax.tick_params(labelsize=style.SMALL, labelcolor=style.INK, length=0)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        if spelled_out:
            _write_counts(axis, counts, shown, name, norm, shares)
    if bars:
        bars[0].set_label(
            "share of the true class", fontsize=style.SMALL, color=style.INK
        )

    _name_classes(axis, class_names)
    style.title(
        axis,
        f"{style.count(total, of)}, {style.count(total - right, 'mistake')}, "
        f"accuracy {100 * right / max(total, 1):.2f} %",
    )
    return figure


def most_confused(matrix: np.ndarray, limit: int) -> list[tuple[int, int, int]]:
    """True class, predicted class and count of the most frequent mistakes in a
    confusion matrix, counts [C,C]: `limit` of them, or all that there are."""
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    pairs = zip(*np.unravel_index(order, matrix.shape), strict=True)
    found = [(int(i), int(j), int(mistakes[i, j])) for i, j in pairs]
    return [pair for pair in found if pair[2] > 0]


def check_counts(matrix: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The confusion matrix as int64 [C,C].  Raises `UsageError`, see `confusion`."""
    matrix = np.asarray(matrix)
    classes = len(class_names)
    check(
        (
            classes > 0 and matrix.shape == (classes, classes),
            f"the confusion matrix of {classes} class names must have the shape "
            f"{(classes, classes)}, got {matrix.shape}",
        ),
        (
            bool(np.all(matrix >= 0) and np.all(matrix == np.round(matrix))),
            "a confusion matrix holds counts: whole numbers that are not negative",
        ),
    )
    return matrix.astype(np.int64)


def _name_classes(axis: Axes, class_names: Sequence[str]) -> None:
    """Names on both sides; among too many classes, the index of some of them."""
    classes = len(class_names)
    axis.spines[:].set_color(style.RULE)
    axis.tick_params(which="both", length=0, labelcolor=style.INK)
    if classes > _NAMES_UP_TO:
        step = 10 ** int(np.log10(classes / 2))
        axis.set_xticks(range(0, classes, step))
        axis.set_yticks(range(0, classes, step))
        axis.tick_params(length=3, color=style.PALE, labelsize=style.SMALL)
        style.label(axis, x="predicted class (index)", y="true class (index)")
        return
    names = [style.shorten(name, 18) for name in class_names]
    size = float(np.clip(430 / classes, 4, style.NORMAL))
    rotation = 0 if max(map(len, names)) <= 2 else 90
    words = list(map(style.plain, names))
    axis.set_xticks(range(classes), words, fontsize=size, rotation=rotation)
    axis.set_yticks(range(classes), words, fontsize=size)
    style.label(axis, x="predicted class", y="true class")
    if classes <= _GRID_UP_TO:
        axis.set_xticks(np.arange(classes - 1) + 0.5, minor=True)
        axis.set_yticks(np.arange(classes - 1) + 0.5, minor=True)
        axis.grid(which="minor", color=style.RULE, linewidth=0.6)


def _write_counts(
    axis: Axes,
    counts: np.ndarray,
    shown: np.ma.MaskedArray,
    cmap: str,
    norm: Normalize,
    shares: bool,
) -> None:
    """The count in each cell that is shown, or its percent of the row without the sign,
    dark on light or light on dark."""
    size = float(np.clip(110 / len(counts), 6, style.NORMAL))
    for row, column in np.argwhere(~np.ma.getmaskarray(shown)):
        red, green, blue, _ = colormaps[cmap](float(norm(shown[row, column])))
        # The weights of the primaries in perceived lightness, ITU-R BT.601.
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
        axis.text(
            column,
            row,
            f"{100 * shown[row, column]:.1f}" if shares else str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=size,
            color=style.INK if light else "white",
        )


def _list_mistakes(axis: Axes, counts: np.ndarray, class_names: Sequence[str]) -> None:
    """The most frequent mistakes in words."""
    axis.set_axis_off()
    style.title(axis, "the most frequent mistakes, true → predicted")
    totals = counts.sum(axis=1)
    lines = [
        f"{number:5d} of {totals[true]:<6d}"
        f"{style.shorten(class_names[true], 18)} → "
        f"{style.shorten(class_names[predicted], 18)}"
        for true, predicted, number in most_confused(counts, _LISTED)
    ]
    axis.text(
        0,
        1,
        style.plain("\n".join(lines)),
        va="top",
        linespacing=1.7,
        family="monospace",
        fontsize=style.SMALL,
        color=style.INK,
        transform=axis.transAxes,
    )
