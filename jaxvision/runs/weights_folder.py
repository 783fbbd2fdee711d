"""A network as a folder: weights under published names, and all that its use needs.

- `model.safetensors`: the weights under the names, and with the axes, of the reference
  implementation, which loads them with `strict=True`;
- `config.json`: how model, task and pictures of predictions are made again, the names
  of the classes, the preparation.

`export.safetensors` writes it, with a model card.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision import files, models, pretrained
from jaxvision.errors import UsageError
from jaxvision.pretrained import keys
from jaxvision.recipes import recipe_of
from jaxvision.runs.parts import Parts
from jaxvision.runs.predictor import Predictor
from jaxvision.types import Model

FORMAT = 1
"""Of `config.json`."""

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def is_one(folder: str | Path) -> bool:
    """Whether there is such a folder."""
    return (Path(folder) / WEIGHTS).is_file()


def write(folder: Path, predictor: Predictor) -> str:
    """Make the folder, which must not exist; returns the name of the network.

    Raises `UsageError` for a network that is not one of `models.create`, and for what
    else has no recipe.
    """
    parts = Parts(
        predictor.classes,
        predictor.model,
        predictor.task,
        predictor.preparation,
        predictor.show,
    )
    network = _network(predictor.model)
    if network is None:
        raise UsageError(
            "the network is not one of models.create, so that its weights have no "
            "names that others know: export it to stablehlo"
        )
    name, options = network
    folder.mkdir()
    pretrained.save(folder / WEIGHTS, name, predictor.variables, **options)
    config = {
        "format": FORMAT,
        "library_name": "jaxvision",
        "architecture": name,
        "num_classes": len(predictor.classes),
        **parts.as_data(),
        "sha256": _digest(folder / WEIGHTS),
    }
    files.replace_object(folder / CONFIG, config)
    return name


def read(folder: str | Path, classes: Sequence[str] | None = None) -> Predictor:
    """The predictor of a folder that `write` has made.

    `classes` are other names for the classes.
    Raises `UsageError` for what is damaged, of another format or no such folder.
    """
    folder = Path(folder)
    config = files.read_object(folder / CONFIG, ["format", "model", "preparation"])
    if config["format"] != FORMAT:
        raise UsageError(
            f"{folder} has format {config['format']}, and this version of jaxvision "
            f"reads format {FORMAT}: read it with the one that wrote it"
        )
    if config["sha256"] != _digest(folder / WEIGHTS):
        raise UsageError(
            f"{folder / WEIGHTS} is not the file that was written there: copy the "
            "folder anew"
        )
    classes, model, task, preparation, show = Parts.of_data(config, classes)
    assert model is not None and task is not None and preparation is not None
    pixels = jnp.zeros((1, *preparation.crop.size, preparation.channels), jnp.uint8)

    def initial(key):
        return model.init(
            key, *task.inputs(preparation.transform(key, {"image": pixels}))
        )

    wanted = keys.flatten(jax.eval_shape(initial, jax.random.key(0)))
    state = pretrained.read(folder / WEIGHTS)
    network = _network(model)
    assert network is not None
    name, options = network
    rules = next(iter(models.sources(name, **options).values()))
    variables = {
        path: jnp.asarray(
            keys.from_published(path, state[keys.published_key(path, rules)])
        )
        for path in wanted
    }
    return Predictor(
        model=model,
        variables=keys.unflatten(variables),
        preparation=preparation,
        task=task,
        classes=classes,
        show=show,
    )


def about(folder: str | Path) -> dict[str, Any]:
    """What such a folder says of the network, as a record of a run does:
    `{"experiment": its architecture}`."""
    config = files.read_object(Path(folder) / CONFIG, ["architecture"])
    return {"experiment": config["architecture"]}


def _network(model: Model) -> tuple[str, Mapping[str, Any]] | None:
    """The name and the options of a network in `models.create`; None: it is of none."""
    recipe = recipe_of(model)
    if recipe is None or recipe["name"] != models.create.__name__:
        return None
    arguments = recipe["arguments"]
    return arguments["name"], arguments["options"]["dict"]


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
