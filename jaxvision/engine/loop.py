"""THE loop.  It trains every experiment and knows no task.

    restore → [train some steps → log → validate → save]* → done

Two rules keep it fast: it dispatches first and reads afterwards (the report of one
dispatch is read while the next one runs), and it only waits where a number is due.
Two rules keep it exact: what is computed depends on the step alone, never on the clock,
and all that the next step depends on is in the checkpoint.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxvision.engine import sharding
from jaxvision.engine.bad_loss import Dispatch, Judge, RollBack, learning_rate
from jaxvision.engine.checkpoint import Checkpoints
from jaxvision.engine.clocks import Clocks
from jaxvision.engine.evaluate import average_too, make_evaluate, metric_names
from jaxvision.engine.feed import Feed
from jaxvision.engine.lockstep import Step
from jaxvision.engine.logging import ProgressBar, open_log
from jaxvision.engine.profiling import Compilations, Profile, memory_peak
from jaxvision.engine.signals import Wish, Wishes
from jaxvision.engine.state import TrainState
from jaxvision.engine.step import make_init, make_train_step
from jaxvision.engine.watchdog import Watchdog
from jaxvision.errors import unknown
from jaxvision.types import Experiment


class Interrupted(RuntimeError):
    """The user asked the run to stop; it was saved before."""


class Preempted(Interrupted):
    """The system asked the run to leave; it was saved before."""


class Upkeep(NamedTuple):
    """What is done beside the training; nothing here changes what is learned."""

    save_every_steps: int | None = None
    """Besides the checkpoints that follow validations."""
    save_every_minutes: float | None = 10.0
    """Likewise."""
    stall_timeout: float | None = None
    """Seconds without a finished dispatch after which the process ends."""
    profile: tuple[int, int] | None = None
    """The steps between which a trace is written."""


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
    upkeep: Upkeep | None = None,
    join: Callable[[Step], Step] = lambda step: step,
) -> Fit:
    """Train the experiment in `workdir`, from its newest checkpoint if there is one.

    With several processes, each calls this and trains with its own devices.
    `compile_seconds` reads a clock of compilation, which is left out of speeds; `join`
    gives the training step to make instead of the run's own, see `lockstep`.
    Raises `Diverged`, `Interrupted`, or `CheckpointError`; in each case the same call
    continues from the last good checkpoint.
    """
    left_out: set[int] = set()
    while True:
        try:
            return _fit(
                experiment,
                workdir,
                left_out,
                mesh,
                console,
                compile_seconds,
                upkeep or Upkeep(),
                join,
            )
        except RollBack as back:
            console.print(str(back))
            left_out.add(back.item)


def _fit(
    experiment: Experiment,
    workdir: Path,
    left_out: set[int],
    mesh: Mesh,
    console,
    compile_seconds: Callable[[], float],
    upkeep: Upkeep,
    join: Callable[[Step], Step],
) -> Fit:
    """`fit` without the training items that are numbered `left_out`."""
    started = time.perf_counter()
    train, validation, steps = experiment.train, experiment.validation, experiment.steps
    log_every = experiment.log_every or train.num_batches
    eval_every = experiment.eval_every or train.num_batches

    # 1. What lies on the devices for good, and what runs there.
    resident = sharding.place_resident(mesh, train.resident())
    validation_resident = sharding.place_resident(mesh, validation.resident())
    evaluated = (experiment.model, experiment.task, validation, validation_resident)
    init = make_init(experiment, mesh, resident)
    train_step = join(
        make_train_step(experiment, mesh, init.shardings, log_every=log_every)
    )
    watchdog = Watchdog(upkeep.stall_timeout, workdir, jax.process_index())
    evaluate = average_too(make_evaluate(*evaluated, mesh, watchdog.beat))
    known = metric_names(*evaluated, init.state)
    if experiment.monitor not in known:
        raise unknown("metric to monitor", experiment.monitor, known)

    # 2. Where we are.
    step, earlier_seconds = 0, 0.0
    feed = Feed(train.items(sharding.local_rows(mesh, train.batch_size)), left_out)
    clocks = Clocks(compile_seconds)
    checkpoints = Checkpoints(workdir / "checkpoints", warn=console.print)
    restored = checkpoints.restore_latest(like=init.state)
    if restored is None:
        state = init.make()
    else:
        step, state = restored.step, restored.state
        feed.set_state(restored.extra["data"])
        clocks.seconds = restored.extra["seconds"]
        earlier_seconds = restored.extra["wall_seconds"]
        console.print(f"continuing after step {step} of {steps}")

    log = open_log(workdir, step=step)
    progress = ProgressBar(console, total=steps, step=step, batch_size=train.batch_size)
    wishes = Wishes(mesh, upkeep.save_every_minutes, checkpoints.busy)
    judge = Judge(experiment, workdir, resident, checkpoints, console, len(left_out))
    profile = Profile(upkeep.profile, workdir / "profile")
    compiled = Compilations(console, compile_seconds)
    previous: Dispatch | None = None

    def save(score: float | None) -> None:
        extra = {
            "data": feed.get_state(),
            "seconds": clocks.seconds,
            "wall_seconds": earlier_seconds + time.perf_counter() - started,
        }
        checkpoints.save(state, extra, score=score, log=log.sync)
        wishes.saved()

    with progress, wishes, watchdog:
        try:
            clocks.start()
            while step < steps:
                # 3. Dispatch some steps, and wait for those before.
                end = _dispatch_end(
                    step, steps, experiment.steps_per_dispatch, log_every, eval_every
                )
                profile.step(step)
                with clocks.measure("data_wait"):
                    items, numbers = feed.take(end - step)
                with clocks.measure("dispatch"), compiled.watch(end - step):
                    placed = sharding.place_items(mesh, items, train.batch_size)
                    asked = wishes.placed()
                    state, report = train_step(state, resident, placed, asked)
                dispatch = Dispatch(step, items, numbers, report)
                with clocks.measure("device"):
                    if previous is not None:
                        judge(previous)
                watchdog.beat()
                checkpoints.check()
                wish = wishes.agreed(previous and previous.report)
                save_due = wish == Wish.SAVE or _crossed(
                    upkeep.save_every_steps, step, end
                )
                step, previous = end, dispatch
                progress.update(step)

                log_due = step % log_every == 0 or step == steps
                eval_due = step % eval_every == 0 or step == steps
                leaving = wish >= Wish.STOP
                if not (log_due or eval_due or save_due or leaving):
                    continue

                # 4. Log, validate, save.
                with clocks.measure("device"):
                    judge(dispatch)
                clocks.lap()
                row: dict[str, Any] = {"step": step, "epoch": step / train.num_batches}
                if log_due:
                    sums = sharding.to_host(report.sums)
                    metrics = experiment.task.metrics.compute(sums)
                    row |= {f"train/{name}": value for name, value in metrics.items()}
                    row["learning_rate"] = learning_rate(experiment, step - 1)
                    if report.skipped is not None:
                        row["skipped_steps"] = int(report.skipped)
                score = None
                if eval_due:
                    metrics = evaluate(state)
                    row |= {
                        f"validation/{name}": value for name, value in metrics.items()
                    }
                    score = metrics[experiment.monitor]
                    if experiment.monitor_mode == "min":
                        score = -score
                if log_due or eval_due:
                    seconds = clocks.seconds["train"]
                    row["images_per_second"] = step * train.batch_size / seconds
                    row |= clocks.shares()
                    row["memory_gb"] = memory_peak() / 1e9
                    row["seconds"] = seconds
                    checkpoints.run(functools.partial(log.write, row), "the log")
                    progress.show(row)
                if eval_due or save_due or leaving:
                    save(score)
                if leaving and step < steps:
                    checkpoints.wait()
                    raise (Interrupted if wish == Wish.STOP else Preempted)(
                        f"stopped and saved after step {step} of {steps}: run the same "
                        f"command with --workdir {workdir} to continue"
                    )
                watchdog.beat()
                clocks.start()
            checkpoints.wait()
            best = checkpoints.restore_best(like=init.state)
        finally:
            profile.close()
            checkpoints.close()
            log.close()
    return Fit(
        last=state,
        best=state if best is None else best.state,
        train_seconds=clocks.seconds["train"],
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


def _crossed(every: int | None, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies after `before` and not after `after`."""
    return every is not None and before // every != after // every
