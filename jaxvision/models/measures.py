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
from jaxvision.ops.convolution import Geometry, native, pair, resolve_padding

RECORD = Path(__file__).with_name("measures.json")


class Layer(NamedTuple):
    """One call of a layer that has weights, on one image."""

    name: str
    kind: str
    output: tuple[int, ...]
    """Shape of the output, without the batch axis."""
    parameters: int
    multiply_adds: int


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
    found, shapes, parameters, (size, attention) = _trace(name)
    return Measures(
        parameters,
        multiply_adds=sum(layer.multiply_adds for layer in found) + attention,
        activations=sum(
            math.prod(layer.output) for layer in found if layer.multiply_adds
        ),
        receptive_field=round(size) if size and math.isfinite(size) else None,
        fingerprint=fingerprint(shapes),
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
    return _trace(name)[0]


def _trace(name):
    """Layers, shapes, parameters, (receptive field, attention's multiply-adds)."""
    module = registry.build(name)
    images = jax.ShapeDtypeStruct((1, *registry.default_input(name)), jnp.float32)
    variables = jax.eval_shape(
        lambda images: module.init(jax.random.key(0), images, train=False), images
    )
    found: list[Layer] = []

    def note(call, arguments, keywords, context):
        layer = context.module
        if layer.is_initializing():  # what an encoder leaves out has no parameters
            return call(*arguments, **keywords)
        if isinstance(layer, Conv):
            output = _convolved(layer, *arguments)
        else:
            output = call(*arguments, **keywords)
        own = layer.variables.get("params", {})
        if context.method_name == "__call__" and ("kernel" in own or "scale" in own):
            found.append(_layer(layer, arguments[0].shape, output.shape))
        return output

    def forward(variables, images):
        with nn.intercept_methods(note):
            return module.apply(variables, images, train=False)

    traced, outputs = jax.make_jaxpr(forward, return_shape=True)(variables, images)
    before = [NOWHERE] * len(jax.tree.leaves(variables))
    fields, attention = _follow(traced.jaxpr, [*before, ReceptiveField(1, 1)])
    sizes = [
        field.size
        for field, leaf in zip(fields, jax.tree.leaves(outputs), strict=True)
        if leaf.ndim == 4 and leaf.shape[1:3] != (1, 1)
    ]
    size = max(sizes, default=0)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    shapes = [leaf.shape for leaf in jax.tree.leaves(variables)]
    return found, shapes, parameters, (size, attention)


def _convolved(layer: Conv, images):
    """The convolution of the layer as a single equation; `conv2d` has other forms, too.

    The bias is left out, since it changes nothing that is measured.
    """
    kernel = layer.variables["params"]["kernel"]
    strides, dilation = pair("strides", layer.strides), pair("dilation", layer.dilation)
    rows, columns = (
        (k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=False)
    )
    size = images.shape[1:3]
    pads = resolve_padding(size, (rows, columns), strides, layer.padding)
    geometry = Geometry(strides, pads, dilation, layer.groups)
    return native.convolve(images, kernel, geometry)


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
    elif "kernel" in own:  # every position of the input meets all of it
        multiply_adds = math.prod(input_shape[:-1]) * own["kernel"].size
    # Where a map is cut into windows, they take the place of the batch.
    output = output_shape[1:] if output_shape[0] == 1 else output_shape
    return Layer(".".join(layer.path), kind, output, parameters, multiply_adds)


class ReceptiveField(NamedTuple):
    """The part of the image that a position of a map depends on."""

    size: float
    """Pixels along a side; 0: it depends on none."""
    stride: float
    """Pixels between the receptive fields of neighbouring positions."""

    def through(self, window: int, strides: int) -> "ReceptiveField":
        """That of the output of a window of so many positions along a side."""
        size = self.size + (window - 1) * self.stride if self.size else 0
        return ReceptiveField(size, self.stride * strides)

    def enlarged(self, factor: float) -> "ReceptiveField":
        """That of a map with so many times the positions along a side."""
        return ReceptiveField(self.size, self.stride / factor)


NOWHERE = ReceptiveField(0, 1)
EVERYWHERE = ReceptiveField(math.inf, 1)


def _follow(jaxpr, inputs: list[ReceptiveField]) -> tuple[list[ReceptiveField], int]:
    """Receptive fields of a traced function's outputs; multiply-adds of attention."""
    known: dict[Any, ReceptiveField] = dict(zip(jaxpr.invars, inputs, strict=True))
    attention = 0
    for equation in jaxpr.eqns:
        operands = [
            NOWHERE if hasattr(variable, "val") else known.get(variable, NOWHERE)
            for variable in equation.invars
        ]
        inner = _inner(equation)
        if inner is not None:
            results, more = _follow(inner, operands)
            attention += more
            known |= dict(zip(equation.outvars, results, strict=False))
            continue
        field = max(operands, default=NOWHERE)
        if _is_attention(equation) and min(operands).size:
            field = EVERYWHERE if field.size else NOWHERE
            attention += _products(equation)
        elif factor := _enlargement(equation):
            # A mixture of two pixels, or a repetition.
            mixes = equation.primitive.name == "gather"
            field = (field.through(2, 1) if mixes else field).enlarged(factor)
        elif window := _window(equation):
            field = field.through(*window)
        elif _is_global(equation):
            field = NOWHERE
        known |= dict.fromkeys(equation.outvars, field)
    return [known.get(variable, NOWHERE) for variable in jaxpr.outvars], attention


def _inner(equation):
    """The traced function that an equation calls, if it calls one."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        inner = getattr(inner, "jaxpr", inner)
        if inner is not None and len(inner.invars) == len(equation.invars):
            return inner
    return None


def _window(equation) -> tuple[int, int] | None:
    """Dilated window and stride, along the longer side, of convolutions and pooling."""
    parameters = equation.params
    match equation.primitive.name:
        case "conv_general_dilated":
            spatial = parameters["dimension_numbers"].rhs_spec[2:]
            kernel = equation.invars[1].aval.shape
            windows = [
                (kernel[axis] - 1) * dilation + 1
                for axis, dilation in zip(
                    spatial, parameters["rhs_dilation"], strict=True
                )
            ]
            return max(windows), max(parameters["window_strides"])
        case str(name) if name.startswith("reduce_window"):
            windows = parameters["window_dimensions"]
            if len(windows) == 4:
                return max(windows[1:3]), max(parameters["window_strides"][1:3])
        case "slice" if (
            parameters["strides"] is not None and len(parameters["strides"]) == 4
        ):  # every so many rows and columns
            return 1, max(parameters["strides"][1:3])
        case "reduce_max" | "reduce_sum" if tuple(parameters["axes"]) == (2, 4):
            # Pooling whose windows do not overlap: [B,h,window,w,window,C].
            shape = equation.invars[0].aval.shape
            return max(shape[2], shape[4]), max(shape[2], shape[4])
    return None


def _enlargement(equation) -> float:
    """By what factor it has more columns than before, as `ops.upsample` makes them; 0:
    it is something else."""
    operands: list[Any] = [*equation.invars]
    before: tuple[int, ...] = operands[0].aval.shape if operands else ()
    after: tuple[int, ...] = equation.outvars[0].aval.shape
    match equation.primitive.name:
        case "gather" if len(before) == len(after) == 4 and after[2] > before[2]:
            return after[2] / before[2]
        case "reshape" if len(before) == 6 and len(after) == 4:
            _, rows, tall, columns, wide, _ = before
            if after[1:3] == (rows * tall, columns * wide):
                return wide
    return 0


def _is_global(equation) -> bool:
    """Whether it reduces a map to one position."""
    name, axes = equation.primitive.name, equation.params.get("axes", ())
    return name in ("reduce_sum", "reduce_max") and tuple(axes) == (1, 2)


def _is_attention(equation) -> bool:
    """Whether it is a batched product, as of queries and keys."""
    if equation.primitive.name != "dot_general":
        return False
    _, (batch, _) = equation.params["dimension_numbers"]
    return bool(batch)


def _products(equation) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    sizes = equation.invars[0].aval.shape
    return math.prod(equation.outvars[0].aval.shape) * math.prod(
        sizes[axis] for axis in contracted
    )


if __name__ == "__main__":
    write()
