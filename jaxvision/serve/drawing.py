"""A page on which one draws a digit, and sees what a network makes of it.

The network runs in the page, in plain JavaScript, by the numbers of the run.  Where the
page is served, the run itself answers beside it, so that both can be compared; as a
folder of files it needs no server.
"""

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxvision.errors import UsageError, check
from jaxvision.explain.chain import Layer, chain
from jaxvision.files import replace_text
from jaxvision.runs import Predictor

if TYPE_CHECKING:  # it needs the packages of the extra
    from jaxvision.serve.app import Page

FOLDER = Path(__file__).with_name("draw")
INDEX, SCRIPT = "index.html", "network.js"
FILES = (INDEX, "draw.css", "draw.js", "layers.js")
"""What the page consists of, beside `SCRIPT`, which holds the network."""

_DIGITS = [str(digit) for digit in range(10)]
_LARGEST = 64
"""Pixels along a side of an image that can still be drawn by hand."""


def script(predictor: Predictor, title: str, *, served: bool) -> str:
    """The network as a script that the page reads.

    Args:
      title: what the page calls it.
      served: whether the run itself can be asked at `predict`.

    Raises `UsageError` for a network that tells no digits, or is no chain of layers.
    """
    preparation = predictor.preparation
    height, width = preparation.crop.size
    channels = preparation.channels
    check(
        (
            list(predictor.classes) == _DIGITS,
            "what is drawn is a digit, and this network tells "
            f"{', '.join(list(predictor.classes)[:10]) or 'no classes'} apart: give a "
            "run on digits, such as that of make demo",
        ),
        (
            channels == 1 and max(height, width) <= _LARGEST,
            f"what is drawn is grey and at most {_LARGEST}×{_LARGEST}, and this "
            f"network takes images of {height}×{width}×{channels}: give a run on "
            "digits",
        ),
    )
    layers = chain(predictor)
    network = {
        "title": title,
        "served": served,
        "classes": list(predictor.classes),
        "size": [height, width, channels],
        "parameters": sum(
            array.size
            for layer in layers
            if layer.kind in ("conv", "dense")
            for array in layer.arrays.values()
        ),
        "layers": [_as_data(layer) for layer in layers],
    }
    # A name of a class or a run may hold what ends a script.
    text = json.dumps(network).replace("<", "\\u003c")
    return f'"use strict";\nconst NETWORK = {text};\n'


def pages(predictor: Predictor, title: str) -> "dict[str, Page]":
    """The files of the page by their paths, to be served beside the run's predictions.

    Raises `UsageError` as `script` does.
    """
    from jaxvision.serve.app import Page, page

    content = script(predictor, title, served=True).encode()
    found = {f"/{name}": page(FOLDER / name) for name in FILES}
    return {
        "/": found[f"/{INDEX}"],
        **found,
        f"/{SCRIPT}": Page(content, "text/javascript"),
    }


def export(predictor: Predictor, title: str, folder: Path) -> None:
    """Write the page as a folder that needs no server.

    Raises `UsageError` as `script` does, and for a folder that holds something else.
    """
    content = script(predictor, title, served=False)
    others = (
        sorted({path.name for path in folder.iterdir()} - {*FILES, SCRIPT})
        if folder.is_dir()
        else []
    )
    check(
        (
            not others,
            f"{folder} holds something else ({', '.join(others[:3])}): choose an empty "
            "folder, or one that does not exist",
        )
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder} ({error.strerror}): choose another --export"
        ) from error
    for name in FILES:
        replace_text(folder / name, (FOLDER / name).read_text(encoding="utf-8"))
    replace_text(folder / SCRIPT, content)


def _as_data(layer: Layer) -> dict[str, Any]:
    return {
        "kind": layer.kind,
        "name": layer.name,
        "shape": [int(n) for n in layer.shape],
        "activation": layer.activation,
        "arrays": {name: _encoded(array) for name, array in layer.arrays.items()},
        **_plain(layer.options),
    }


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(options)))


def _encoded(array: np.ndarray) -> dict[str, Any]:
    """The shape of an array and its bytes, little-endian float32."""
    content = np.ascontiguousarray(array, "<f4").tobytes()
    assert len(content) == 4 * math.prod(array.shape)
    return {"shape": list(array.shape), "data": base64.b64encode(content).decode()}
