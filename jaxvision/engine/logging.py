"""What a run writes while it goes: metrics, TensorBoard events, a progress bar."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.engine import processes
from jaxvision.engine.history import FILE, parse_rows
from jaxvision.files import plain, replace_text


class Log:
    """The rows of a run, each a flat dict with `step` and `epoch`.

    `text` holds all of them, a line of JSON each.  It goes into every checkpoint, where
    it is under the checksum, and a run that is continued begins with that of its own:
    files are written for people and never read back.
    """

    def __init__(self, text: str = ""):
        self._lines = [text]
        self.rows = parse_rows(text)
        """What the lines say."""

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; arrays stay out of it.  NaN is written as JSON's null."""
        scalars = {name: value for name, value in row.items() if np.ndim(value) == 0}
        self.rows.append(plain(scalars))
        self._lines.append(json.dumps(self.rows[-1]) + "\n")

    def sync(self) -> None:
        """Put the rows on the disk.  Raises `OSError` where that is not possible."""

    def close(self) -> None:
        """Nothing is written after this."""


class MetricLog(Log):
    """The log as `metrics.jsonl` and TensorBoard event files of a run directory.

    Raises `OSError` where these cannot be written.
    """

    def __init__(
        self, workdir: Path, text: str, step: int, warn: Callable[[str], None]
    ):
        super().__init__(text)
        self._path = workdir / FILE
        before = self._path.read_bytes() if self._path.exists() else b""
        if not before.startswith(text.encode()):
            state = "damaged" if before else "gone"
            warn(f"{self._path} was {state}: it is written anew from the checkpoint")
        replace_text(self._path, text)
        self._events = _Events(workdir / "tensorboard", step)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, row: Mapping[str, Any]) -> None:
        super().write(row)
        self._file.write(self._lines[-1])
        self._file.flush()
        self._events.write(row)

    def sync(self) -> None:
        os.stat(self._path)  # writing to a file that is gone goes unnoticed
        os.fsync(self._file.fileno())
        self._events.flush()

    def close(self) -> None:
        with contextlib.closing(self._events):
            self._file.close()


class _Events:
    """Scalars as TensorBoard reads them, in the folder of a run.

    Not by tensorboardX's `SummaryWriter`, whose thread dies when the disk is full and
    leaves the run waiting for it.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        # A measure of what a set lacks is no number, and a loss that is none is told
        # by the engine: tensorboardX prints a line for each, among those of the run.
        logging.getLogger("tensorboardX.x2num").setLevel(logging.ERROR)
        folder.mkdir(exist_ok=True)
        # Several may begin within a second, which is what their names tell.
        suffix = f".{os.getpid()}.{len(list(folder.iterdir()))}"
        self._writer = EventsWriter(str(folder / "events"), suffix)
        if step:  # forget what an interrupted run wrote after this step
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(
                Event(wall_time=time.time(), step=step + 1, session_log=start)
            )

    def write(self, row: Mapping[str, Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in row.items():
            if name not in ("step", "epoch") and np.ndim(value) == 0:
                event = Event(
                    wall_time=time.time(),
                    step=row["step"],
                    summary=scalar(name, float(value)),
                )
                self._writer.write_event(event)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def open_log(
    workdir: Path, text: str, *, step: int, warn: Callable[[str], None]
) -> Log:
    """The log after `step`, which goes on after `text`; the main process writes it."""
    if processes.is_main():
        return MetricLog(workdir, text, step, warn)
    return Log(text)


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
