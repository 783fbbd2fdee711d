"""What follows training: the test by the best checkpoint, further sets, pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxvision import visualise
from jaxvision.engine import processes
from jaxvision.engine.evaluate import Evaluator
from jaxvision.engine.logging import read_rows
from jaxvision.engine.loop import Fit
from jaxvision.files import replace_text
from jaxvision.types import Evaluation, Experiment, Galleries, Measure


def measures(experiment: Experiment) -> tuple[Measure, ...]:
    """Of the experiment's task, and of those of its further evaluations."""
    tasks = [
        experiment.task,
        *(each.task for each in experiment.evaluations.values() if each.task),
    ]
    return tuple({m.name: m for task in tasks[::-1] for m in task.measures}.values())


def test(
    experiment: Experiment, fitted: Fit, mesh: Mesh, workdir: Path
) -> dict[str, Any]:
    """Metrics of the best checkpoint as `{"test_accuracy": …}`; draws the pictures.

    Each set is read once.  What is not a single number, such as the accuracy of each
    class, goes into `test_metrics.json` and not into the record.
    """
    every = {"test": Evaluation(experiment.test), **experiment.evaluations}
    found, galleries = {}, None
    for name, evaluation in every.items():
        evaluator = Evaluator(
            experiment.model,
            evaluation.task or experiment.task,
            evaluation.pipeline,
            mesh,
            frozen=fitted.frozen,
            seed=experiment.seed,
            with_galleries=name == "test" and experiment.show is not None,
        )
        evaluated = evaluator(fitted.best)
        found[name] = evaluated.metrics
        galleries = galleries or evaluated.galleries
    if processes.is_main():
        _draw(experiment, int(fitted.best.step), galleries, found["test"], workdir)
        lists = {
            name: {key: np.asarray(value).tolist() for key, value in metrics.items()}
            for name, metrics in found.items()
        }
        text = json.dumps(lists.pop("test") | lists)
        replace_text(workdir / "test_metrics.json", text + "\n")
    return {
        f"{name}_{key.replace('/', '_')}": value
        for name, metrics in found.items()
        for key, value in metrics.items()
        if np.ndim(value) == 0
    }


def _draw(
    experiment: Experiment,
    best_step: int,
    galleries: Galleries | None,
    metrics: Mapping[str, Any],
    workdir: Path,
) -> None:
    rows = read_rows(workdir / "metrics.jsonl")
    figures = {
        "curves.png": visualise.curves(rows, measures(experiment), best_step=best_step)
    }
    if experiment.show is not None and galleries is not None:
        figures |= experiment.show(experiment.classes).figures(galleries, metrics)
    for name, figure in figures.items():
        visualise.save(figure, workdir / name)
