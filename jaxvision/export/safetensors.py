"""A folder for the hub, and for other frameworks: weights, config and model card.

It is a `runs.weights_folder`, which `jaxvision.load` and the commands read as they do
runs, with `README.md`: the model card, see `card`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxvision.export import card
from jaxvision.runs import weights_folder
from jaxvision.runs.predictor import Predictor

CARD = "README.md"

_USE = """\
import jaxvision

predictor = jaxvision.load("this folder")
predictor.predict(["photograph.jpg"])"""


def write(folder: Path, predictor: Predictor, result: Mapping[str, Any]) -> None:
    """Make the folder.

    Args:
      folder: which must not exist.
      result: the record of the run, for the card.

    Raises `UsageError` for a network that is not one of `models.create`, and for what
    else has no recipe.
    """
    name = weights_folder.write(folder, predictor)
    text = card.text(result, predictor.classes, _USE, name)
    (folder / CARD).write_text(text, encoding="utf-8")
