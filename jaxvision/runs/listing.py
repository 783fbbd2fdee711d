"""What is under `runs/`: the state of each run, by its small files.  Needs no JAX."""

import contextlib
import datetime
import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.table import Table

from jaxvision.engine import history
from jaxvision.errors import UsageError, check, unknown
from jaxvision.files import read_object
from jaxvision.measures import Measure, measure_of
from jaxvision.runs import lock
from jaxvision.runs.record import FORMAT, measured, measures_of, metric_key
from jaxvision.runs.tables import duration

State = Literal["finished", "stopped early", "running", "interrupted", "unreadable"]
Row = Mapping[str, Any]


class Run(NamedTuple):
    """A run directory, as far as it can be read."""

    path: Path
    state: State
    about: Mapping[str, Any] = {}
    """The record of a finished run, the config of another one."""
    step: int | None = None
    """Where it has ended, or would continue from."""
    steps: int | None = None
    """How many there were to be."""
    monitored: Measure | None = None
    """What chooses the best checkpoint; None of a run that says nothing of it."""
    metrics: Mapping[str, float | None] = {}
    """What was measured there, as a record has it: `{"validation_accuracy": …}`.  Of an
    unfinished run on validation alone, by its log."""
    rows: Sequence[Row] = ()
    """The log; of a finished run only if it was asked for."""
    date: datetime.datetime | None = None
    """When it was finished, or wrote something for the last time; in UTC."""
    seconds: float | None = None
    """How long a finished run took, or has been trained so far."""
    reason: str = ""
    """Why it cannot be read, or was stopped."""

    def words(self) -> str:
        """The state, such as `interrupted at step 16 of 24`."""
        if self.state == "finished":
            return self.state
        if self.state == "unreadable":
            return f"unreadable: {self.reason}"
        place = f"{self.step or 0:,}" + (f" of {self.steps:,}" if self.steps else "")
        return f"{self.state} at step {place}"


MARKS = frozenset({lock.FILE, "checkpoints", "result.json", history.FILE})
"""What makes a folder a run directory: one of these in it."""

_INSIDE = frozenset(
    {"checkpoints", "tensorboard", "bad_batches", "pictures", "profile"}
)


def find(folder: Path) -> Iterator[Run]:
    """The runs in a folder and below it.  One that is damaged, or of another
    version, is told of in its place.

    Raises `UsageError` if there is no such folder.
    """
    check((folder.is_dir(), f"there is no folder {folder}: name the one with the runs"))
    barred: list[OSError] = []
    for path, folders, files in os.walk(folder, onerror=barred.append):
        if MARKS & {*folders, *files}:
            folders[:] = [name for name in folders if name not in _INSIDE]
            yield look(Path(path))
        folders.sort()
    for error in barred:
        reason = f"cannot be read ({error.strerror})"
        yield Run(Path(error.filename), "unreadable", reason=reason)


def look(path: Path, *, whole_log: bool = False) -> Run:
    """A run directory; `whole_log`: with the rows of a finished run, too."""
    try:
        return _look(path, whole_log)
    except UsageError as error:
        reason = str(error).removeprefix(f"{path}{os.sep}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"it is damaged ({type(error).__name__}: {error})"
    return Run(path, "unreadable", reason=reason)


_OF_RECORD = ("experiment", "steps", "wall_seconds", "finished_at", "evaluations")


def _look(path: Path, whole_log: bool) -> Run:
    record, config = path / "result.json", path / "config.json"
    if record.exists():
        about = _read(record, _OF_RECORD)
        stopped = about.get("stopped")
        return Run(
            path,
            "finished" if stopped is None else "stopped early",
            about,
            step=int(about["steps"]),
            steps=about.get("planned_steps", about["steps"]),
            monitored=_monitored(about),
            metrics={key: _finite(about[key]) for key in measured(about)},
            rows=history.read_rows(path / history.FILE) if whole_log else (),
            date=datetime.datetime.fromisoformat(about["finished_at"]),
            seconds=float(about["wall_seconds"]),
            reason=stopped or "",
        )
    steps = _checkpoints(path / "checkpoints")
    rows = history.read_rows(path / history.FILE)
    if not config.exists() and not steps and not rows:
        about = {}  # ended before anything was written
    else:
        about = _read(config, ("experiment",))
    files = [file for file in (config, path / history.FILE) if file.exists()] or [path]
    written = max(file.stat().st_mtime for file in files)
    return Run(
        path,
        "running" if lock.is_held(path) else "interrupted",
        about,
        step=max(steps, default=0),
        steps=about.get("planned_steps"),
        monitored=_monitored(about),
        metrics=_best(rows, _monitored(about)),
        rows=rows,
        date=datetime.datetime.fromtimestamp(written, datetime.UTC),
        seconds=_finite(rows[-1].get("seconds")) if rows else None,
    )


def _monitored(about: Mapping[str, Any]) -> Measure | None:
    name = about.get("monitor")
    return measure_of(name, measures_of(about))._replace(name=name) if name else None


def _best(rows: Sequence[Row], measure: Measure | None) -> dict[str, float | None]:
    """The best validation of a log; the last one where it is not known what is best."""
    found = history.validations(rows)
    if measure is not None and measure.better is not None:
        sign = 1 if measure.better == "higher" else -1
        found = [row for row in found if row.get(measure.name) is not None]
        found.sort(key=lambda row: (sign * float(row[measure.name]), row["step"]))
    best = found[-1] if found else {}
    return {
        metric_key("validation", k): _finite(v) for k, v in best.items() if k != "step"
    }


def _finite(value: Any) -> float | None:
    return None if value is None else float(value)


def _read(file: Path, required: Sequence[str]) -> dict[str, Any]:
    content = read_object(file)
    found = content.get("format", 1)
    check((found == FORMAT, f"{file} has format {found}, and this code reads {FORMAT}"))
    return read_object(file, required)


def _checkpoints(folder: Path) -> list[int]:
    """Their steps, by the names of their folders."""
    with contextlib.suppress(FileNotFoundError):
        return [int(each.name) for each in folder.iterdir() if each.name.isdecimal()]
    return []


def of_experiment(runs: Sequence[Run], pattern: str) -> list[Run]:
    """Those whose experiment is called like a pattern.  Raises `UsageError`."""
    names = {str(run.about["experiment"]) for run in runs if "experiment" in run.about}
    if names and not fnmatch.filter(names, pattern):
        raise unknown("experiment", pattern, names)
    return [
        run
        for run in runs
        if fnmatch.fnmatch(str(run.about.get("experiment", "")), pattern)
    ]


def ordered(runs: Sequence[Run], by: Literal["date", "metric"]) -> list[Run]:
    """The newest first; or the best on validation first, for each metric by itself."""
    epoch = datetime.datetime.fromtimestamp(0, datetime.UTC)
    newest = sorted(runs, key=lambda run: run.date or epoch, reverse=True)
    if by == "date":
        return newest

    def place(run: Run) -> tuple:
        measure = run.monitored
        value = measure and run.metrics.get(metric_key("validation", measure.name))
        if measure is None or value is None:
            return (1, "", 0.0)
        return (0, measure.name, -value if measure.better == "higher" else value)

    return sorted(newest, key=place)


def table(runs: Sequence[Run], folder: Path) -> Table:
    """A row for each run; what is not known is left empty."""
    drawn = Table(box=None, header_style="bold")
    for name in ("run", "experiment", "state", "metric"):
        drawn.add_column(name, overflow="fold")
    for name in ("validation", "test", "date", "seed", "time"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        measure, seed = run.monitored, _seed(run)
        drawn.add_row(
            str(run.path.relative_to(folder)),
            str(run.about.get("experiment", "")),
            run.words(),
            "" if measure is None else measure.name.replace("_", " "),
            *(_value(run, split) for split in ("validation", "test")),
            "" if run.date is None else f"{run.date.astimezone():%Y-%m-%d %H:%M}",
            "" if seed is None else str(seed),
            "" if run.seconds is None else duration(run.seconds),
        )
    return drawn


def _value(run: Run, split: str) -> str:
    """What was monitored, in words."""
    if (
        run.monitored is None
        or metric_key(split, run.monitored.name) not in run.metrics
    ):
        return ""
    value = run.metrics[metric_key(split, run.monitored.name)]
    return "not finite" if value is None else run.monitored.words(value)


def _seed(run: Run) -> Any:
    return run.about.get("seed", run.about.get("config_seed"))


def as_json(run: Run) -> dict[str, Any]:
    """The same of one run, for programs."""
    return {
        "path": str(run.path),
        "experiment": run.about.get("experiment"),
        "dataset": run.about.get("dataset", run.about.get("config_dataset")),
        "state": run.state,
        "reason": run.reason or None,
        "step": run.step,
        "steps": run.steps,
        "monitor": run.monitored and run.monitored._asdict(),
        "metrics": run.metrics,
        "date": run.date and run.date.isoformat(),
        "seed": _seed(run),
        "seconds": run.seconds,
    }
