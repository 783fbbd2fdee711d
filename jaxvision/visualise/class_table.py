"""How well a classifier knows each class, and which ones it confuses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision.errors import check
from jaxvision.visualise import style
from jaxvision.visualise.confusion_matrix import check_counts, most_confused

# In inches: a line of the table, what stands above it, and its columns.
_LINE, _HEAD, _NAME, _COLUMN, _BARS = 0.21, 0.75, 1.7, 0.75, 5.8

_LISTED = 50  # classes
_PAIRS = 10


def class_scores(
    matrix: np.ndarray, scores: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> Figure:
    """Precision, recall and F1 of each class, the lowest F1 first, beside the pairs of
    classes that are most often confused.

    matrix: [C,C] counts; rows are true classes and columns are predicted ones.
    scores: `precision`, `recall` and `f1` [C] in 0..1, NaN where there is none.  Of
    more than 50 classes those with the lowest F1 are listed.

    Raises `UsageError` as `confusion` does, and for scores that do not fit the names.
    """
    counts = check_counts(matrix, class_names)
    shapes = {name: np.shape(scores[name]) for name in ("precision", "recall", "f1")}
    check(
        *(
            (shape == (len(counts),), f"{name} must be [{len(counts)}], got {shape}")
            for name, shape in shapes.items()
        )
    )
    order = np.argsort(scores["f1"], kind="stable")[:_LISTED]  # NaN comes last
    height = _HEAD + _LINE * max(len(order), _PAIRS)
    table = _NAME + _COLUMN * 4
    width = table + _BARS
    figure = Figure((width, height))
    axis = figure.add_axes((0, 0, table / width, 1))
    axis.set(xlim=(0, table), ylim=(height, 0))
    axis.set_axis_off()
    which = f"the {_LISTED} lowest of " * (len(order) < len(counts))
    mean = np.nanmean(scores["f1"]) if counts.any() else np.nan
    title = f"{which}{len(counts):,} classes, mean F1 {_percent(mean)}"
    _write(axis, 0.1, 0.2, title, size=style.LARGE)
    columns = {
        "precision": map(_percent, scores["precision"][order]),
        "recall": map(_percent, scores["recall"][order]),
        "F1": map(_percent, scores["f1"][order]),
        "examples": map("{:,}".format, counts.sum(axis=1)[order]),
    }
    lines = _HEAD + _LINE * np.arange(len(order))
    for y, k in zip(lines, order, strict=True):
        _write(axis, 0.1, y, style.shorten(class_names[k], 22))
    for i, (head, cells) in enumerate(columns.items(), start=1):
        right = _NAME + i * _COLUMN - 0.05
        _write(axis, right, _HEAD - 0.2, head, ha="right", color=style.PALE)
        for y, text in zip(lines, cells, strict=True):
            _write(axis, right, y, text, ha="right")

    bars = _LINE * _PAIRS / height
    bottom = 1 - (_HEAD - _LINE / 2) / height - bars
    place = ((table + 0.48 * _BARS) / width, bottom, 0.46 * _BARS / width, bars)
    _draw_pairs(figure.add_axes(place), counts, class_names)
    return figure


def _draw_pairs(axis: Axes, counts: np.ndarray, class_names: Sequence[str]) -> None:
    pairs = most_confused(counts, _PAIRS)
    numbers = [number for _, _, number in pairs]
    axis.barh(range(len(pairs)), numbers, height=0.7, color=style.VERMILION)
    for place, (true, _, number) in enumerate(pairs):
        words = f" {number:,} of {counts[true].sum():,}"
        _write(axis, number, place, words)
    names = [
        f"{style.shorten(class_names[true], 16)} → "
        f"{style.shorten(class_names[predicted], 16)}"
        for true, predicted, _ in pairs
    ]
    axis.set_yticks(
        range(len(pairs)),
        list(map(style.plain, names)),
        fontsize=style.SMALL,
        color=style.INK,
    )
    axis.set(xlim=(0, 1.3 * max(numbers, default=1)), ylim=(_PAIRS - 0.5, -0.5))
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    words = "most confused: true → predicted" if pairs else "there are no mistakes"
    axis.set_title(words, loc="left", fontsize=style.LARGE, color=style.INK, pad=22)


def _write(axis: Axes, x: float, y: float, text: str, **options: Any) -> None:
    look: dict[str, Any] = {"va": "center", "size": style.SMALL, "color": style.INK}
    axis.text(x, y, style.plain(text), **(look | options))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if np.isfinite(share) else "–"
