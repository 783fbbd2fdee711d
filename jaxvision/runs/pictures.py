"""The pictures of a run.  They come after its record, and none of them can cost it."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxvision import visualise
from jaxvision.engine import processes, sharding
from jaxvision.engine.evaluate import Evaluated, Evaluator
from jaxvision.engine.logging import FILE, read_rows
from jaxvision.engine.state import TrainState
from jaxvision.files import disk_fault, replace_text
from jaxvision.runs.finished import load_variables
from jaxvision.runs.record import measures_of
from jaxvision.types import Experiment

UNDRAWN = "undrawn.txt"
"""Says in a run directory which pictures are missing and why; absent if none is."""

Figures = Callable[[], Mapping[str, Any]]
"""`() -> {file name: Figure}`."""


def draw(
    experiment: Experiment,
    result: Mapping[str, Any],
    rows: list[dict[str, Any]],
    tested: Evaluated,
    workdir: Path,
    warn: Callable[[str], None],
) -> None:
    """Draw a finished run: its log, and the predictions on the test set.

    What cannot be drawn is a warning and is noted in `undrawn.txt`.  The same command
    draws it again, as it does after a kill.
    """

    def curves():
        measures, step = measures_of(result), result["best_step"]
        return {"curves.png": visualise.curves(rows, measures, best_step=step)}

    def predictions():
        if experiment.show is None or tested.galleries is None:
            return {}
        show = experiment.show(experiment.classes)
        return show.figures(tested.galleries, tested.metrics)

    note = workdir / UNDRAWN
    replace_text(note, "the drawing was interrupted\n")
    missing = [
        *save_all("curves", curves, workdir, warn),
        *save_all("the pictures of predictions", predictions, workdir, warn),
    ]
    if missing:
        replace_text(note, "\n".join(missing) + "\n")
        warn(f"the same command with --workdir {workdir} draws again what is missing")
    else:
        note.unlink()


def are_missing(workdir: Path) -> bool:
    """Whether a finished run lacks pictures."""
    return (workdir / UNDRAWN).exists()


def draw_again(
    make: Callable[[], Experiment],
    result: Mapping[str, Any],
    mesh: Mesh,
    workdir: Path,
    warn: Callable[[str], None],
) -> None:
    """Draw a finished run once more, by its best checkpoint: the test set is evaluated
    again, by all processes.  Whatever is missing for that is a warning."""

    def again():
        experiment = make()
        tested = _test_again(experiment, mesh, workdir, int(result["best_step"]))
        if processes.is_main():
            rows = read_rows(workdir / FILE)
            draw(experiment, result, rows, tested, workdir, warn)
        return {}

    warn("pictures of this run are missing: the test set is evaluated to draw them")
    save_all("the run", again, workdir, warn)


def _test_again(
    experiment: Experiment, mesh: Mesh, workdir: Path, step: int
) -> Evaluated:
    variables = dict(load_variables(workdir))
    state = TrainState(
        step=jnp.int32(step),
        params=variables.pop("params"),
        model_state=variables,
        opt_state=None,
        key=jax.random.key_data(jax.random.key(experiment.seed)),
        sums=None,
    )
    placed = functools.partial(sharding.place_resident, mesh)
    evaluator = Evaluator(
        experiment.model,
        experiment.task,
        experiment.test,
        mesh,
        frozen=placed(experiment.task.frozen()),
        seed=experiment.seed,
        with_galleries=experiment.show is not None,
    )
    return evaluator(placed(state))


def save_all(
    what: str, make: Figures, folder: Path, warn: Callable[[str], None]
) -> list[str]:
    """Make and save figures.  Returns what could not be drawn, after a warning.

    Raises `OSError` if the disk is why.
    """
    missing: list[str] = []

    def attempt[T](name: str, action: Callable[[], T], instead: T) -> T:
        try:
            return action()
        except Exception as error:  # in whatever way a drawing fails
            if disk_fault(error):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            missing.append(f"{name}: {type(error).__name__}: {reason}"[:500])
            warn(f"warning: {name} could not be drawn ({reason[:200]})")
            return instead

    figures: Mapping[str, Any] = attempt(what, make, {})
    for name, figure in figures.items():
        attempt(name, lambda: visualise.save(figure, folder / name), None)  # noqa: B023
    return missing
