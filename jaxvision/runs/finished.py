"""A run, or a published network, as a value that can be used.

    predictor = load("runs/mnist_lenet5/2026-01-31_12-00-00")
    predictor.predict(["seven.png"])["probabilities"]

What it needs of the run is in the run directory, see `parts`.  Where a part is the
user's own function, the code of the experiment makes it again.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxvision import models, pretrained, tasks, visualise
from jaxvision.data.feed.preparation import Preparation
from jaxvision.engine import snapshot
from jaxvision.engine.checkpoint import ranked
from jaxvision.errors import UsageError, check
from jaxvision.files import Damaged, read_object
from jaxvision.runs import parts, programs, weights_folder
from jaxvision.runs.options import Numerics
from jaxvision.runs.parts import Parts
from jaxvision.runs.predictor import Predictor
from jaxvision.runs.record import FORMAT
from jaxvision.types import Experiment, Variables

Which = Literal["best", "last", "average"]


def load(
    source: str | Path,
    *,
    weights: Any = None,
    which: Which = "best",
    classes: Sequence[str] | None = None,
    preparation: Preparation | None = None,
    **options,
) -> Predictor:
    """A run directory, a folder that `export --to safetensors` has written, or a
    published network by name with `weights`, as a `Predictor`.

    Args:
      source: the folder; or, where `weights` are given, the name of a classifier.
      weights: as in `pretrained.load`: a file, a state dict, a hub id or `"default"`.
      which: of a run, the parameters of the best checkpoint, of the last one, or the
        averaged ones of the best.
      classes: names in the order of their numbers; None: those of the run, those of
        ImageNet for a network of 1,000 classes, or numbers.
      preparation: how images are prepared; None: as those of the run, or as the weights
        expect it, see `pretrained.preparation`.
      options: of `models.create`, for a published network.

    A run is loaded without the code of its experiment, if what it is made of are
    models, tasks and transforms of the package; a model of one's own is then known by
    what it computes, and can predict, but not be trained.  What is missing is made by
    the code of the experiment, which then has to be importable, or be where it was in
    relation to the run directory.

    Raises `UsageError` where something is missing or does not fit.
    """
    if weights is not None:
        return _published(str(source), weights, classes, preparation, options)
    check((not options, f"only a published network has options, got {[*options]}"))
    folder = Path(source)
    if weights_folder.is_one(folder):
        check((which == "best", f"{folder} has one set of weights, and no {which} one"))
        exported = weights_folder.read(folder, classes)
        preparation = preparation or exported.preparation
        return dataclasses.replace(exported, preparation=preparation)
    found = _parts(folder, classes)
    preparation = preparation or found.preparation
    check(
        (
            preparation is not None,
            f"the test pipeline of {folder} does not say how images are prepared: make "
            "it with data.evaluation, or give the pipeline a `preparation`",
        )
    )
    assert preparation is not None and found.model is not None
    assert found.task is not None
    return Predictor(
        model=found.model,
        variables=load_variables(folder, which),
        preparation=preparation,
        task=found.task,
        classes=found.classes,
        show=found.show,
    )


def load_variables(run: str | Path, which: Which = "best") -> Variables:
    """The variables of a run on the host, `{"params": …, "batch_stats": …}`.

    They need nothing of the experiment but its checkpoints, so that another one can
    begin with them (`Experiment.initial`) or keep them frozen (`Task.frozen`).  A
    folder that `export --to safetensors` has written serves as well.
    """
    if weights_folder.is_one(run):
        return load(run, which=which).variables
    folder, steps = _checkpoints(run)
    step = steps[-1]
    prefix = "average/" if which == "average" else ""
    with _readable(folder):
        if which != "last":
            best = ranked(_scores(folder, steps))
            step = best[0] if best else step
    found = _variables_at(folder, step, prefix)
    if which == "average" and not found["params"]:
        raise UsageError(
            f"the run {run} keeps no averaged parameters: train it with --ema, or load "
            'which="best"'
        )
    return found


def variables_of_steps(
    run: str | Path,
) -> list[tuple[int, Callable[[], Variables]]]:
    """The steps of which a run has kept checkpoints, each with what reads its variables
    as `load_variables` does, in the order of the training."""
    folder, steps = _checkpoints(run)
    return [(step, functools.partial(_variables_at, folder, step)) for step in steps]


def _checkpoints(run: str | Path) -> tuple[Path, list[int]]:
    """Where they are, and their steps.  Raises `UsageError` if there are none."""
    folder = Path(run) / "checkpoints"
    if not folder.is_dir():
        raise UsageError(
            f"{run} holds no checkpoints: give the run directory of an experiment"
        )
    steps = snapshot.steps(folder)
    if not steps:
        raise UsageError(f"{folder} is empty: the run has saved nothing yet")
    return folder, steps


def _variables_at(folder: Path, step: int, prefix: str = "") -> Variables:
    read = functools.partial(snapshot.read_arrays, snapshot.step_folder(folder, step))
    with _readable(folder / str(step)):
        params, rest = read(f"{prefix}params"), read(f"{prefix}model_state")
    return {"params": params, **rest}


@contextlib.contextmanager
def _readable(checkpoint: Path) -> Iterator[None]:
    """Errors of damaged checkpoints in words."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # in whatever way the reader stumbles over damage
        raise UsageError(
            f"the checkpoint {checkpoint} is damaged ({error}): choose another "
            'one with which="last", or continue the run, which sets it aside'
        ) from error


def _scores(folder: Path, steps: Sequence[int]) -> dict[int, float | None]:
    contents = {
        step: snapshot.read_contents(snapshot.step_folder(folder, step))
        for step in steps
    }
    return {step: found["extra"]["score"] for step, found in contents.items()}


def _parts(folder: Path, classes: Sequence[str] | None) -> Parts:
    """What the run directory holds, and what it lacks by the code of the experiment.

    `classes` are other names than those of the run.
    """
    check(
        (
            (folder / "config.json").exists(),
            f"{folder} is no run directory: there is no config.json in it",
        )
    )
    kept = parts.load(folder, classes)
    if kept is not None and kept.model and kept.task and kept.preparation:
        return kept
    experiment = _experiment(folder)
    names = experiment.classes if classes is None else classes
    made = Parts(
        names,
        experiment.model,
        experiment.task,
        experiment.test.preparation,
        experiment.show and experiment.show(names),
    )
    if kept is None:
        return made
    lacking = {k: v for k, v in made._asdict().items() if getattr(kept, k) is None}
    return kept._replace(**lacking)


def _experiment(folder: Path) -> Experiment:
    """What the run's config describes, by the code of its experiment."""
    file = folder / "config.json"
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
    preparation: Preparation | None,
    options: Mapping[str, Any],
) -> Predictor:
    model = models.create(name, **options)
    variables = pretrained.load(name, weights, **options)
    preparation = preparation or pretrained.preparation(name, weights, **options)
    size = preparation.crop.size
    images = jax.ShapeDtypeStruct((1, *size, preparation.channels), jnp.float32)
    outputs, _ = jax.eval_shape(model.apply, variables, images)
    count = outputs["logits"].shape[-1]
    if classes is None:
        classes = pretrained.class_names(count)
    _check_names(classes, count)
    return Predictor(
        model=model,
        variables=variables,
        preparation=preparation,
        task=tasks.classification(count),
        classes=tuple(classes),
        show=visualise.classification(classes),
    )


def _check_names(classes: Sequence[str], count: int) -> None:
    check((len(classes) == count, f"{len(classes)} class names for {count} classes"))
