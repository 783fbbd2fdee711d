"""What follows a bad step: a loss that is not finite, or a spike, or parameters that
are not finite (`Experiment.on_bad_loss`)."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxvision.engine import processes
from jaxvision.engine.checkpoint import Checkpoints
from jaxvision.engine.step import Constants, Report
from jaxvision.types import Experiment, PyTree

MOST_ROLL_BACKS = 10
"""Of one process; a run that needs more of them has another problem than a batch."""


class Diverged(RuntimeError):
    """Loss or parameters became NaN or infinite, or the loss rose too far."""


class RollBack(Exception):
    """Continue from the newest checkpoint, without the item of this number."""

    def __init__(self, message: str, item: int):
        super().__init__(message)
        self.item = item


class Dispatch(NamedTuple):
    """Some steps that were given to the devices."""

    first_step: int
    items: PyTree
    """The rows of this process, on the host, [K,b,…]."""
    numbers: list[int]
    """Which items of the run they are."""
    report: Report


class LossCheck:
    """Waits for a dispatch and acts on its losses, in the way the experiment wants."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        constants: Constants,
        checkpoints: Checkpoints,
        console,
        left_out: int = 0,
    ):
        self._experiment, self._workdir = experiment, workdir
        self._constants, self._checkpoints = constants, checkpoints
        self._console, self._left_out = console, left_out
        self._checked = -1

    def __call__(self, dispatch: Dispatch) -> None:
        """Raises `Diverged` or `RollBack`.  A second look at a dispatch is free."""
        if dispatch.first_step == self._checked:
            return
        step = int(dispatch.report.bad_step)
        self._checked = dispatch.first_step
        if step < 0:
            return
        rate = learning_rate(self._experiment, step)
        loss = float(dispatch.report.bad_loss)
        if not np.isfinite(loss):
            what = f"the loss of step {step} is not finite"
        elif not dispatch.report.sound:
            what = f"after step {step}, of loss {loss:.4g}, parameters are not finite"
        else:
            what = f"the loss of step {step} {loss:.4g} is a spike"
        what += f", at learning rate {rate:.3g}"
        what += f"; its batch is in {self._keep(step, dispatch)}"
        if self._experiment.on_bad_loss == "skip":
            self._console.print(f"{what}; the step had no effect")
            return
        self._checkpoints.wait()
        good = self._checkpoints.steps()
        last = (
            f"the last good checkpoint is step {good[-1]}" if good else "none was saved"
        )
        if self._experiment.on_bad_loss == "rollback":
            if self._left_out < MOST_ROLL_BACKS:
                number = dispatch.numbers[step - dispatch.first_step]
                raise RollBack(f"{what}: back to where {last}, without it", number)
            what += f", after {MOST_ROLL_BACKS} batches were left out"
        raise Diverged(
            f"{what}; {last}. Try a lower learning rate, a longer warm-up or gradient "
            "clipping, with a new --workdir"
        )

    def _keep(self, step: int, dispatch: Dispatch) -> Path:
        """Save what the step was given, for inspection."""
        suffix = f"-{jax.process_index()}" if processes.several() else ""
        path = self._workdir / "bad_batches" / f"step-{step}{suffix}.npz"
        item = jax.tree.map(
            lambda rows: rows[step - dispatch.first_step], dispatch.items
        )
        arrays = {f"item/{name}": np.asarray(rows) for name, rows in item.items()}
        if not processes.several():
            # Without the random draws of the step: what came, not what was made of it.
            fetch = jax.jit(self._experiment.train.fetch)
            batch = fetch(self._constants.resident, item, jax.random.key(0))
            arrays |= {
                f"batch/{name}": np.asarray(rows) for name, rows in batch.items()
            }
        path.parent.mkdir(exist_ok=True)
        np.savez(path, allow_pickle=False, **arrays)
        return path


def learning_rate(experiment: Experiment, step: int) -> float:
    """What the schedule says."""
    with jax.numpy_dtype_promotion("standard"):  # as in the step: optax promotes
        return float(np.asarray(experiment.optimizer.schedule(step)))
