"""A training inside another program, by the loop that trains every experiment.

It leaves no run behind: its folder is gone afterwards.  What wants a record, curves and
a checkpoint to go on from is a run of its own, see `execute`.
"""

import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from jaxvision.engine import sharding
from jaxvision.engine.lockstep import Step
from jaxvision.engine.loop import Fit, Interrupted, Preempted, fit
from jaxvision.engine.state import count
from jaxvision.runs import testing
from jaxvision.types import Experiment, Variables


class Trained(NamedTuple):
    """What a training has made."""

    variables: Variables
    """Of the best checkpoint, on the host."""
    metrics: Mapping[str, Any]
    """What it measures on the test set."""
    parameters: int
    """Numbers that were learned."""


def fitted(
    experiment: Experiment,
    *,
    console: Console | None = None,
    share_step: Callable[[Step], Step] = lambda step: step,
) -> Fit:
    """`engine.loop.fit` on one device in a folder that is gone afterwards.

    console: for progress and warnings; None: nothing is said.  `share_step` is as in
    `fit`.  A signal that ended the training is raised again for the program around it.
    """
    experiment.check()
    with tempfile.TemporaryDirectory(prefix="jaxvision-") as folder:
        try:
            return fit(
                experiment,
                Path(folder),
                mesh=sharding.make_mesh(1),
                console=console or Console(quiet=True),
                share_step=share_step,
            )
        except Interrupted as error:  # by a signal that the loop had taken over
            left = isinstance(error, Preempted)
            signal.raise_signal(signal.SIGTERM if left else signal.SIGINT)
            raise


def trained(experiment: Experiment, *, console: Console | None = None) -> Trained:
    """Train the experiment, and test its best checkpoint.  `console` as in `fitted`."""
    done = fitted(experiment, console=console)
    mesh = sharding.make_mesh(1)
    experiment = testing.tuned(experiment, done.best, done.frozen, mesh)
    found = testing.test(experiment, done.best, done.frozen, mesh)
    state = done.best
    params, rest = jax.tree.map(np.asarray, (state.params, dict(state.model_state)))
    metrics = found["test"].metrics
    return Trained({"params": params, **rest}, metrics, count(state.params))
