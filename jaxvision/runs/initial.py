"""The weights that a run begins with: those of another run, or published ones.

They are read and compared with the model before any data are, so that weights of
another network cost nobody an hour.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvision import models, pretrained
from jaxvision.data.feed.preparation import Preparation
from jaxvision.engine.state import digest
from jaxvision.engine.step import variable_shapes
from jaxvision.errors import UsageError, check
from jaxvision.paths import named_leaves
from jaxvision.pretrained import keys
from jaxvision.runs.finished import load, load_variables
from jaxvision.runs.record import INITIAL
from jaxvision.types import Experiment, Variables


class Start(NamedTuple):
    """What a run begins with, and what becomes of the weights that it was given."""

    source: str
    """In words."""
    variables: Variables
    """Those that the run takes, on the host."""
    digest: str
    """SHA-256 of the parameters that were given: of a run, its `best_params_digest`."""
    left_out: Collection[str]
    """What was given and is not taken: the model has no such array, or of another
    shape."""
    drawn: Collection[str]
    """What of the model was not given, and is drawn as usual."""

    def words(self) -> str:
        """For the terminal."""
        taken = len(named_leaves(self.variables))
        return (
            f"begins with {taken} arrays of {self.source}, sha256 {self.digest[:16]}; "
            f"left out: {_listed(self.left_out)}; drawn anew: {_listed(self.drawn)}"
        )

    def record(self) -> dict[str, str]:
        """For the record of the run."""
        return {
            f"{INITIAL}digest": self.digest,
            f"{INITIAL}left_out": ", ".join(self.left_out),
            f"{INITIAL}drawn": ", ".join(self.drawn),
        }


def prepared(
    experiment: Experiment, init_from: Path | None
) -> tuple[Experiment, Callable[[], Start] | None]:
    """The experiment with its initial weights, those of `--init-from` if it is given,
    and the function that reads them, once; None if it has none."""
    if init_from is not None:
        start = functools.cache(lambda: of_run(experiment, init_from))
    elif experiment.initial is not None:
        start = functools.cache(lambda: of_experiment(experiment))
    else:
        return experiment, None
    return experiment._replace(initial=lambda: start().variables), start


def of_experiment(experiment: Experiment) -> Start:
    """The weights that the experiment asks for itself.  Raises `UsageError`."""
    assert experiment.initial is not None
    given = experiment.initial()
    names = named_leaves(given)
    shapes = named_leaves(variable_shapes(experiment, given))
    return Start(
        source="the experiment's initial weights",
        variables=given,
        digest=digest(given["params"]),
        left_out=(),
        drawn=[path for path in shapes if path not in names],
    )


def of_run(experiment: Experiment, source: Path) -> Start:
    """What fits of the best weights of a run, or of a file of weights: the arrays whose
    paths and shapes are those of the experiment's model, or of its encoder.

    Raises `UsageError` if nothing fits, or `source` is neither of the two.
    """
    check(
        (
            experiment.initial is None,
            f"--init-from {source}: this experiment was given initial weights already: "
            "leave them out, or this option",
        ),
        (
            source.exists(),
            f"--init-from: there is no {source}: give the directory of a run, or a "
            "file of weights of the same model",
        ),
    )
    shapes = {
        path: leaf.shape
        for path, leaf in named_leaves(variable_shapes(experiment)).items()
    }
    # Those of the whole model, or of the classifier that is its encoder.
    for prefix in ("", f"{models.BACKBONE}/"):
        inside = _inside(shapes, prefix)
        if prefix and not inside:
            break
        given = (
            load_variables(source) if source.is_dir() else _published(source, inside)
        )
        arrays = named_leaves(given)
        taken = {
            path: array
            for path, array in arrays.items()
            if inside.get(path) == np.shape(array)
        }
        if any(map(_is_parameter, taken)):
            break
    left_out = {path: np.shape(arrays[path]) for path in arrays if path not in taken}
    if not any(map(_is_parameter, taken)):
        theirs, ours = (
            _listed([text for text in _described(each) if _is_parameter(text)])
            for each in (left_out, shapes)
        )
        raise UsageError(
            f"no parameter of {source} fits this model: it has {theirs}; the model has "
            f"{ours}"
        )
    taken = {_placed(path, prefix): array for path, array in taken.items()}
    return Start(
        source=str(source),
        variables=keys.unflatten({tuple(p.split("/")): a for p, a in taken.items()}),
        digest=digest(given["params"]),
        left_out=_described(left_out),
        drawn=[path for path in shapes if path not in taken],
    )


def backbone(
    name: str,
    weights: str | Path,
    input_shape: tuple[int, int, int] | None = None,
    **options,
) -> Variables:
    """The variables of the named model without its head, which other classes replace.

    `weights` are the directory of a run whose model has this name, of which the best
    are taken, or published ones as in `pretrained.load`, whose other arguments follow.
    For `Experiment.initial`.  Of a model on an encoder they are weights of the encoder:
    `backbone("deeplabv3_resnet50", "default")` begins with those of `resnet50`, and
    takes its `num_classes` and other options.  Published weights are made to fit
    `input_shape` (H, W, C), such as one of grey images.  Raises `UsageError` for
    weights of another model.
    """
    if (found := models.encoder_of(name, **options)) is not None:
        encoder, fields = found
        variables = backbone(encoder, weights, input_shape, **fields)
        return models.into_backbone(name, variables, input_shape, **options)
    if Path(weights).is_dir():
        return models.without(load_variables(weights), models.head(name, **options))
    fields = {**options, "num_classes": 0}
    return pretrained.load(name, weights, input_shape=input_shape, **fields)


def preparation(name: str, weights: str | Path, **options) -> Preparation:
    """How images are prepared for the weights of `backbone`: as those of the run were,
    or as `pretrained.preparation` knows it.

    Raises `UsageError` where it is not known.
    """
    if Path(weights).is_dir():
        return load(weights).preparation
    return pretrained.preparation(name, weights, **options)


def _published(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """A file of weights, as variables of a model of these shapes.

    The rules for its names are those of the model here of whose names it has the most.
    What it has besides keeps its own name.
    """
    state = keys.joined(pretrained.read(file))
    paths = [tuple(path.split("/")) for path in shapes]
    every = [
        rules for name in models.names() for rules in models.sources(name).values()
    ]
    rules = max(
        {id(rules): rules for rules in every}.values(),
        key=lambda rules: sum(keys.published_key(p, rules) in state for p in paths),
    )
    found = {}
    for path in paths:
        array = state.pop(keys.published_key(path, rules), None)
        if array is not None:
            found[path] = keys.from_published(path, array)
    rest = {
        ("params", name): a
        for name, a in state.items()
        if not keys.IGNORED.search(name)
    }
    return keys.unflatten(found | rest)


def _inside(shapes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What has the prefix in its path, by its path without: `params/backbone/conv1/…`
    is `params/conv1/…`."""
    kinds = [path.partition("/") for path in shapes]
    return {
        f"{kind}/{rest.removeprefix(prefix)}": shapes[f"{kind}/{rest}"]
        for kind, _, rest in kinds
        if rest.startswith(prefix)
    }


def _placed(path: str, prefix: str) -> str:
    """The path that `_inside` removed the prefix from."""
    kind, _, rest = path.partition("/")
    return f"{kind}/{prefix}{rest}"


def _is_parameter(path: str) -> bool:
    return path.startswith("params/")


def _described(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [f"{path} {'×'.join(map(str, shape))}" for path, shape in shapes.items()]


def _listed(names: Collection[str], most: int = 6) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more
