"""A folder for the hub, and for other frameworks: weights, config and model card.

- `model.safetensors`: the weights under the names, and with the axes, of the reference
  implementation, which loads them with `strict=True`;
- `config.json`: how model, task and pictures of predictions are made again, the names
  of the classes, the preparation;
- `README.md`: the model card, see `card`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision import files, models, pretrained
from jaxvision.errors import UsageError
from jaxvision.export import card
from jaxvision.pretrained import keys
from jaxvision.recipes import recipe_of
from jaxvision.runs.parts import Parts
from jaxvision.runs.predictor import Predictor

FORMAT = 1
"""Of `config.json`."""

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"

_USE = """\
from jaxvision.export import safetensors

predictor = safetensors.read("this folder")
predictor.predict(["photograph.jpg"])"""


def write(folder: Path, predictor: Predictor, result: Mapping[str, Any]) -> None:
    """Make the folder.

    Args:
      folder: which must not exist.
      result: the record of the run, for the card.

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
    network = _network(recipe_of(predictor.model))
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
    text = card.text(result, predictor.classes, _USE, name)
    (folder / CARD).write_text(text, encoding="utf-8")


def read(folder: str | Path) -> Predictor:
    """The predictor of a folder that `write` has made.

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
    classes, model, task, preparation, show = Parts.of_data(config)
    assert model is not None and task is not None and preparation is not None
    pixels = jnp.zeros((1, *preparation.crop.size, preparation.channels), jnp.uint8)

    def initial(key):
        return model.init(
            key, *task.inputs(preparation.transform(key, {"image": pixels}))
        )

    wanted = keys.flatten(jax.eval_shape(initial, jax.random.key(0)))
    state = pretrained.read(folder / WEIGHTS)
    network = _network(config["model"])
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


def _network(
    recipe: Mapping[str, Any] | None,
) -> tuple[str, Mapping[str, Any]] | None:
    """The name and the options of the network in `models.create`, by its recipe."""
    if recipe is None or recipe["name"] != models.create.__name__:
        return None
    arguments = recipe["arguments"]
    return arguments["name"], arguments["options"]["dict"]


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
