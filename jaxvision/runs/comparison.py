"""Several runs beside each other: what they were asked for, measured, and learned."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group
from rich.table import Table

from jaxvision import visualise
from jaxvision.errors import UsageError, check
from jaxvision.measures import LEARNING_RATE, Measure, measure_of
from jaxvision.runs import listing
from jaxvision.runs.listing import Run
from jaxvision.runs.record import measures_of
from jaxvision.runs.tables import duration

ASKED = ("experiment", "case", "smoke", "continued_from", "config_", "numerics_")
"""Keys, or their beginnings, of what a run was asked for."""
ORIGIN = (
    "version_",
    "git_",
    "device",
    "hardware",
    "mesh",
    "platform",
    "process_count",
    "xla_flags",
)
"""Of where it was made, which a record alone says."""
SIZES: Mapping[str, Callable[[Any], str]] = {
    "parameters": "{:,}".format,
    "steps": "{:,}".format,
    "best_step": "{:,}".format,
    "images_per_second": "{:,.0f}".format,
    "wall_seconds": duration,
}
"""What is shown of all of them, and how."""

BEST = "*"
"""Marks the best of a row."""


class Metric(NamedTuple):
    """A row of metrics; its values are in the order of the runs."""

    name: str
    """As in a record: `validation_accuracy`."""
    measures: Sequence[Measure]
    """What each run says that it is."""
    values: Sequence[float | None]
    """None: not measured, or not finite."""

    def best(self) -> list[int]:
        """Which runs are the best; none where all are equal, or where they do not
        measure the same thing."""
        known = [(v, i) for i, v in enumerate(self.values) if v is not None]
        kinds = {(self.measures[i].unit, self.measures[i].better) for _, i in known}
        if len(known) < 2 or len(kinds) > 1 or (better := kinds.pop()[1]) is None:
            return []
        top = (max if better == "higher" else min)(known)[0]
        best = [i for value, i in known if value == top]
        return best if len(best) < len(known) else []


class Comparison(NamedTuple):
    """What is told of some runs."""

    names: Sequence[str]
    runs: Sequence[Run]
    asked: Mapping[str, Sequence[Any]]
    """What differs of it, by key; values are in the order of the runs."""
    origin: Mapping[str, Sequence[Any]]
    """The same of where they were made."""
    metrics: Sequence[Metric]
    """What at least two of them have measured."""
    alone: Mapping[str, Sequence[str]]
    """What only one of them has, by its name."""


def compare(paths: Sequence[Path]) -> Comparison:
    """Read the runs and find what differs.  An unfinished one is taken by its log: as
    it was at its best validation.

    Raises `UsageError` for fewer than two, and names all that cannot be read.
    """
    distinct = {path.resolve() for path in paths}
    check(
        (len(paths) > 1, f"name at least two runs to compare, got {len(paths)}"),
        (len(distinct) == len(paths), "one of the runs is named twice"),
    )
    runs = [_read(path) for path in paths]
    check(*((run.state != "unreadable", f"{run.path}: {run.reason}") for run in runs))
    metrics = _metrics(runs)
    names = _names([run.path for run in runs])
    shared = [metric for metric in metrics if _count(metric.values) > 1]
    alone: dict[str, list[str]] = {}
    for metric in metrics:
        if metric not in shared:
            owner = next(i for i, v in enumerate(metric.values) if v is not None)
            alone.setdefault(names[owner], []).append(metric.name)
    return Comparison(
        names=names,
        runs=runs,
        asked=_differing(runs, ASKED),
        origin={
            # An unfinished run does not say; that is no difference.
            key: values
            for key, values in _differing(runs, ORIGIN).items()
            if len({str(value) for value in values if value is not None}) > 1
        },
        metrics=shared,
        alone=alone,
    )


def _read(path: Path) -> Run:
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        return Run(path, "unreadable", reason=f"it {what}: name a run directory")
    if not any((path / mark).exists() for mark in listing.MARKS):
        return Run(
            path,
            "unreadable",
            reason="it is no run directory: there is neither result.json nor "
            "metrics.jsonl in it",
        )
    return listing.look(path, whole_log=True)


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell all of them apart."""
    parts = [path.absolute().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


def _differing(runs: Sequence[Run], kinds: tuple[str, ...]) -> dict[str, list[Any]]:
    keys = {key: None for run in runs for key in run.about if key.startswith(kinds)}
    values = {key: [run.about.get(key) for run in runs] for key in keys}
    return {
        key: found
        for key, found in values.items()
        if any(value != found[0] for value in found)
    }


def _metrics(runs: Sequence[Run]) -> list[Metric]:
    """What any of them has measured."""
    found = [run.metrics for run in runs]
    # A run of which nothing says what it measures borrows the words of the others.
    every = [measure for run in runs for measure in measures_of(run.about)]
    known = [measures_of(run.about) or every for run in runs]
    return [
        Metric(
            key,
            [measure_of(key, measures) for measures in known],
            [values.get(key) for values in found],
        )
        for key in dict.fromkeys(key for values in found for key in values)
    ]


def _count(values: Sequence[Any]) -> int:
    return sum(value is not None for value in values)


def figure(comparison: Comparison, against: str = "epoch"):
    """The curves of the runs, overlaid: of each metric of training and validation that
    at least two have logged.

    Raises `UsageError` if there is none.
    """
    runs = comparison.runs
    logged = [
        {key for row in run.rows for key, value in row.items() if value is not None}
        for run in runs
    ]
    shared = {
        key
        for key in set().union(*logged)
        if sum(key in keys for keys in logged) > 1
        and (key.startswith("validation/") or key in ("train/loss", LEARNING_RATE.name))
    }
    if not shared:
        raise UsageError(
            "the runs have no curve in common: "
            + "; ".join(
                f"{name} has logged {', '.join(sorted(keys)) or 'nothing'}"
                for name, keys in zip(comparison.names, logged, strict=True)
            )
        )
    measures = [measure for run in runs for measure in measures_of(run.about)]
    first = [f"validation/{run.monitored.name}" for run in runs if run.monitored]
    order = [*first, "train/loss", "validation/loss"]
    order += [f"validation/{measure.name}" for measure in measures]
    place = {key: i for i, key in reversed(list(enumerate(order)))}
    metrics = sorted(
        shared,
        key=lambda key: (key == LEARNING_RATE.name, place.get(key, len(order)), key),
    )
    histories = {
        name: run.rows for name, run in zip(comparison.names, runs, strict=True)
    }
    return visualise.compare(histories, metrics, (against,), measures)


def tables(comparison: Comparison) -> Group:
    """What differs, then what was measured, a column for each run."""
    names, runs = comparison.names, comparison.runs
    drawn = Table(box=None, header_style="bold")
    drawn.add_column()
    for name in names:
        drawn.add_column(name, justify="right", overflow="fold")
    drawn.add_row("state", *(run.words() for run in runs))
    for title, rows in {
        "config": _in_words(comparison.asked),
        "metrics": {metric.name: _cells(metric) for metric in comparison.metrics},
        "size and speed": _sizes(runs),
        "origin": _in_words(comparison.origin),
    }.items():
        if rows:
            drawn.add_row(title, style="bold")
        for key, cells in rows.items():
            label = key.removeprefix("config_").removeprefix("numerics_")
            drawn.add_row(f"  {label.replace('_', ' ')}", *cells)
    return Group(
        drawn,
        *(
            f"only {name} has {', '.join(word.replace('_', ' ') for word in words)}"
            for name, words in comparison.alone.items()
        ),
    )


def _in_words(found: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    return {key: [_word(key, value) for value in each] for key, each in found.items()}


def _word(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if key == "continued_from":
        return ", ".join(f"{entry['epochs']:g} epochs" for entry in value)
    return str(value)


def _cells(metric: Metric) -> list[str]:
    best = metric.best()
    return [
        "–" if value is None else measure.words(value) + (f" {BEST}" * (i in best))
        for i, (measure, value) in enumerate(
            zip(metric.measures, metric.values, strict=True)
        )
    ]


def _sizes(runs: Sequence[Run]) -> dict[str, list[str]]:
    return {
        key.replace("wall_seconds", "wall time"): [
            "–" if key not in run.about else show(run.about[key]) for run in runs
        ]
        for key, show in SIZES.items()
        if any(key in run.about for run in runs)
    }


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The same for programs; values are in the order of the runs."""
    return {
        "runs": [
            {"name": name, **listing.as_json(run)}
            for name, run in zip(comparison.names, comparison.runs, strict=True)
        ],
        "config": comparison.asked,
        "origin": comparison.origin,
        "metrics": {
            metric.name: {
                "values": metric.values,
                "measures": [measure._asdict() for measure in metric.measures],
                "best": [comparison.names[i] for i in metric.best()],
            }
            for metric in comparison.metrics
        },
        "alone": comparison.alone,
    }
