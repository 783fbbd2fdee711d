"""`python -m jaxvision export`."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from jaxvision.commands.source import DEFAULTS, Network
from jaxvision.errors import UsageError, check

Outputs = Mapping[str, Any]

PICTURES = 3
"""Of random pixels, by which an export is compared with its original."""


def export(
    file: tyro.conf.Positional[Path],
    to: Literal["stablehlo", "onnx", "safetensors"],
    network: tyro.conf.OmitArgPrefixes[Network] = DEFAULTS,
    activations: tuple[str, ...] = (),
    tolerance: float = 1e-4,
) -> None:
    """Write a network in a format of others, and compare the two.

    stablehlo: one file for JAX on CPU, GPU and TPU, without the code of the model.
    onnx: one file for runtimes without JAX. safetensors: a folder for the hub, with
    weights under the names of the reference implementation and a model card.

    Args:
        file: The file to write, or the folder for safetensors.
        to: The format.
        network: The original.
        activations: Further outputs of an ONNX model, such as logits.
        tolerance: How far the export may differ from the original, relative to the
            largest output; beyond it nothing is written.
    """
    import numpy as np

    from jaxvision.engine.compilation import enable_cache
    from jaxvision.export import agreement

    check(
        (
            not activations or to == "onnx",
            "--activations are for --to onnx: the other formats have all of them",
        ),
        (tolerance > 0, f"--tolerance must be positive, got {tolerance}"),
        (file.parent.is_dir(), f"there is no folder {file.parent}: make it first"),
    )
    form = FORMS[to]
    with _placed(file, form.is_folder) as partial:
        enable_cache()
        predictor, record = network.predictor()
        preparation = predictor.preparation
        shape = (PICTURES, *preparation.crop.size, preparation.channels)
        pictures = list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        expected, found = form.export(partial, predictor, record, pictures, activations)
        apart = agreement.differences(expected, found)
        agreement.check(apart, tolerance)
    for name, difference in apart.items():
        print(f"{name}: differs by {difference:.1e} of its largest value")
    print(f"{file}: written")


def _stablehlo(file, predictor, record, pictures, activations):
    import jax

    from jaxvision.export import stablehlo

    stablehlo.write(file, predictor, record)
    exported = stablehlo.read(file)
    images = predictor.preparation.images(pictures)
    batch = predictor.preparation.transform(jax.random.key(0), {"image": images})
    inputs = predictor.task.inputs(batch)
    of_network = (
        jax.jit(model.apply)(predictor.variables, *inputs)[0]
        for model in (predictor.model, exported.network)
    )
    return tuple(
        {**activations, **source.predict(pictures, batch_size=len(pictures))}
        for activations, source in zip(
            of_network, (predictor, exported.prediction), strict=True
        )
    )


def _onnx(file, predictor, record, pictures, activations):
    from jaxvision.export import onnx

    wanted = predictor.prediction(activations)
    onnx.write(file, wanted, record)
    found = onnx.run(file, predictor.preparation.images(pictures))
    return wanted.predict(pictures, batch_size=len(pictures)), found


def _safetensors(folder, predictor, record, pictures, activations):
    from jaxvision.export import safetensors
    from jaxvision.runs import weights_folder

    safetensors.write(folder, predictor, record)
    found = weights_folder.read(folder).predict(pictures, batch_size=len(pictures))
    return predictor.predict(pictures, batch_size=len(pictures)), found


class Form(NamedTuple):
    """A format, as `--to` names it."""

    export: Callable[..., tuple[Outputs, Outputs]]
    """`(path, predictor, record, pictures, activations) -> (expected, found)`: writes,
    and returns the outputs of the original and of what was written."""
    is_folder: bool = False


FORMS = {
    "stablehlo": Form(_stablehlo),
    "onnx": Form(_onnx),
    "safetensors": Form(_safetensors, is_folder=True),
}


@contextlib.contextmanager
def _placed(path: Path, is_folder: bool) -> Iterator[Path]:
    """Where to write what is at `path` if the block ends well, and else nowhere."""
    from jaxvision.files import replacing

    if not is_folder:
        check((not path.is_dir(), f"{path} is a folder: name a file"))
        with replacing(path) as partial:
            yield partial
        return
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path} is there already: name a new folder")
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as temporary:
        yield Path(temporary, "export")
        Path(temporary, "export").replace(path)
