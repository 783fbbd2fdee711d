"""Predictions for the training examples by models that were not trained on them.

For each fold an ordinary run of the experiment, in a run directory of its own: trained
on the other folds, tested on this one.  An interrupted run continues where it was, and
finished ones are not repeated.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from jaxvision.data import registry
from jaxvision.data.folds import assign, name_of
from jaxvision.errors import UsageError, check
from jaxvision.runs import programs
from jaxvision.runs.execute import run
from jaxvision.types import Evaluation, Experiment, Task

PROBABILITIES = "probabilities.npy"
"""In the run directory of a fold: float32 [n,K] of its examples, in their order."""


class OutOfSample(NamedTuple):
    """Predictions for every training example by the model of its fold."""

    probabilities: np.ndarray
    """float32 [N,K]."""
    runs: list[dict[str, Any]]
    """The records of the runs, one for each fold: config, seed, accuracy, digests."""


def out_of_sample(
    dataset: str,
    experiment: str,
    folds: int,
    options: Sequence[str],
    workdir: Path,
    console: Console,
) -> OutOfSample:
    """Train `experiment` once for each fold of `dataset`, and predict that fold.

    Args:
      experiment: the name, file or module of an experiment with `build` and `Config`,
        which has a field `dataset`, such as `"mnist_lenet5"`; its task must predict
        `probabilities`.
      options: further options of the experiment, such as `["--epochs", "2"]`.
      workdir: holds the run directories `fold-1-of-5` and so on.

    Raises `UsageError` for other experiments and for less than two folds, and ends the
    process as `run` does if a run fails.
    """
    experiment = programs.find(experiment)
    module = _module(experiment)
    train = registry.load(dataset).train
    check(
        (2 <= folds <= train.size, f"folds must be 2 to {train.size}, got {folds}"),
        *(
            (
                not option.startswith(("--dataset", "--workdir")),
                f"{option} is set for each fold: remove it from the options",
            )
            for option in options
        ),
    )
    labels = (train.targets or train.read)()["label"]
    of_example = assign(labels, folds)
    result = np.full((train.size, len(train.class_names)), np.nan, np.float32)
    runs = []
    for fold in range(1, folds + 1):
        folder = workdir / f"fold-{fold}-of-{folds}"
        console.rule(f"fold {fold} of {folds}")
        runs.append(
            run(
                _keeping(module, folder / PROBABILITIES),
                module.Config,
                smoke={},
                name=experiment,
                arguments=[
                    *options,
                    *("--dataset", name_of(fold, folds, dataset)),
                    *("--workdir", str(folder)),
                ],
            )
        )
        if not (folder / PROBABILITIES).exists():
            raise UsageError(
                f"the run in {folder} finished without {PROBABILITIES}: delete the "
                "folder, and repeat the command"
            )
        result[of_example == fold - 1] = np.load(folder / PROBABILITIES)
    return OutOfSample(result, runs)


def _module(name: str) -> Any:
    try:
        module = programs.load(name)
    except ImportError as error:
        raise UsageError(
            f"the experiment {name} cannot be imported ({error}): install what it "
            "needs, or choose another one"
        ) from error
    missing = [part for part in ("build", "Config") if not hasattr(module, part)]
    if missing:
        raise UsageError(
            f"{name} has no {' and no '.join(missing)}, so it is not an experiment"
        )
    if "dataset" not in module.Config.__dataclass_fields__:
        raise UsageError(f"{name} takes no --dataset, so it cannot be given folds")
    return module


def _keeping(module: Any, path: Path) -> Callable[[Any], Experiment]:
    """The experiment's `build`, with a run that also writes what it predicts to `path`.

    The test split is the fold, on which the best checkpoint is evaluated once more.
    """

    @functools.wraps(module.build)
    def build(config: Any) -> Experiment:
        experiment: Experiment = module.build(config)

        whole_fold = Evaluation(experiment.test, _keeper(experiment.task, path))
        return experiment._replace(evaluations={"out_of_sample": whole_fold})

    return build


def _keeper(task: Task, path: Path) -> Task:
    """A task that measures nothing, and writes what `task` predicts, to `path`."""

    def update(forward, batch, *, keys):
        predictions = task.predict(forward, batch, keys=keys)
        if "probabilities" not in predictions:
            raise UsageError(
                f"the experiment predicts {', '.join(predictions)} and no "
                "probabilities of classes: choose an experiment that classifies"
            )
        return {}, {"probabilities": predictions["probabilities"]}

    def compute(sums, rows):
        np.save(path, rows["probabilities"])
        return {}

    return task._replace(update=update, compute=compute, measures=(), tuned=None)
