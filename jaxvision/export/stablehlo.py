"""A network and its prediction as StableHLO, in one file with all that their use needs.

    stablehlo.write("lenet5.zip", predictor)
    stablehlo.read("lenet5.zip").prediction.predict(["seven.png"])

The file is a ZIP archive without compression:

- `manifest.json`: the format, names of classes, preparation, what the numbers are,
  where they come from, and the SHA-256 of every other member;
- `network.stablehlo`: `(variables, images float [b,S,T,C]) -> named activations`;
- `prediction.stablehlo`: `(variables, frozen, images uint8 [b,S,T,C], first int32) ->`
  what the task predicts, with the preparation's part on the device;
- `arrays.safetensors`: both programs' arrays by their paths, once.

A program is what `jax.export.deserialize` takes, so that JAX alone can run them.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import files
from jaxvision.data.feed.preparation import Preparation
from jaxvision.errors import UsageError
from jaxvision.measures import Measure
from jaxvision.models import stablehlo
from jaxvision.paths import named_leaves, path_name
from jaxvision.recipes import SHOWS, recipe_of
from jaxvision.runs.predictor import Prediction, Predictor
from jaxvision.runs.record import versions
from jaxvision.types import Model, PyTree

FORMAT = 1
"""Of the archive; another one is not read."""

_MANIFEST, _ARRAYS = "manifest.json", "arrays.safetensors"
_NETWORK, _PREDICTION = "network.stablehlo", "prediction.stablehlo"


class Exported(NamedTuple):
    """What `read` returns: nothing in it needs the experiment's or the model's code."""

    prediction: Prediction
    network: Model
    """From prepared images, with `prediction.variables`; it cannot be trained."""
    measures: tuple[Measure, ...]
    """What the numbers in `about` are."""
    about: dict[str, Any]
    """The record of the run, as `write` was given it, and `versions`."""


def write(
    file: str | Path, predictor: Predictor, about: Mapping[str, Any] | None = None
) -> None:
    """Export a predictor.

    Args:
      file: the archive, by habit `.zip`.
      about: what JSON can hold of its origin and its metrics.

    Raises `UsageError` for a preparation that cannot be saved, and for programs that
    StableHLO cannot express; then there is no file.
    """
    predicted = predictor.prediction()
    variables, frozen = predicted.variables, predicted.frozen
    (images,) = stablehlo.any_number(predicted.images(1))
    prepared = jax.eval_shape(
        lambda images: predictor.task.inputs(
            predictor.preparation.transform(jax.random.key(0), {"image": images})
        ),
        predicted.images(1),
    )
    first = jax.ShapeDtypeStruct((), jnp.int32)
    members = {
        _NETWORK: stablehlo.to_stablehlo(predictor.model, variables, *prepared),
        _PREDICTION: stablehlo.serialize(
            predicted.call, variables, frozen, images, first
        ),
        _ARRAYS: _packed({"variables": variables, "frozen": frozen}),
    }
    manifest = {
        "format": FORMAT,
        "classes": list(predicted.classes),
        "preparation": predicted.preparation.save(),
        "show": recipe_of(predicted.show),
        "measures": [measure._asdict() for measure in predictor.task.measures],
        "about": files.plain({**(about or {}), "versions": versions()}),
        "sha256": {name: _digest(content) for name, content in members.items()},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    with (
        files.replacing(Path(file)) as partial,
        zipfile.ZipFile(partial, "w") as archive,
    ):
        for name, content in {_MANIFEST: text.encode(), **members}.items():
            # With ZipInfo's default date, so that equal exports are equal.
            archive.writestr(zipfile.ZipInfo(name), content)


def read(file: str | Path) -> Exported:
    """What `write` has written.

    Raises `UsageError` for a file that is damaged, of another format or no export.
    """
    members = _members(Path(file))
    manifest = json.loads(members[_MANIFEST])
    variables, frozen, *_ = stablehlo.arguments(members[_PREDICTION])
    arrays = _unpacked(members[_ARRAYS], {"variables": variables, "frozen": frozen})
    return Exported(
        prediction=Prediction(
            call=stablehlo.deserialize(members[_PREDICTION]),
            variables=arrays["variables"],
            frozen=arrays["frozen"],
            preparation=Preparation.load(manifest["preparation"]),
            classes=tuple(manifest["classes"]),
            show=manifest["show"] and SHOWS.make(manifest["show"]),
        ),
        network=stablehlo.from_stablehlo(members[_NETWORK]),
        measures=tuple(Measure(**fields) for fields in manifest["measures"]),
        about=manifest["about"],
    )


def _members(file: Path) -> dict[str, bytes]:
    """The archive's members, complete and unchanged."""
    again = "export it again, or copy it anew"
    try:
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(members[_MANIFEST])
        found, sums = manifest["format"], manifest.get("sha256", {})
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror or error})"
        ) from error
    except Exception as error:  # in whatever way the readers stumble over damage
        raise UsageError(
            f"{file} is no export of jaxvision, or a damaged one ({error}): {again}"
        ) from error
    if found != FORMAT:
        raise UsageError(
            f"{file} has format {found}, and this version of jaxvision reads format "
            f"{FORMAT}: read it with the one that wrote it, or export it again"
        )
    for name in (_NETWORK, _PREDICTION, _ARRAYS):
        if name not in members or _digest(members[name]) != sums.get(name):
            raise UsageError(
                f"{file} is damaged: {name} is not what was written there; {again}"
            )
    return members


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _packed(tree: PyTree) -> bytes:
    from safetensors.numpy import save

    leaves = named_leaves(tree).items()
    return save({path: np.asarray(leaf) for path, leaf in leaves})


def _unpacked(content: bytes, like: PyTree) -> PyTree:
    from safetensors import deserialize

    arrays = dict(deserialize(content))

    def array(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        # By the type that the program takes: safetensors for NumPy has no bfloat16.
        return np.frombuffer(arrays[path_name(path)]["data"], leaf.dtype).reshape(
            leaf.shape
        )

    return jax.tree.map_with_path(array, like)
