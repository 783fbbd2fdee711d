"""What a run writes while it goes: metrics, TensorBoard events, a progress bar."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.engine import processes
from jaxvision.files import replace_text


class MetricLog:
    """`metrics.jsonl` and TensorBoard event files of a run directory.

    A row is a flat dict with `step` and `epoch`.  Opening the log of a run that stopped
    drops the rows after `step`, which the resumed run will write again.
    """

    def __init__(self, workdir: Path, *, step: int):
        from tensorboardX import SummaryWriter

        self._path = workdir / "metrics.jsonl"
        rows = [row for row in read_rows(self._path) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        replace_text(self._path, text)
        self._file = self._path.open("a", encoding="utf-8")
        # Tells TensorBoard to forget what an interrupted run wrote after this step.
        self._events = SummaryWriter(
            str(workdir / "tensorboard"), purge_step=step + 1 if step else None
        )

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; arrays stay out of it.  NaN is written as JSON's null."""
        row = {name: value for name, value in row.items() if np.ndim(value) == 0}
        self._file.write(json.dumps({k: _finite(v) for k, v in row.items()}) + "\n")
        self._file.flush()
        for name, value in row.items():
            if name not in ("step", "epoch"):
                self._events.add_scalar(name, value, row["step"])

    def sync(self) -> None:
        """Put the rows on the disk, before a checkpoint relies on them.

        Raises `OSError` if the file is gone, which writing to it does not notice.
        """
        os.stat(self._path)
        os.fsync(self._file.fileno())
        self._events.flush()

    def close(self) -> None:
        self._file.close()
        self._events.close()


class NoLog:
    """The log of a process that leaves the writing to another one."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Forget the row."""

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def open_log(workdir: Path, *, step: int) -> MetricLog | NoLog:
    """The log, in the process that writes it."""
    return MetricLog(workdir, step=step) if processes.is_main() else NoLog()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; one that a crash cut short is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows


class ProgressBar:
    """Steps, images per second and ETA below the metrics; plain lines in a log file."""

    def __init__(
        self,
        console,
        *,
        total: int,
        step: int,
        batch_size: int,
        shown: Sequence[str],
    ):
        """`shown` are the metrics whose values are printed in every row."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._console, self._batch_size, self._shown = console, batch_size, shown
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            expand=True,
        )
        self._task = self._progress.add_task(
            "training", total=total, completed=step, rate=""
        )
        self._step, self._since = step, time.perf_counter()

    def __enter__(self):
        self._progress.start()
        return self

    def __exit__(self, *error):
        self._progress.stop()

    def update(self, step: int) -> None:
        """Cheap enough to call at every dispatch: redraws a few times a second."""
        now = time.perf_counter()
        if now - self._since > 0.25:
            rate = (step - self._step) * self._batch_size / (now - self._since)
            self._progress.update(
                self._task, completed=step, rate=f"{rate:,.0f} images/s"
            )
            self._step, self._since = step, now

    def show(self, row: Mapping[str, Any]) -> None:
        """A line above the bar: where the run is and the metrics of a row."""
        numbers = "  ".join(
            f"{name} {row[name]:.4f}"
            for name, value in row.items()
            if name.partition("/")[2] in self._shown and value is not None
        )
        rate = row.get("images_per_second")
        speed = f"  {rate:,.0f} images/s" if rate else ""
        if row.get("data_wait", 0) > 0.1:
            speed += f", {row['data_wait']:.0%} of the time waiting for data"
        self._console.print(f"epoch {row['epoch']:<6.4g} {numbers}{speed}")
        self._progress.update(self._task, completed=row["step"])


def _finite(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
