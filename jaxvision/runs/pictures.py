"""The pictures of a run.  They come after its record, and none of them can cost it."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxvision import visualise
from jaxvision.engine import processes, sharding
from jaxvision.engine.evaluate import Evaluated
from jaxvision.engine.history import FILE, read_rows
from jaxvision.engine.state import TrainState
from jaxvision.engine.step import first_batches
from jaxvision.files import disk_fault, replace_text
from jaxvision.runs import report, testing
from jaxvision.runs.finished import load_variables
from jaxvision.runs.record import measures_of
from jaxvision.types import Experiment, Moment

UNDRAWN = "undrawn.txt"
"""Says in a run directory which pictures are missing and why; absent if none is."""

AUGMENTED = "augmented.png"

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
    """Draw a finished run, its log and the predictions on the test set, and report it.

    What cannot be drawn is a warning and is noted in `undrawn.txt`.  The same command
    draws it again, as it does after a kill.
    """

    def curves():
        measures, step = measures_of(result), result["best_step"]
        return {"curves.png": visualise.curves(rows, measures, best_step=step)}

    predictions = functools.partial(shown, experiment, tested)
    note = workdir / UNDRAWN
    replace_text(note, "the drawing was interrupted\n")
    missing = [
        *save_all("curves", curves, workdir, warn),
        *save_all("the pictures of predictions", predictions, workdir, warn),
        *_attempt(report.FILE, lambda: report.write(workdir), warn),
    ]
    if missing:
        replace_text(note, "\n".join(missing) + "\n")
        warn(f"the same command with --workdir {workdir} draws again what is missing")
    else:
        note.unlink()


def shown(experiment: Experiment, found: Evaluated | Moment) -> Mapping[str, Any]:
    """The figures of what an evaluation has found; none without galleries."""
    if experiment.show is None or found.galleries is None:
        return {}
    return experiment.show(experiment.classes).figures(found.galleries, found.metrics)


def draw_batch(
    experiment: Experiment, workdir: Path, warn: Callable[[str], None]
) -> None:
    """Draw what the model will learn from, in `augmented.png`: before it does."""

    def figures():
        stored, seen = next(first_batches(experiment, 1))
        if stored["image"].dtype != np.uint8:  # features, which are no picture
            return {}
        return {AUGMENTED: visualise.training_batch(stored, seen, experiment.classes)}

    if experiment.show is not None and not (workdir / AUGMENTED).exists():
        save_all("the first training batch", figures, workdir, warn)


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

    warn("pictures of this run are missing: the test set is evaluated to draw them")
    _attempt("the run", again, warn)


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
    frozen = placed(experiment.task.frozen())
    experiment = experiment._replace(evaluations={})
    best = placed(state)
    experiment = testing.tuned(experiment, best, frozen, mesh)
    return testing.test(experiment, best, frozen, mesh)["test"]


def save_all(
    what: str, make: Figures, folder: Path, warn: Callable[[str], None]
) -> list[str]:
    """Make and save figures in a folder, which need not exist yet.  Returns what could
    not be drawn, after a warning.

    Raises `OSError` if the disk is why.
    """
    figures: dict[str, Any] = {}
    missing = _attempt(what, lambda: figures.update(make()), warn)
    if figures:
        folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        save = functools.partial(visualise.save, figure, folder / name)
        missing += _attempt(name, save, warn)
    return missing


def _attempt(
    name: str, draw: Callable[[], Any], warn: Callable[[str], None]
) -> list[str]:
    """Nothing, or why it could not be drawn."""
    try:
        draw()
    except Exception as error:  # in whatever way a drawing fails
        if disk_fault(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        warn(f"warning: {name} could not be drawn ({reason[:200]})")
        return [f"{name}: {type(error).__name__}: {reason}"[:500]]
    return []
