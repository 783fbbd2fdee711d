"""THE loop.  It trains every experiment and knows no task.

    restore → [train some steps → log → validate → save]* → done

Two rules keep it fast: it dispatches first and reads afterwards (the report of one
dispatch is read while the next one runs), and it only waits where a number is due.
Two rules keep it exact: what is computed depends on the step alone, never on the clock,
and all that the next step depends on is in the checkpoint.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxvision.engine import processes, sharding
from jaxvision.engine.bad_loss import Dispatch, LossCheck, RollBack, learning_rate
from jaxvision.engine.checkpoint import Checkpoints, ranked
from jaxvision.engine.clocks import Clocks
from jaxvision.engine.evaluate import Evaluator, measured
from jaxvision.engine.feed import Feed
from jaxvision.engine.history import validations
from jaxvision.engine.lockstep import Step
from jaxvision.engine.logging import ProgressBar, open_log
from jaxvision.engine.profiling import Compilations, Profile, memory_peak
from jaxvision.engine.signals import Request, Requests
from jaxvision.engine.state import TrainState, digest
from jaxvision.engine.step import Constants, make_init, make_train_step
from jaxvision.engine.watchdog import Watchdog
from jaxvision.errors import check, unknown
from jaxvision.measures import GRADIENT_NORM, LEARNING_RATE
from jaxvision.types import (
    Evaluation,
    Experiment,
    Galleries,
    Measure,
    Moment,
    PyTree,
)


class Interrupted(RuntimeError):
    """The user asked the run to stop; it was saved before."""


class Preempted(Interrupted):
    """The system asked the run to leave; it was saved before."""


class Maintenance(NamedTuple):
    """What is done beside the training; nothing here changes what is learned."""

    save_every_steps: int | None = None
    """Checkpoints besides those that follow validations."""
    save_every_minutes: float | None = 10.0
    """The same by the clock."""
    keep_every: int | None = None
    """Validations from one to the next whose checkpoint is kept for good, beside the
    newest two and the best."""
    stall_timeout: float | None = None
    """Seconds without a finished dispatch after which the process ends."""
    profile: tuple[int, int] | None = None
    """The steps between which a trace is written."""
    pictures_every: int | None = None
    """Validations from one to the next that is gone through once more, for the
    galleries that `on_evaluation` is given."""


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
    frozen: PyTree
    """What `Task.frozen` returned, on the devices."""
    rows: list[dict[str, Any]]
    """The log."""
    lost: int | None
    """The step that has a better validation score by the log than `best`, since its
    checkpoint was damaged or is gone; None: `best` is the best."""
    stopped: str | None
    """Why the training ended before its last step, if `on_evaluation` ended it."""


def fit(
    experiment: Experiment,
    workdir: Path,
    *,
    mesh: Mesh,
    console,
    compile_seconds: Callable[[], float] = lambda: 0.0,
    maintenance: Maintenance | None = None,
    share_step: Callable[[Step], Step] = lambda step: step,
    on_evaluation: Callable[[Moment], str | None] = lambda moment: None,
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
    identity: Mapping[str, Any] = MappingProxyType({}),
) -> Fit:
    """Train the experiment in `workdir`, from its newest checkpoint if there is one.

    With several processes, each calls this and trains with its own devices.
    `compile_seconds` reads a clock of compilation, which is left out of speeds;
    `share_step` gives the training step to make instead of the run's own, see
    `lockstep`; `on_evaluation` is called after each validation, and ends the training
    if it returns a reason; `on_row` gets each row of the log; `identity`, which JSON
    can hold, is kept in each checkpoint and says which run it belongs to.
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
                maintenance or Maintenance(),
                share_step,
                on_evaluation,
                on_row,
                identity,
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
    maintenance: Maintenance,
    share_step: Callable[[Step], Step],
    on_evaluation: Callable[[Moment], str | None],
    on_row: Callable[[Mapping[str, Any]], None],
    identity: Mapping[str, Any],
) -> Fit:
    """`fit` without the training items that are numbered `left_out`."""
    started = time.perf_counter()
    train, task, steps = experiment.train, experiment.task, experiment.steps
    log_every = experiment.log_every or train.num_batches
    eval_every = experiment.eval_every or train.num_batches
    monitored = experiment.monitored()

    # 1. What lies on the devices for good, and what runs there.
    constants = sharding.place_resident(mesh, Constants.of(experiment))
    frozen_digest = digest(constants.frozen)
    init = make_init(experiment, mesh, constants)
    train_step = share_step(
        make_train_step(experiment, mesh, init.shardings, log_every=log_every)
    )
    watchdog = Watchdog(maintenance.stall_timeout, workdir, jax.process_index())
    in_training = {"validation": Evaluation(experiment.validation)} | {
        name: evaluation
        for name, evaluation in experiment.evaluations.items()
        if evaluation.in_training
    }
    evaluators = {
        name: Evaluator(
            experiment.model,
            evaluation.task or task,
            evaluation.pipeline,
            mesh,
            frozen=constants.frozen,
            seed=experiment.seed,
            beat=watchdog.beat,
        )
        for name, evaluation in in_training.items()
    }

    # 2. Where we are.
    step, earlier_seconds, text = 0, 0.0, ""
    stopped: str | None = None
    feed = Feed(train.items(sharding.local_rows(mesh, train.batch_size)), left_out)
    clocks = Clocks(compile_seconds)
    keep = maintenance.keep_every
    checkpoints = Checkpoints(
        workdir / "checkpoints",
        keep_every=None if keep is None else keep * eval_every,
        warn=console.print,
    )
    restored = checkpoints.restore_latest(like=init.state)
    if restored is None:
        state = init.make()
    else:
        step, state = restored.step, restored.state
        feed.set_state(restored.extra["data"])
        _check_frozen(restored.extra["frozen"], frozen_digest)
        clocks.seconds = restored.extra["seconds"]
        earlier_seconds = restored.extra["wall_seconds"]
        text = restored.extra["log"]
        planned, stopped = restored.extra.get("steps", steps), restored.extra["stopped"]
        if planned != steps:
            _check_ended(workdir, step, planned, stopped)
            stopped = None  # what ended a shorter run does not end a longer one
        console.print(f"continuing after step {step} of {steps}")

    log = open_log(workdir, text, step=step, warn=console.print)
    progress = ProgressBar(
        console,
        total=steps,
        step=step,
        batch_size=train.batch_size,
        shown=("loss", monitored.name),
    )
    requests = Requests(mesh, maintenance.save_every_minutes, checkpoints.busy)
    check_losses = LossCheck(
        experiment, workdir, constants, checkpoints, console, len(left_out)
    )
    profile = Profile(maintenance.profile, workdir / "profile")
    compiled = Compilations(console, compile_seconds)
    previous: Dispatch | None = None
    request = Request.NOTHING

    def save(score: float | None) -> None:
        extra = {
            "data": feed.get_state(),
            "seconds": clocks.seconds,
            "wall_seconds": earlier_seconds + time.perf_counter() - started,
            "frozen": frozen_digest,
            "identity": dict(identity),
            "log": log.text,
            "steps": steps,
            "stopped": stopped,
        }
        checkpoints.save(state, extra, score=score, log=log.sync)
        requests.saved()

    with progress, requests, watchdog:
        try:
            clocks.start()
            while step < steps and stopped is None:
                # 3. Dispatch some steps, and wait for those before.
                end = _dispatch_end(
                    step, steps, experiment.steps_per_dispatch, log_every, eval_every
                )
                profile.step(step)
                with clocks.measure("data_wait"):
                    items, numbers = feed.take(end - step)
                    end = step + len(numbers)
                with clocks.measure("dispatch"), compiled.watch(items):
                    placed = sharding.place_items(mesh, items, train.batch_size)
                    asked = requests.placed()
                    state, report = train_step(state, constants, placed, asked)
                dispatch = Dispatch(step, items, numbers, report)
                with clocks.measure("device"):
                    if previous is not None:
                        check_losses(previous)
                watchdog.beat()
                checkpoints.check()
                request = requests.agreed(previous and previous.report)
                save_due = request == Request.SAVE or _crossed(
                    maintenance.save_every_steps, step, end
                )
                step, previous = end, dispatch
                progress.update(step)

                log_due = step % log_every == 0 or step == steps
                eval_due = step % eval_every == 0 or step == steps
                leaving = request >= Request.STOP
                if not (log_due or eval_due or save_due or leaving):
                    continue

                # 4. Log, validate, save.
                with clocks.measure("device"):
                    check_losses(dispatch)
                clocks.lap()
                row: dict[str, Any] = {"step": step, "epoch": step / train.num_batches}
                if log_due:
                    totals = sharding.to_host(report.sums)
                    if int(totals.steps):  # or all of them were skipped
                        metrics = measured(task.compute(totals.task, {}))
                        norm = float(totals.gradient_norm) / int(totals.steps)
                        row |= {f"train/{GRADIENT_NORM.name}": norm}
                        row |= {f"train/{name}": v for name, v in metrics.items()}
                    row[LEARNING_RATE.name] = learning_rate(experiment, step - 1)
                    if report.skipped is not None:
                        row["skipped_steps"] = int(report.skipped)
                score = None
                if eval_due:
                    for split, evaluator in evaluators.items():
                        found = evaluator(state).metrics
                        row |= {f"{split}/{name}": v for name, v in found.items()}
                        if split == "validation":
                            metrics = found
                    score = _score(metrics, monitored)
                    if score is None:
                        console.print(
                            f"warning: the validation's {monitored.name} after step "
                            f"{step} is not finite: another checkpoint will be tested"
                        )
                    galleries = None
                    every = maintenance.pictures_every
                    if every is not None and step // eval_every % every == 0:
                        validate = evaluators["validation"]
                        galleries = validate(state, with_galleries=True).galleries
                    history = validations([*log.rows, row])
                    moment = _moment(
                        step, state, metrics, monitored, history, galleries
                    )
                    stopped = processes.from_main(on_evaluation(moment))
                if log_due or eval_due:
                    seconds = clocks.seconds["train"]
                    row["images_per_second"] = step * train.batch_size / seconds
                    row |= clocks.shares()
                    row["memory_gb"] = memory_peak() / 1e9
                    row["seconds"] = seconds
                    checkpoints.run(functools.partial(log.write, row), "the log")
                    on_row(row)
                    progress.show(row)
                if eval_due or save_due or leaving:
                    save(score)
                if leaving:
                    break
                watchdog.beat()
                clocks.start()
            checkpoints.wait()
            if step == steps or stopped is not None:  # a request since
                request = Request(max(processes.gather(requests.mine())))
            if request >= Request.STOP:
                raise (Interrupted if request == Request.STOP else Preempted)(
                    f"stopped and saved after step {step} of {steps}: run the same "
                    f"command with --workdir {workdir} to continue"
                )
            best = checkpoints.restore_best(like=init.state)
            tested, expected = best and best.step, _best_step(log.rows, monitored)
            if expected is None:
                console.print(
                    f"warning: no validation has a finite {monitored.name}: the last "
                    "state is tested"
                )
            elif tested != expected:
                console.print(
                    f"warning: step {expected} was the best, and its checkpoint is "
                    f"damaged or gone: step {tested or step} is tested instead"
                )
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
        frozen=constants.frozen,
        rows=log.rows,
        lost=None if tested == expected else expected,
        stopped=stopped,
    )


def _score(metrics: Mapping[str, Any], monitored: Measure) -> float | None:
    """Higher is better; None for what is not finite, which is worse than any number.

    Raises `UsageError` if the metric was not computed, or is not one number.
    """
    if monitored.name not in metrics:
        raise unknown("metric to monitor", monitored.name, metrics)
    value = metrics[monitored.name]
    check((np.ndim(value) == 0, f"{monitored.name} is to be monitored: it is an array"))
    if not np.isfinite(value):
        return None
    return -value if monitored.better == "lower" else value


def _best_step(rows: list[dict[str, Any]], monitored: Measure) -> int | None:
    """Which validation is the best by the log; None if none is finite."""
    scores = {
        found["step"]: _score(found, monitored)
        for found in validations(rows)
        if found.get(monitored.name) is not None
    }
    return next(iter(ranked(scores)), None)


def _moment(
    step: int,
    state: TrainState,
    metrics: Mapping[str, Any],
    monitored: Measure,
    history: Sequence[Mapping[str, Any]],
    galleries: Galleries | None,
) -> Moment:
    average = state.average
    return Moment(
        step=step,
        variables={"params": state.params, **state.model_state},
        average=None
        if average is None
        else {"params": average["params"], **average["model_state"]},
        metrics=metrics,
        monitored=monitored,
        history=history,
        galleries=galleries,
    )


def _check_frozen(before: str, now: str) -> None:
    """A run goes on with the arrays that it began with."""
    check(
        (
            before == now,
            "the arrays that the task keeps frozen, such as a teacher, are not those "
            "that this run began with: restore them, or start anew with another "
            "--workdir",
        )
    )


def _check_ended(workdir: Path, step: int, planned: int, stopped: str | None) -> None:
    """Only where a run has ended does one of another number of steps go on from it:
    the steps before belong to the schedule of the shorter run."""
    check(
        (
            step == planned or stopped is not None,
            f"the newest checkpoint that can be read in {workdir}, of step {step}, is "
            f"in the middle of a run of {planned} steps: it cannot be continued as one "
            "of another length; choose a new --workdir",
        )
    )


def _dispatch_end(step: int, steps: int, per_dispatch: int, *every: int) -> int:
    """The step after which the dispatch that begins at `step` ends, at the latest.

    A dispatch never crosses a multiple of `every`.  Checkpoints are made where one
    ends, so a resumed run cuts its steps into the same programs as one that was never
    interrupted.
    """
    return min(steps, step + per_dispatch, *((step // n + 1) * n for n in every))


def _crossed(every: int | None, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies after `before` and not after `after`."""
    return every is not None and before // every != after // every
