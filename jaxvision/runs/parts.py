"""The parts of a run that its use needs beside the weights, in its directory.

`prediction.json` holds the names of the classes, and how the model, the task, the
preparation of images and the pictures were made, as recipes: with it a run can be used
where the code of its experiment has changed or is gone, and nothing of a directory that
somebody else made is executed.  A model that is not of the package has no recipe; what
it computes is kept as a program, `network.stablehlo`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from jaxvision.data.feed.preparation import Preparation
from jaxvision.errors import UsageError
from jaxvision.files import Damaged, read_object, replace_object, replacing
from jaxvision.models import stablehlo
from jaxvision.recipes import MODELS, SHOWS, TASKS, Recipe, recipe_of
from jaxvision.types import Experiment, Model, Show, Task

FORMAT = 3
"""Of `prediction.json`.  Up to 2 it held classes and preparation alone."""

NAMES = FILE, NETWORK = "prediction.json", "network.stablehlo"


class Parts(NamedTuple):
    """What was kept; None: it could not be saved, and only the code can make it."""

    classes: Sequence[str]
    model: Model | None
    task: Task | None
    preparation: Preparation | None
    show: Show | None


def save(workdir: Path, experiment: Experiment) -> None:
    """Keep the parts of a run."""
    preparation = experiment.test.preparation
    try:
        prepared = None if preparation is None else preparation.save()
    except UsageError:
        prepared = None  # the user's own function
    recipe = recipe_of(experiment.model)
    if recipe is None:
        _save_network(workdir / NETWORK, experiment)
    show = experiment.show and experiment.show(experiment.classes)
    content = {
        "format": FORMAT,
        "classes": list(experiment.classes),
        "preparation": prepared,
        "model": recipe,
        "task": recipe_of(experiment.task),
        "show": recipe_of(show) if show else None,
    }
    replace_object(workdir / FILE, content)


def load(workdir: Path, classes: Sequence[str] | None = None) -> Parts | None:
    """What was kept; None of a run that kept nothing, being of an earlier version.

    `classes` are other names for the classes, as many as the run has.
    Raises `UsageError` for a damaged file, and for what this version cannot make.
    """
    file = workdir / FILE
    if not file.exists():
        return None
    try:
        saved = read_object(file)
    except Damaged as error:
        raise UsageError(
            f"{error}: the run's own command with --workdir {workdir} writes it anew"
        ) from error
    if saved.get("format") in (1, 2):
        return None
    if saved.get("format") != FORMAT:
        raise UsageError(
            f"{file} has format {saved.get('format')}, and this code reads format "
            f"{FORMAT}: load the run with the code that made it"
        )
    network = workdir / NETWORK
    try:
        model: Model | None = None
        if saved["model"] is not None:
            model = MODELS.make(saved["model"])
        elif network.exists():
            model = stablehlo.from_stablehlo(network.read_bytes())
        known = saved["classes"]
        return Parts(
            classes=tuple(known if classes is None else classes),
            model=model,
            task=saved["task"] and TASKS.make(saved["task"]),
            preparation=saved["preparation"] and Preparation.load(saved["preparation"]),
            show=saved["show"] and SHOWS.make(_renamed(saved["show"], known, classes)),
        )
    except UsageError as error:
        raise UsageError(
            f"{workdir} was made by another version of jaxvision: {error}"
        ) from error
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UsageError(
            f"{file} is damaged ({type(error).__name__}: {error}): the run's own "
            f"command with --workdir {workdir} writes it anew"
        ) from error


def _renamed(
    show: Recipe, known: Sequence[str], classes: Sequence[str] | None
) -> Recipe:
    """The recipe of a show with other names in place of those that it has."""
    if classes is None:
        return show
    arguments = show["arguments"].items()
    return {
        **show,
        "arguments": {k: [*classes] if v == known else v for k, v in arguments},
    }


def _save_network(file: Path, experiment: Experiment) -> None:
    """The network as a program, where StableHLO can express it."""
    pipeline, model = experiment.test, experiment.model
    if pipeline.stored is None:
        return

    def inputs(batch):
        return experiment.task.inputs(pipeline.transform(jax.random.key(0), batch))

    try:
        images = jax.eval_shape(inputs, pipeline.stored())
        variables = jax.eval_shape(model.init, jax.random.key(0), *images)
        if experiment.param_dtype is not None:
            params = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, experiment.param_dtype),
                variables["params"],
            )
            variables = {**variables, "params": params}
        program = stablehlo.to_stablehlo(model, variables, *images)
    except UsageError:
        return  # prediction then needs the code of the experiment
    with replacing(file) as partial:
        partial.write_bytes(program)
