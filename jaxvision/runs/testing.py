"""The test: the best checkpoint on the test set and on further sets, once each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxvision.engine.evaluate import Evaluated, Evaluator
from jaxvision.engine.state import TrainState
from jaxvision.runs.record import metric_key
from jaxvision.types import Evaluation, Experiment, Measure, PyTree, Task


def measures(experiment: Experiment) -> tuple[Measure, ...]:
    """Of the experiment's task, and of those of its further evaluations."""
    tasks = [
        experiment.task,
        *(each.task for each in experiment.evaluations.values() if each.task),
    ]
    return tuple({m.name: m for task in tasks[::-1] for m in task.measures}.values())


def tuned(
    experiment: Experiment, best: TrainState, frozen: PyTree, mesh: Mesh
) -> Experiment:
    """The experiment with what its tasks choose on the validation set, by the best
    checkpoint (`Task.tuned`); the same, where there is nothing to choose."""
    average = experiment.monitored().name.startswith("average/")

    def chosen(task: Task) -> Task:
        if task.tuned is None:
            return task
        evaluator = Evaluator(
            experiment.model,
            task,
            experiment.validation,
            mesh,
            frozen=frozen,
            seed=experiment.seed,
        )
        return evaluator.tuned(best, average=average)

    evaluations = {
        name: each._replace(task=each.task and chosen(each.task))
        for name, each in experiment.evaluations.items()
    }
    return experiment._replace(task=chosen(experiment.task), evaluations=evaluations)


def test(
    experiment: Experiment, best: TrainState, frozen: PyTree, mesh: Mesh
) -> dict[str, Evaluated]:
    """What the best checkpoint does on each set, by name; `test` is the first.

    `frozen` is what `Task.frozen` returned, on the devices.
    """
    every = {"test": Evaluation(experiment.test), **experiment.evaluations}
    return {
        name: Evaluator(
            experiment.model,
            evaluation.task or experiment.task,
            evaluation.pipeline,
            mesh,
            frozen=frozen,
            seed=experiment.seed,
        )(best, with_galleries=name == "test" and experiment.show is not None)
        for name, evaluation in every.items()
    }


def numbers(split: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    """What a record says of a split: `{"test_accuracy": …}`, without arrays."""
    return {
        metric_key(split, name): value
        for name, value in metrics.items()
        if np.ndim(value) == 0
    }
