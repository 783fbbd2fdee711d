"""`--find-lr`: the learning-rate range test of Smith 2017, section 3.3
(https://arxiv.org/abs/1506.01186), with exponentially rising rates.

The experiment trains by its own step and optimiser, from its own initial weights, with
only the schedule replaced, until the smoothed loss is several times its best.  The
suggestion is the rate at which the loss falls fastest against its logarithm.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optax
from jax.sharding import Mesh
from rich.console import Console

from jaxvision import visualise
from jaxvision.engine import processes, sharding
from jaxvision.engine.feed import Feed
from jaxvision.engine.step import Constants, make_init, make_train_step
from jaxvision.errors import UsageError
from jaxvision.files import replace_text
from jaxvision.runs.workdir import writing
from jaxvision.types import Experiment

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 200
_DECADE = round(STEPS / math.log10(HIGHEST / LOWEST))
SMOOTHING = 0.9
"""Weight of the past in the smoothed loss."""
DIVERGED = 4.0
"""The test ends at so many times the best smoothed loss."""


class Found(NamedTuple):
    """What the test saw.  All lists are [N], a number for each step."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    """None: the loss never fell."""


def run(console: Console, experiment: Experiment, mesh: Mesh, workdir: Path) -> Found:
    """The test; writes `learning_rates.png` and `learning_rates.json` to `workdir`,
    prints the suggestion, and saves nothing else.

    Raises `UsageError` for an optimiser whose schedule cannot be replaced, and for a
    `workdir` that cannot be made.
    """
    if experiment.optimizer.rescheduled is None:
        raise UsageError(
            "the optimiser of this experiment has no other schedule: make it with "
            "jaxvision.optim, or give it `rescheduled`, to find a learning rate"
        )
    with writing(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    schedule = optax.exponential_decay(LOWEST, STEPS - 1, HIGHEST / LOWEST)
    experiment = experiment._replace(
        optimizer=experiment.optimizer.rescheduled(schedule)
    )
    found = judge([float(schedule(i)) for i in range(STEPS)], _losses(experiment, mesh))
    if processes.is_main():
        text = json.dumps(found._asdict(), indent=2)
        replace_text(workdir / "learning_rates.json", text + "\n")
        figure = visualise.learning_rates(*found)
        visualise.save(figure, workdir / "learning_rates.png")
    words = "the loss never fell: look at the picture"
    if found.suggestion is not None:
        words = f"learning rate {found.suggestion:.2g}: the loss falls fastest there"
    console.print(f"{words}; {workdir / 'learning_rates.png'}", markup=False)
    return found


def judge(rates: Sequence[float], losses: Iterator[float]) -> Found:
    """Takes losses, one for each rate, until they diverge or the rates end."""
    seen: list[float] = []
    smoothed: list[float] = []
    running = 0.0
    for loss in losses:
        if not math.isfinite(loss):
            break
        running = SMOOTHING * running + (1 - SMOOTHING) * loss
        # The mean starts at zero: its weights so far add up to this.
        value = running / (1 - SMOOTHING ** (len(seen) + 1))
        seen.append(loss)
        smoothed.append(value)
        best = min(smoothed)
        if value - best > (DIVERGED - 1) * abs(best) or len(seen) == len(rates):
            break
    if not seen:
        raise UsageError("the loss is not finite at the lowest learning rate already")
    place = _steepest(seen, smoothed)
    suggestion = None if place is None else float(rates[place])
    return Found(list(rates[: len(seen)]), seen, smoothed, suggestion)


def _steepest(losses: Sequence[float], smoothed: Sequence[float]) -> int | None:
    """The middle of the decade of rates in which the loss falls fastest, by a straight
    line through it (least squares), before the smoothed loss has its minimum."""
    before = np.asarray(losses[: int(np.argmin(smoothed)) + 1])
    width = _DECADE // 2
    if len(before) <= 2 * width:
        return None
    # Rates are evenly spaced in their logarithm, so the slope is a correlation.
    slopes = np.correlate(before, np.arange(-width, width + 1), "valid")
    return int(np.argmin(slopes)) + width if slopes.min() < 0 else None


def _losses(experiment: Experiment, mesh: Mesh) -> Iterator[float]:
    """The loss of each step, by the experiment's own training step."""
    train = experiment.train
    constants = sharding.place_resident(mesh, Constants.of(experiment))
    init = make_init(experiment, mesh, constants)
    step = make_train_step(experiment, mesh, init.shardings, log_every=1)
    feed = Feed(train.items(sharding.local_rows(mesh, train.batch_size)), set())
    state = init.make()
    while True:
        items, _ = feed.take(1)
        placed = sharding.place_items(mesh, items, train.batch_size)
        state, report = step(state, constants, placed)
        yield float(report.bad_loss)
