"""Metrics as they change while a model learns: of one run, or of several."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogFormatterMathtext,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    ScalarFormatter,
)

from jaxvision.errors import UsageError, unknown
from jaxvision.measures import Measure, measure_of
from jaxvision.visualise import style

Row = Mapping[str, Any]
"""A line of `metrics.jsonl`: `{"step": 430, "epoch": 1.0, "train/loss": 0.31, …}`."""

AGAINST = {
    "epoch": ("epoch", "epoch"),
    "updates": ("step", "updates"),
    "seconds": ("seconds", "training time [s]"),
}
"""What a metric can be drawn against: the row's key, and the words on the axis."""

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
    shared, whatever either of them measured is drawn.  A dotted line marks the
    validation at `best_step`, the step of the best checkpoint; when that is None, the
    first one that is best by the first of the measures that was recorded.

    Raises `UsageError` when there is no metric in `history`.
    """
    measured = {
        split: {
            key.removeprefix(f"{split}/")
            for row in history
            for key in row
            if key.startswith(f"{split}/") and _series(history, key, "epoch")[0]
        }
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
    best = _best_epoch(history, measures, best_step)

    axes = style.panels(len(names))
    order = ["loss", *(measure.name for measure in measures)]
    in_order = sorted(names, key=lambda name: (_place(order, name), name))
    for axis, name in zip(axes, in_order, strict=True):
        measure = measure_of(name, measures)
        drawn = []
        for split, colour in _COLOURS.items():
            x, y = _series(history, f"{split}/{name}", "epoch")
            if x:
                axis.plot(x, y, color=colour, label=split, **_strokes(len(x)))
                drawn += y
        if best is not None and measured["validation"]:
            _mark(axis, history, f"validation/{name}", best, measure)
        style.title(axis, name.replace("_", " "))
        style.label(axis, x="epoch")
        _scale_y(axis, measure, drawn)
        axis.xaxis.set_major_locator(_whole_epochs())
    _legend(axes[0])
    return _figure(axes[0])


def compare(
    histories: Mapping[str, Sequence[Row]],
    metric: str = "validation/loss",
    against: Sequence[str] = ("epoch", "updates", "seconds"),
    measures: Sequence[Measure] = (),
) -> Figure:
    """One metric of several runs, a line for each, a panel for each of `against`.

    `against` takes `"epoch"`, `"updates"` and `"seconds"`; one that no run recorded is
    left out.  An axis is logarithmic where the runs' lengths differ more than tenfold.

    Raises `UsageError` for an axis that does not exist and when nothing can be drawn.
    """
    for name in against:
        if name not in AGAINST:
            raise unknown("axis", name, AGAINST)
    lines = {
        axis: {run: _series(rows, metric, axis) for run, rows in histories.items()}
        for axis in against
    }
    lines = {
        axis: runs for axis, runs in lines.items() if any(x for x, _ in runs.values())
    }
    if not lines:
        raise UsageError(
            f"no run has {metric!r} against any of {', '.join(against)}; "
            f"the runs are: {', '.join(histories) or 'none'}"
        )

    axes = style.panels(len(lines))
    for axis, (name, runs) in zip(axes, lines.items(), strict=True):
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
        values = [value for _, y in runs.values() for value in y]
        _scale_y(axis, measure_of(metric, measures), values)
    style.title(axes[0], metric.replace("/", " ").replace("_", " "))
    for axis in axes[1:]:
        axis.sharey(axes[0])
        axis.tick_params(labelleft=False)
    _legend(axes[0])
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
    """A loss that falls by more than tenfold on a log scale; shares in percent."""
    if measure.unit == "%":
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        return
    lowest, highest = min(values, default=0), max(values, default=0)
    if not (measure.name.endswith("loss") and 0 < 10 * lowest < highest):
        return
    axis.set_yscale("log")
    if highest < 1000 * lowest:  # powers of ten alone would leave one or two labels
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    else:
        axis.yaxis.set_major_formatter(LogFormatterMathtext())
    axis.yaxis.set_minor_formatter(NullFormatter())


def _legend(axis: Axes) -> None:
    """One legend for all panels, above them."""
    handles, labels = axis.get_legend_handles_labels()
    _figure(axis).legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=min(len(labels), 5),
        frameon=False,
        borderaxespad=0.2,
        fontsize=style.NORMAL,
        labelcolor=style.INK,
    )


def _figure(axis: Axes) -> Figure:
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure
