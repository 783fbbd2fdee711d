"""Prediction as an ONNX model, for runtimes that know nothing of JAX.

The input `images` is uint8 [b,S,T,C] for any b, as `Preparation.images` makes them; the
outputs are what the task predicts, by name.  Weights and normalisation are inside.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvision import files
from jaxvision.errors import UsageError
from jaxvision.models.stablehlo import any_number
from jaxvision.ops.target import portable
from jaxvision.runs.predictor import Prediction

_LARGEST = 2**31 - 2**20
"""Bytes of a file: what its format, protocol buffers, can hold, with room for names."""


def write(
    file: str | Path, prediction: Prediction, about: Mapping[str, Any] | None = None
) -> None:
    """Export a prediction; the names of the classes and the preparation go along as
    metadata.

    Raises `UsageError` that names the operator which has no form in ONNX here, and for
    a model of more than 2 GiB.
    """
    with _installed():
        import onnx
        from onnx import helper

        from jaxvision.export import operators

    (images,) = any_number(prediction.images(1))
    variables = jax.tree.map(np.asarray, prediction.variables)

    def predict(images):
        return dict(prediction.call(variables, prediction.frozen, images, np.int32(0)))

    with portable():
        closed, shapes = jax.make_jaxpr(predict, return_shape=True)(images)
    graph = operators.Graph("images")
    given = operators.Named("images", images.shape)
    found = graph.call(closed.jaxpr, closed.consts, given)
    # JAX flattens a dict in the order of its keys.
    outputs = dict(sorted(shapes.items()))
    for (name, shape), value in zip(outputs.items(), found, strict=True):
        graph.rename(graph.whole(value, shape.shape), name)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "jaxvision",
            [_described("images", images)],
            [_described(name, shape) for name, shape in outputs.items()],
            graph.initializers,
        ),
        producer_name="jaxvision",
        opset_imports=[helper.make_opsetid("", operators.OPSET)],
        ir_version=operators.IR_VERSION,
    )
    metadata = {
        "classes": list(prediction.classes),
        "preparation": prediction.preparation.save(),
        "about": files.plain(about or {}),
    }
    helper.set_model_props(
        model, {k: json.dumps(v, ensure_ascii=False) for k, v in metadata.items()}
    )
    if model.ByteSize() > _LARGEST:
        raise UsageError(
            f"the model has {model.ByteSize() / 2**30:.1f} GiB, and a file of ONNX "
            "holds 2: export it to stablehlo"
        )
    onnx.checker.check_model(model)
    with files.replacing(Path(file)) as partial:
        partial.write_bytes(model.SerializeToString())


def run(file: str | Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """What ONNX Runtime on CPU makes of images uint8 [B,S,T,C], by name."""
    with _installed():
        import onnxruntime

    try:
        session = onnxruntime.InferenceSession(
            str(file), providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"images": images}), strict=True))
    except Exception as error:  # of any kind: it has no class of its own
        raise UsageError(f"ONNX Runtime cannot run {file}: {error}") from error


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"ONNX needs the package {error.name} ({error}): install it with "
            "pip install 'jaxvision-research[export]'"
        ) from error


def _described(name: str, array: Any) -> Any:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype))
    return helper.make_tensor_value_info(name, kind, [*map(_axis, array.shape)])


def _axis(size: Any) -> int | str:
    return int(size) if isinstance(size, int | np.integer) else str(size)
