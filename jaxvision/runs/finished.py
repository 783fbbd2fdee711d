"""A run, or a published network, as a value that can be used.

    predictor = load("runs/mnist_lenet5/2026-01-31_12-00-00")
    predictor.predict(["seven.png"])["probabilities"]

What it needs of the run is in the run directory; the model and the task are put
together by the code of the experiment.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import data, models, onednn, pretrained, tasks, visualise
from jaxvision.data.feed.preparation import Picture, Preparation
from jaxvision.engine import sharding, snapshot
from jaxvision.engine.checkpoint import ranked
from jaxvision.engine.evaluate import Evaluator, example_keys
from jaxvision.engine.forward import in_evaluation
from jaxvision.engine.state import TrainState
from jaxvision.errors import UsageError, check, unknown
from jaxvision.files import Damaged, read_object
from jaxvision.ops import augment
from jaxvision.runs import programs
from jaxvision.runs.options import Numerics
from jaxvision.runs.record import FORMAT
from jaxvision.types import (
    Batch,
    Experiment,
    Model,
    ModelState,
    Pipeline,
    PyTree,
    Show,
    Task,
    Variables,
)

Which = Literal["best", "last", "average"]


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained network with all that its use needs."""

    model: Model
    variables: Variables
    preparation: Preparation
    task: Task
    classes: Sequence[str]
    show: Show | None
    experiment: Experiment | None = None
    """That of the run; None for a published network."""

    def predict(
        self, pictures: Sequence[Picture], *, batch_size: int = 32
    ) -> dict[str, np.ndarray]:
        """What the task predicts of each picture, by name [N,…].

        Pictures are paths, contents of image files, or pixels uint8 [H,W,C].  One
        program serves any number of them.  Raises `UsageError` that names all pictures
        that cannot be read.
        """
        return _joined(self._batches(self._predicted, pictures, batch_size))

    def features(
        self, pictures: Sequence[Picture], name: str, *, batch_size: int = 32
    ) -> np.ndarray:
        """The activation `name` of the model, such as `stage4`, for each picture."""

        def activation(variables, frozen, batch, keys):
            outputs, _ = self._forward(variables, frozen)(*self.task.inputs(batch))
            if name not in outputs:
                raise unknown("activation", name, outputs)
            return {name: outputs[name]}

        return _joined(self._batches(activation, pictures, batch_size))[name]

    def evaluate(self, pipeline: Pipeline, *, seed: int = 0) -> dict[str, Any]:
        """The task's metrics over a pipeline, as in a run."""
        mesh = sharding.make_mesh(1)
        placed = functools.partial(sharding.place_resident, mesh)
        evaluator = Evaluator(
            self.model,
            self.task,
            pipeline,
            mesh,
            frozen=placed(self.task.frozen()),
            seed=seed,
        )
        params, model_state = _parted(self.variables)
        state = TrainState(
            step=jnp.int32(0),
            params=placed(params),
            model_state=placed(model_state),
            opt_state=None,
            key=jax.random.key_data(jax.random.key(seed)),
            sums=None,
        )
        return evaluator(state).metrics

    def _predicted(self, variables, frozen, batch, keys):
        return self.task.predict(self._forward(variables, frozen), batch, keys=keys)

    def _forward(self, variables, frozen):
        return in_evaluation(
            self.model,
            *_parted(variables),
            average=None,
            step=jnp.int32(0),
            frozen=frozen,
        )

    def _batches(
        self, compute, pictures: Sequence[Picture], batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        check(
            (len(pictures) > 0, "there are no pictures: give one or more"),
            (batch_size >= 1, f"batch_size must be positive, got {batch_size}"),
        )

        @onednn.jit
        def program(variables, frozen, images, first):
            keys = example_keys(0, first + jnp.arange(batch_size, dtype=jnp.int32))
            batch: Batch = self.preparation.transform(keys[0], {"image": images})
            return compute(variables, frozen, batch, keys)

        frozen = self.task.frozen()
        for first in range(0, len(pictures), batch_size):
            images = self.preparation.images(pictures[first : first + batch_size])
            count = len(images)
            # The last batch is filled up, so that one program serves all.
            images = np.concatenate([images, *[images[-1:]] * (batch_size - count)])
            found = program(self.variables, frozen, images, np.int32(first))
            yield {name: np.asarray(array)[:count] for name, array in found.items()}


def load(
    source: str | Path,
    *,
    weights: Any = None,
    which: Which = "best",
    classes: Sequence[str] | None = None,
    **options,
) -> Predictor:
    """A run directory, or a published network by name with `weights`, as a `Predictor`.

    Args:
      source: a run directory; or, where `weights` are given, the name of a classifier.
      weights: as in `pretrained.load`: a file, a state dict, a hub id or `"default"`.
      which: of a run, the parameters of the best checkpoint, of the last one, or the
        averaged ones of the best.
      classes: names in the order of their numbers; None: those of the run, or numbers.
      options: of `models.create`, for a published network.

    A run is put together by the code of its experiment, which has to be importable, or
    be where it was in relation to the run directory.
    Raises `UsageError` where something is missing or does not fit.
    """
    if weights is not None:
        return _published(str(source), weights, classes, options)
    check((not options, f"only a published network has options, got {[*options]}"))
    folder = Path(source)
    experiment = _experiment(folder)
    preparation = experiment.test.preparation
    check(
        (
            preparation is not None,
            f"the test pipeline of {folder} does not say how images are prepared: make "
            "it with data.evaluation, or give the pipeline a `preparation`",
        )
    )
    classes = experiment.classes if classes is None else classes
    return Predictor(
        model=experiment.model,
        variables=load_variables(folder, which),
        preparation=preparation,
        task=experiment.task,
        classes=classes,
        show=experiment.show and experiment.show(classes),
        experiment=experiment,
    )


def load_variables(run: str | Path, which: Which = "best") -> Variables:
    """The variables of a run on the host, `{"params": …, "batch_stats": …}`.

    They need nothing of the experiment but its checkpoints, so that another one can
    begin with them (`Experiment.initial`) or keep them frozen (`Task.frozen`).
    """
    folder = Path(run) / "checkpoints"
    if not folder.is_dir():
        raise UsageError(
            f"{run} holds no checkpoints: give the run directory of an experiment"
        )
    steps = snapshot.steps(folder)
    if not steps:
        raise UsageError(f"{folder} is empty: the run has saved nothing yet")
    step = steps[-1]
    prefix = "average/" if which == "average" else ""
    try:
        if which != "last":
            best = ranked(_scores(folder, steps))
            step = best[0] if best else step
        read = functools.partial(
            snapshot.read_arrays, snapshot.step_folder(folder, step)
        )
        params, rest = read(f"{prefix}params"), read(f"{prefix}model_state")
    except UsageError:
        raise
    except Exception as error:  # in whatever way the reader stumbles over damage
        raise UsageError(
            f"the checkpoint {folder / str(step)} is damaged ({error}): choose another "
            'one with which="last", or continue the run, which sets it aside'
        ) from error
    if which == "average" and not params:
        raise UsageError(
            f"the run {run} keeps no averaged parameters: train it with --ema, or load "
            'which="best"'
        )
    return {"params": params, **rest}


def _scores(folder: Path, steps: Sequence[int]) -> dict[int, float | None]:
    contents = {
        step: snapshot.read_contents(snapshot.step_folder(folder, step))
        for step in steps
    }
    return {step: found["extra"]["score"] for step, found in contents.items()}


def _experiment(folder: Path) -> Experiment:
    """What the run's config describes, by the code of its experiment."""
    file = folder / "config.json"
    check(
        (file.exists(), f"{folder} is no run directory: there is no {file.name} in it")
    )
    try:
        config = read_object(file)
    except Damaged as error:
        raise UsageError(
            f"{error}: the run's own command with --workdir {folder} writes it anew"
        ) from error
    if config.get("format") != FORMAT:
        raise UsageError(
            f"{file} has format {config.get('format', 1)}, and this code reads format "
            f"{FORMAT}: load the run with the code that made it"
        )
    try:
        module = programs.load(config["program"], folder)
    except (ImportError, UsageError) as error:
        raise UsageError(
            f"the experiment of {folder}, {config['program']}, cannot be imported "
            f"({error}): run this where the experiment is, or load its weights alone "
            "with load_variables"
        ) from error
    values = _fields(module.Config, config, "config_")
    numerics = Numerics(**_fields(Numerics, config, "numerics_"))
    return numerics.apply(module.build(module.Config(**values)))


def _fields(kind: Any, config: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(kind)}
    found = {
        name.removeprefix(prefix): tuple(value) if isinstance(value, list) else value
        for name, value in config.items()
        if name.startswith(prefix)
    }
    strangers = sorted(found.keys() - known)
    check(
        (
            not strangers,
            f"the experiment has no option {', '.join(strangers)} any more: load the "
            "run with the code that made it",
        )
    )
    return found


def _published(
    name: str,
    weights: Any,
    classes: Sequence[str] | None,
    options: Mapping[str, Any],
) -> Predictor:
    model = models.create(name, **options)
    shape = models.default_input(name)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = pretrained.load(name, weights, **options)
    outputs, _ = jax.eval_shape(model.apply, variables, images)
    count = outputs["logits"].shape[-1]
    classes = tuple(map(str, range(count))) if classes is None else classes
    check((len(classes) == count, f"{len(classes)} class names for {count} classes"))
    return Predictor(
        model=model,
        variables=variables,
        preparation=Preparation(
            channels=shape[2],
            crop=data.central_crop(shape[0]),
            transform=augment.normalise(*models.normalisation(name, **options)),
        ),
        task=tasks.classification(count),
        classes=classes,
        show=visualise.classification(classes),
    )


def _parted(variables: Variables) -> tuple[PyTree, ModelState]:
    """What is learned by gradient, and the rest."""
    rest = {name: value for name, value in variables.items() if name != "params"}
    return variables["params"], rest


def _joined(batches: Iterator[dict[str, np.ndarray]]) -> dict[str, PyTree]:
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
