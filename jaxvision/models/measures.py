"""Costs and receptive fields of models, from traced shapes: nothing is computed."""

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision import files
from jaxvision.layers.conv import Conv
from jaxvision.models import registry
from jaxvision.ops import arithmetic
from jaxvision.ops.receptive_field import ReceptiveField
from jaxvision.ops.receptive_field import receptive_fields as of_function
from jaxvision.paths import named_leaves

RECORD = Path(__file__).with_name("measures.json")


class Layer(NamedTuple):
    """One call of a layer that has weights, on one image."""

    name: str
    kind: str
    output: tuple[int, ...]
    """Shape of the output, without the batch axis."""
    parameters: int
    multiply_adds: int
    receptive_field: ReceptiveField = ReceptiveField((0, 0), (0, 0), (0, 0))
    """Of the output.  What reduces a map to one position is ignored: behind it nothing
    is seen, and squeeze and excitation makes no difference."""


class Measures(NamedTuple):
    """Costs and receptive field of a model, for one image of a given size."""

    parameters: int
    multiply_adds: int
    """Of convolutions, dense layers and attention."""
    activations: int
    """Elements of the outputs of convolutions and dense layers, as defined by
    Radosavovic et al. 2020, https://arxiv.org/abs/2003.13678."""
    receptive_field: int | None
    """Pixels along the longer side of the part of the image that a position of the last
    map depends on, through convolutions and pooling.  None where attention makes it
    the whole image, or where there is no map.  Squeeze and excitation is ignored."""
    fingerprint: int
    """The `fingerprint` of the shapes of the weights."""


def measure(name: str) -> Measures:
    """The measures of the named model, for its default input."""
    traced = _trace(name)
    products = [layer for layer in traced.layers if layer.multiply_adds]
    size = traced.field
    return Measures(
        traced.parameters,
        multiply_adds=sum(layer.multiply_adds for layer in products) + traced.attention,
        activations=sum(math.prod(layer.output) for layer in products),
        receptive_field=round(size) if size and math.isfinite(size) else None,
        fingerprint=fingerprint(traced.shapes),
    )


def fingerprint(shapes: Iterable[tuple[int, ...]]) -> int:
    """A number that tells architectures apart by the shapes of their arrays.

    It does not depend on the number of classes, on names or on the order of axes.
    """
    shapes = list(shapes)
    kernels = sorted(sorted(shape) for shape in shapes if len(shape) == 4)
    vectors = sum(len(shape) == 1 for shape in shapes)
    return zlib.crc32(f"{kernels} {vectors}".encode())


@cache
def recorded() -> Mapping[str, Measures]:
    """The measures of the models for their default inputs, as `write` found them."""
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    return {name: Measures(*numbers) for name, numbers in content.items()}


def write() -> None:
    """Measure every model and write `RECORD`, which takes some minutes.

    This is what `python -m jaxvision.models.measures` does.
    """
    lines = [
        f"{json.dumps(name)}: {json.dumps(measure(name))}" for name in registry.names()
    ]
    files.replace_text(RECORD, "{\n" + ",\n".join(lines) + "\n}\n")


def layers(name: str) -> list[Layer]:
    """The layers of the named model that have weights, in the order of their calls."""
    return _trace(name).layers


def receptive_fields(name: str, *, squeeze: bool = True) -> dict[str, ReceptiveField]:
    """Of each map [B,h,w,C] among the outputs of the model, for its default input.

    squeeze: as in `ops.receptive_field.receptive_fields`.
    """
    module, variables, images = _abstract(name)

    def maps(images, variables):
        outputs = named_leaves(module.apply(variables, images, train=False))
        return {key: leaf for key, leaf in outputs.items() if leaf.ndim == 4}

    return of_function(maps, images, variables, squeeze=squeeze)


def memory(name: str) -> arithmetic.Memory:
    """Bytes in float32 of the maps that the layers with weights make of one image.

    They are taken for a chain in the order of their calls.  What is computed of each
    element by itself is left out, as if it took the place of its input.
    """
    made = [math.prod(layer.output) for layer in layers(name) if layer.multiply_adds]
    return arithmetic.memory([math.prod(registry.default_input(name)), *made])


class _Traced(NamedTuple):
    layers: list[Layer]
    shapes: list[tuple[int, ...]]
    """Of all arrays of the model."""
    parameters: int
    field: float
    """Size of the largest receptive field of a map, along the longer side; 0: none."""
    attention: int
    """Multiply-adds."""


@cache
def _trace(name: str) -> _Traced:
    module, variables, images = _abstract(name)
    found: list[Layer] = []
    attention = 0

    def forward(images, variables):
        made = []

        def note(call, arguments, keywords, context):
            layer, output = context.module, call(*arguments, **keywords)
            if layer.is_initializing():  # what an encoder leaves out has no parameters
                return output
            own = layer.variables.get("params", {})
            if context.method_name == "__call__" and {"kernel", "scale"} & own.keys():
                found.append(_layer(layer, arguments[0].shape, output.shape))
                made.append(output)
            return output

        with nn.intercept_methods(note):
            outputs = module.apply(variables, images, train=False)
        maps = [leaf for leaf in jax.tree.leaves(outputs) if leaf.ndim == 4]
        return [leaf for leaf in maps if leaf.shape[1:3] != (1, 1)], made

    def count(equation):
        nonlocal attention
        attention += _products(equation)

    maps, of_layers = of_function(forward, images, variables, squeeze=False, note=count)
    return _Traced(
        [
            layer._replace(receptive_field=field)
            for layer, field in zip(found, of_layers, strict=True)
        ],
        shapes=[leaf.shape for leaf in jax.tree.leaves(variables)],
        parameters=sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        field=max((max(field.size) for field in maps), default=0),
        attention=attention,
    )


def _abstract(name: str) -> tuple[nn.Module, Any, Any]:
    """The named module, its variables and its images, without their values."""
    module = registry.build(name)
    images = jax.ShapeDtypeStruct((1, *registry.default_input(name)), jnp.float32)
    variables = jax.eval_shape(
        lambda images: module.init(jax.random.key(0), images, train=False), images
    )
    return module, variables, images


def _layer(
    layer: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> Layer:
    own = layer.variables["params"]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(own))
    multiply_adds, kind = 0, type(layer).__name__
    if isinstance(layer, Conv):
        height, width, in_channels, _ = own["kernel"].shape
        multiply_adds = math.prod(output_shape) * height * width * in_channels
        kind += f" {height}×{width}"
        kind += f" / {layer.strides}" if layer.strides != 1 else ""
        kind += f", {layer.groups} groups" if layer.groups > 1 else ""
    elif "kernel" in own and own["kernel"].ndim == 2:
        multiply_adds = math.prod(output_shape) * own["kernel"].shape[0]
    elif "kernel" in own:  # every position of the input meets all of it
        multiply_adds = math.prod(input_shape[:-1]) * own["kernel"].size
    # Where a map is cut into windows, they take the place of the batch.
    output = output_shape[1:] if output_shape[0] == 1 else output_shape
    return Layer(".".join(layer.path), kind, output, parameters, multiply_adds)


def _products(equation) -> int:
    """Multiply-adds of a product of what both depends on the image, if it is batched as
    that of queries and keys is."""
    if equation.primitive.name != "dot_general":
        return 0
    (contracted, _), (batch, _) = equation.params["dimension_numbers"]
    sizes = equation.invars[0].aval.shape
    summed = math.prod(sizes[axis] for axis in contracted)
    return math.prod(equation.outvars[0].aval.shape) * summed if batch else 0


if __name__ == "__main__":
    write()
