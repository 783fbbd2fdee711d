"""THE loop.  It trains every experiment and knows no task.

    restore → [train some steps → log → validate → save]* → done

Two rules keep it fast: it dispatches first and reads afterwards (the report of one
dispatch is read while the next one runs), and it only waits where a number is due.
Two rules keep it exact: what happens depends on the step alone, never on the clock,
and all that the next step depends on is in the checkpoint.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxvision.engine import sharding
from jaxvision.engine.checkpoint import Checkpoints
from jaxvision.engine.evaluate import make_evaluate, metric_names
from jaxvision.engine.logging import MetricLog, ProgressBar
from jaxvision.engine.state import TrainState
from jaxvision.engine.step import Report, make_init, make_train_step
from jaxvision.errors import unknown
from jaxvision.types import Experiment


class Diverged(RuntimeError):
    """The loss became NaN or infinite."""


class Interrupted(RuntimeError):
    """The user or the system asked the run to stop; it was saved before."""


class Fit(NamedTuple):
    """A finished training."""

    last: TrainState
    """After the last step."""
    best: TrainState
    """The checkpoint with the best validation score."""
    train_seconds: float
    """Wall time of the training steps, over all resumptions; no compilation."""
    trained_images: int
    """Images seen in these seconds."""
    earlier_seconds: float
    """Wall time of the processes that this run was interrupted in."""


def fit(
    experiment: Experiment,
    workdir: Path,
    *,
    mesh: Mesh,
    console,
    compile_seconds: Callable[[], float] = lambda: 0.0,
) -> Fit:
    """Train the experiment in `workdir`, from its newest checkpoint if there is one.

    `compile_seconds` reads a clock of compilation, which is left out of speeds.
    Raises `Diverged`, `Interrupted`, or `CheckpointError`; in each case the same call
    continues from the last good checkpoint.
    """
    started = time.perf_counter()
    train, validation, steps = experiment.train, experiment.validation, experiment.steps
    log_every = experiment.log_every or train.num_batches
    eval_every = experiment.eval_every or train.num_batches

    resident = sharding.place_resident(mesh, train.resident())
    validation_resident = sharding.place_resident(mesh, validation.resident())
    evaluated = (experiment.model, experiment.task, validation, validation_resident)
    evaluate = make_evaluate(*evaluated, mesh)
    train_step = make_train_step(experiment, mesh, log_every=log_every)
    state = make_init(experiment, mesh)(resident)
    known = metric_names(*evaluated, state.params, state.model_state)
    if experiment.monitor not in known:
        raise unknown("metric to monitor", experiment.monitor, known)
    items = train.items()
    step = 0
    train_seconds = wait_seconds = earlier_seconds = 0.0

    checkpoints = Checkpoints(workdir / "checkpoints", warn=console.print)
    restored = checkpoints.restore_latest(like=state)
    if restored is not None:
        step, state = restored.step, restored.state
        items.set_state(restored.extra["data"])
        train_seconds = restored.extra["train_seconds"]
        wait_seconds = restored.extra["wait_seconds"]
        earlier_seconds = restored.extra["wall_seconds"]
        console.print(f"continuing after step {step} of {steps}")

    log = MetricLog(workdir, step=step)
    progress = ProgressBar(console, total=steps, step=step, batch_size=train.batch_size)
    interrupt = _Interrupt()
    stopwatch = _Stopwatch(compile_seconds)
    pending: Report | None = None

    def save(score: float | None) -> None:
        log.sync()
        extra = {
            "data": items.get_state(),
            "train_seconds": train_seconds,
            "wait_seconds": wait_seconds,
            "wall_seconds": earlier_seconds + time.perf_counter() - started,
        }
        checkpoints.save(state, extra, score=score)

    with progress, interrupt:
        try:
            while step < steps:
                end = _dispatch_end(
                    step, steps, experiment.steps_per_dispatch, log_every, eval_every
                )
                asked = time.perf_counter()
                chunk = sharding.stack([next(items) for _ in range(end - step)])
                wait_seconds += time.perf_counter() - asked
                state, report = train_step(
                    state, resident, sharding.place_items(mesh, chunk)
                )
                if pending is not None:
                    _check_finite(pending, experiment, checkpoints)
                step, pending = end, report
                progress.update(step)

                log_due = step % log_every == 0 or step == steps
                eval_due = step % eval_every == 0 or step == steps
                if not (log_due or eval_due or interrupt.requested):
                    continue
                _check_finite(report, experiment, checkpoints)
                train_seconds += stopwatch.lap()
                row: dict[str, Any] = {"step": step, "epoch": step / train.num_batches}
                if log_due:
                    metrics = experiment.task.metrics.compute(
                        jax.device_get(report.sums)
                    )
                    row |= {f"train/{name}": value for name, value in metrics.items()}
                    row["learning_rate"] = _learning_rate(experiment, step - 1)
                score = None
                if eval_due:
                    metrics = evaluate(state.params, state.model_state)
                    row |= {
                        f"validation/{name}": value for name, value in metrics.items()
                    }
                    score = metrics[experiment.monitor]
                    if experiment.monitor_mode == "min":
                        score = -score
                if log_due or eval_due:
                    row["images_per_second"] = step * train.batch_size / train_seconds
                    row["data_wait"] = wait_seconds / train_seconds
                    row["seconds"] = train_seconds
                    log.write(row)
                    progress.show(row)
                if eval_due or interrupt.requested:
                    save(score)
                if interrupt.requested and step < steps:
                    checkpoints.wait()
                    raise Interrupted(
                        f"stopped and saved after step {step} of {steps}: run the same "
                        f"command with --workdir {workdir} to continue"
                    )
                stopwatch.lap()
            checkpoints.wait()
            best = checkpoints.restore_best(like=state)
        finally:
            log.close()
            checkpoints.close()
    return Fit(
        last=state,
        best=state if best is None else best.state,
        train_seconds=train_seconds,
        trained_images=step * train.batch_size,
        earlier_seconds=earlier_seconds,
    )


def _dispatch_end(step: int, steps: int, per_dispatch: int, *every: int) -> int:
    """The step after which the dispatch that begins at `step` ends.

    A dispatch never crosses a multiple of `every`.  Checkpoints are made where one
    ends, so a resumed run cuts its steps into the same programs as one that was never
    interrupted.
    """
    return min(steps, step + per_dispatch, *((step // n + 1) * n for n in every))


def _check_finite(
    report: Report, experiment: Experiment, checkpoints: Checkpoints
) -> None:
    bad_step = int(report.bad_step)
    if bad_step < 0:
        return
    checkpoints.wait()
    good = checkpoints.steps()
    last = f"the last good checkpoint is step {good[-1]}" if good else "none was saved"
    raise Diverged(
        f"the loss of step {bad_step} is not finite, at learning rate "
        f"{_learning_rate(experiment, bad_step):.3g}; {last}. Try a lower learning "
        "rate, a longer warm-up or gradient clipping, with a new --workdir"
    )


def _learning_rate(experiment: Experiment, step: int) -> float:
    return float(np.asarray(experiment.optimizer.schedule(step)))


class _Stopwatch:
    """Wall time since the last lap, less what went into compilation."""

    def __init__(self, compile_seconds: Callable[[], float]):
        self._compile_seconds = compile_seconds
        self._now = self._read()

    def _read(self) -> float:
        return time.perf_counter() - self._compile_seconds()

    def lap(self) -> float:
        before, self._now = self._now, self._read()
        return max(self._now - before, 1e-9)  # images are divided by it


class _Interrupt:
    """Ctrl-C and SIGTERM ask the loop to save and stop; a second Ctrl-C just stops."""

    def __init__(self):
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._request)
            except ValueError:  # not the main thread: signals are somebody else's
                return self
        return self

    def __exit__(self, *error):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number, frame):
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
