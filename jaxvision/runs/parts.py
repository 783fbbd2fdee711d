"""The parts of a run that its use needs beside the weights, in its directory.

`prediction.json` holds the names of the classes, and how the model, the task, the
preparation of images and the pictures were made, as recipes: with it a run can be used
where the code of its experiment has changed or is gone, and nothing of a directory that
somebody else made is executed.  A model that is not of the package has no recipe; what
it computes is kept as a program, `network.stablehlo`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxvision.data.feed.preparation import Preparation
from jaxvision.engine.step import variable_shapes
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

    def as_data(self) -> dict[str, Any]:
        """The same as JSON can hold it; null for what has no recipe.

        Raises `UsageError` for a preparation that cannot be saved.
        """
        return {
            "classes": list(self.classes),
            "preparation": self.preparation and self.preparation.save(),
            "model": recipe_of(self.model),
            "task": recipe_of(self.task),
            "show": recipe_of(self.show),
        }

    @classmethod
    def of_data(
        cls, saved: Mapping[str, Any], classes: Sequence[str] | None = None
    ) -> "Parts":
        """The inverse; `classes` are other names for the classes.

        Raises `UsageError` for what this version cannot make.
        """
        known, show = saved["classes"], saved["show"]
        return cls(
            classes=tuple(known if classes is None else classes),
            model=saved["model"] and MODELS.make(saved["model"]),
            task=saved["task"] and TASKS.make(saved["task"]),
            preparation=saved["preparation"] and Preparation.load(saved["preparation"]),
            show=show and SHOWS.make(_renamed(show, known, classes)),
        )


def save(workdir: Path, experiment: Experiment) -> None:
    """Keep the parts of a run."""
    found = Parts(
        experiment.classes,
        experiment.model,
        experiment.task,
        experiment.test.preparation,
        experiment.show and experiment.show(experiment.classes),
    )
    try:
        data = found.as_data()
    except UsageError:  # the preparation is the user's own function
        data = found._replace(preparation=None).as_data()
    if data["model"] is None:
        _save_network(workdir / NETWORK, experiment)
    replace_object(workdir / FILE, {"format": FORMAT, **data})


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
        found = Parts.of_data(saved, classes)
        if found.model is None and network.exists():
            program = stablehlo.from_stablehlo(network.read_bytes())
            return found._replace(model=program)
        return found
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
    pipeline = experiment.test
    if pipeline.stored is None:
        return

    def inputs(batch):
        return experiment.task.inputs(pipeline.transform(jax.random.key(0), batch))

    try:
        images = jax.eval_shape(inputs, pipeline.stored())
        variables = variable_shapes(experiment)
        program = stablehlo.to_stablehlo(experiment.model, variables, *images)
    except UsageError:
        return  # prediction then needs the code of the experiment
    with replacing(file) as partial:
        partial.write_bytes(program)
