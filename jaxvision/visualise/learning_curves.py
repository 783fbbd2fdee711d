"""Metrics as they change while a model learns: of one run, or of several."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogFormatterMathtext,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from jaxvision.errors import UsageError, unknown
from jaxvision.measures import GRADIENT_NORM, LEARNING_RATE, Measure, measure_of
from jaxvision.visualise import style

Row = Mapping[str, Any]
"""A line of `metrics.jsonl`: `{"step": 430, "epoch": 1.0, "train/loss": 0.31, …}`."""

AGAINST = {
    "epoch": ("epoch", "epoch"),
    "updates": ("step", "updates"),
    "seconds": ("seconds", "training time [s]"),
}
"""What a metric can be drawn against: the row's key, and the words on the axis."""

OF_STEPS = (GRADIENT_NORM, LEARNING_RATE)
"""What the log has of the steps of every task."""

_COLOURS = {"train": style.BLUE, "validation": style.VERMILION}
_LINE_STYLES = ("-", "--", ":", "-.")


def curves(
    history: Sequence[Row],
    measures: Sequence[Measure] = (),
    *,
    best_step: int | None = None,
) -> Figure:
    """One panel for each metric that train and validation share, against the epoch, and
    one for the first of the `measures`, even if only one of them measured it.

    Loss comes first, then the others in the order of their measures; where nothing is
    shared, whatever either of them measured is drawn.  The norm of the gradient and the
    learning rate follow, if they were logged.  A dotted line marks the validation at
    `best_step`, the step of the best checkpoint; when that is None, the first one that
    is best by the first of the measures that was recorded.

    Raises `UsageError` when there is no metric in `history`.
    """
    measured = {
        split: {
            key.removeprefix(f"{split}/")
            for row in history
            for key in row
            if key.startswith(f"{split}/") and _series(history, key, "epoch")[0]
        }
        - {GRADIENT_NORM.name}
        for split in _COLOURS
    }
    either = set.union(*measured.values())
    names = set.intersection(*measured.values()) or either
    names |= either & {measure.name for measure in measures[:1]}
    if not names:
        raise UsageError(
            "no curves to draw: expected rows such as "
            '{"epoch": 1, "train/loss": 0.3, "validation/loss": 0.2}, got '
            f"{len(history)} rows without such keys"
        )
    order = ["loss", *(measure.name for measure in measures)]
    panels = {
        name: {split: f"{split}/{name}" for split in _COLOURS}
        for name in sorted(names, key=lambda name: (_place(order, name), name))
    }
    for measure in OF_STEPS:
        for key in (measure.name, f"train/{measure.name}"):
            if _series(history, key, "epoch")[0]:
                panels[measure.name] = {"train": key}

    best = _best_epoch(history, measures, best_step)
    axes = style.panels(len(panels))
    for axis, (name, keys) in zip(axes, panels.items(), strict=True):
        measure = measure_of(name, (*measures, *OF_STEPS))
        drawn = []
        for split, key in keys.items():
            x, y = _series(history, key, "epoch")
            if x:
                axis.plot(x, y, color=_COLOURS[split], label=split, **_strokes(len(x)))
                drawn += y
        if best is not None and measured["validation"] and "validation" in keys:
            _mark(axis, history, keys["validation"], best, measure)
        style.title(axis, name.replace("_", " "))
        style.label(axis, x="epoch")
        _scale_y(axis, measure, drawn)
        axis.xaxis.set_major_locator(_whole_epochs())
    _legend(axes)
    return _figure(axes[0])


def compare(
    histories: Mapping[str, Sequence[Row]],
    metrics: Sequence[str] = ("validation/loss",),
    against: Sequence[str] = ("epoch", "updates", "seconds"),
    measures: Sequence[Measure] = (),
) -> Figure:
    """Several runs in the same axes, a line for each.  There is a panel for each of the
    `metrics`, which are keys of the rows, against each of `against`.

    `against` takes `"epoch"`, `"updates"` and `"seconds"`.  Panels are left out for
    what no run recorded, and so are runs from panels for what they did not record.  An
    axis is logarithmic where the runs' lengths differ more than tenfold.

    Raises `UsageError` for an axis that does not exist and when nothing can be drawn.
    """
    for name in against:
        if name not in AGAINST:
            raise unknown("axis", name, AGAINST)
    every = {
        (metric, axis): {
            run: _series(rows, metric, axis) for run, rows in histories.items()
        }
        for metric in metrics
        for axis in against
    }
    panels = {
        panel: runs for panel, runs in every.items() if any(x for x, _ in runs.values())
    }
    if not panels:
        raise UsageError(
            f"no run has {' or '.join(map(repr, metrics))} against any of "
            f"{', '.join(against)}; the runs are: {', '.join(histories) or 'none'}"
        )

    axes = style.panels(len(panels))
    leftmost: dict[str, Axes] = {}
    for axis, ((metric, name), runs) in zip(axes, panels.items(), strict=True):
        ends = [max(x) for x, _ in runs.values() if x and max(x) > 0]
        if ends and max(ends) > 10 * min(ends):
            axis.set_xscale("log", nonpositive="mask")
        elif name == "epoch":
            axis.xaxis.set_major_locator(_whole_epochs())
        for i, (run, (x, y)) in enumerate(runs.items()):
            axis.plot(
                x,
                y,
                color=style.CYCLE[i % len(style.CYCLE)],
                linestyle=_LINE_STYLES[i // len(style.CYCLE) % len(_LINE_STYLES)],
                label=style.plain(run),
                **_strokes(len(x)),
            )
        style.label(axis, x=AGAINST[name][1])
        if metric in leftmost:
            axis.sharey(leftmost[metric])
            axis.tick_params(labelleft=False)
            continue
        leftmost[metric] = axis
        values = [value for _, y in runs.values() for value in y]
        _scale_y(axis, measure_of(metric, (*measures, *OF_STEPS)), values)
        style.title(axis, metric.replace("/", " ").replace("_", " "))
    _legend(axes)
    return _figure(axes[0])


def _series(
    history: Sequence[Row], metric: str, against: str
) -> tuple[list[float], list[float]]:
    """The finite points of a metric, in the order they were recorded."""
    key = AGAINST[against][0]
    points = [
        (float(row[key]), float(row[metric]))
        for row in history
        if row.get(key) is not None and isinstance(row.get(metric), int | float)
    ]
    points = [(x, y) for x, y in points if math.isfinite(y)]
    return [x for x, _ in points], [y for _, y in points]


def _best_epoch(
    history: Sequence[Row], measures: Sequence[Measure], best_step: int | None
) -> float | None:
    if best_step is not None:
        epochs = [row["epoch"] for row in history if row.get("step") == best_step]
        return epochs[0] if epochs else None
    for measure in (*measures, Measure("loss", better="lower")):
        x, y = _series(history, f"validation/{measure.name}", "epoch")
        if x and measure.better is not None:
            return x[y.index(max(y) if measure.better == "higher" else min(y))]
    return None


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _whole_epochs() -> MaxNLocator:
    return MaxNLocator(6, integer=True, min_n_ticks=1)


def _strokes(points: int) -> dict[str, Any]:
    """Few points are shown as points; many would hide their own line."""
    return {"linewidth": 1.8} | ({"marker": "o", "ms": 3.5} if points <= 30 else {})


def _mark(
    axis: Axes, history: Sequence[Row], metric: str, epoch: float, measure: Measure
) -> None:
    """A dotted line at the best epoch; the metric's value there joins the title."""
    axis.axvline(
        epoch,
        color=style.PALE,
        linestyle=":",
        linewidth=1.4,
        zorder=1,
        label="best on validation",
    )
    x, y = _series(history, metric, "epoch")
    if epoch not in x:
        return
    value = y[x.index(epoch)]
    axis.plot(epoch, value, "o", ms=8, mfc="none", mec=style.VERMILION, mew=1.6)
    axis.set_title(
        style.plain(f"{measure.words(value)} at epoch {epoch:g}"),
        loc="right",
        fontsize=style.NORMAL,
        color=style.VERMILION,
        pad=8,
    )


def _scale_y(axis: Axes, measure: Measure, values: Sequence[float]) -> None:
    """Shares in percent; what changes manifold on a logarithmic scale."""
    if measure.unit != "%":
        if _is_logarithmic(measure, values):
            _scale_by_logarithms(axis, max(values) / min(values))
        return
    errors = [1 - value for value in values if value < 1]
    if measure.better == "higher" and errors and max(errors) > 5 * min(errors):
        _scale_by_errors(axis, errors, perfect=len(errors) < len(values))
    else:
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))


def _is_logarithmic(measure: Measure, values: Sequence[float]) -> bool:
    """For losses and gradients that change more than tenfold, and for learning rates
    that take steps over two decades, but not where they end near zero, as a cosine."""
    if measure == LEARNING_RATE:
        low, high = np.quantile(values, (0.1, 0.9))
        return 0 < 99 * low < high and min(values) > 0
    falls = measure == GRADIENT_NORM or measure.name.endswith("loss")
    return falls and 0 < 10 * min(values, default=0) < max(values, default=0)


def _scale_by_logarithms(axis: Axes, decades_apart: float) -> None:
    axis.set_yscale("log")
    if decades_apart < 1000:  # powers of ten alone would leave one or two labels
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    else:
        axis.yaxis.set_major_formatter(LogFormatterMathtext())
    axis.yaxis.set_minor_formatter(NullFormatter())


def _scale_by_errors(axis: Axes, errors: Sequence[float], *, perfect: bool) -> None:
    """A share is drawn by the logarithm of what it lacks to 100 %.

    From 98 to 99 % half of the errors vanish, as from 60 to 80 %, and both steps are
    equally high.  `errors` are positive; with `perfect` there are shares of 100 %, too,
    whose logarithm half of the least error makes finite.
    """
    least, most = min(errors), max(errors)
    offset = least / 2 if perfect else 0.0
    low, high = 1.15 * most, -0.15 * offset if perfect else least / 1.15

    def heights(shares):
        left = 1 - np.asarray(shares, float) + offset
        return -np.log10(np.maximum(left, least / 10))

    def shares(heights):
        return 1 + offset - 10 ** -np.asarray(heights, float)

    axis.set_yscale("function", functions=(heights, shares))
    axis.set_ylim(1 - low, 1 - high)
    decades = range(math.floor(math.log10(least)) - 1, 1)
    marks = [m * 10.0**decade for decade in decades for m in (1, 2, 5)]
    marks = [mark for mark in marks if max(high, least / 1.15) <= mark <= low]
    marks += [0.0] * perfect
    axis.set_yticks(
        [1 - mark for mark in marks], [f"{100 - 100 * mark:.8g} %" for mark in marks]
    )
    axis.minorticks_off()


def _legend(axes: Sequence[Axes]) -> None:
    """One legend for all panels, above them."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    _figure(axes[0]).legend(
        list(handles.values()),
        list(handles),
        loc="outside upper left",
        ncols=min(len(handles), 5),
        frameon=False,
        borderaxespad=0.2,
        fontsize=style.NORMAL,
        labelcolor=style.INK,
    )


def _figure(axis: Axes) -> Figure:
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure
