"""A small network as a chain of layers with all its numbers, to be followed by hand.

The layers are found in the program of the network together with the preparation of its
images, from bytes on: convolutions, fully connected layers, pooling, and what stands
between them.  LeNet-5, multilayer perceptrons and plain convolutional networks are such
chains; a network with shortcuts or attention is not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UsageError
from jaxvision.explain.traced import MOVES, Equation, Program, trace
from jaxvision.runs import Predictor


class Layer(NamedTuple):
    """One step from what was there before, of one image."""

    kind: str
    """`conv`, `dense`, `max_pool`, `avg_pool`, `pad`, or `scale`: `kernel · x + bias`
    with a number of each for every channel."""
    name: str
    """That of the activation it computes, or of its kind."""
    shape: tuple[int, ...]
    """(H, W, C) or (D,)."""
    arrays: Mapping[str, np.ndarray]
    """float32: `kernel` [K,K,C,O] or [N,D] or [C], and `bias` [O] or [C]."""
    options: Mapping[str, Any]
    """`strides` and `pads` of a convolution, `window` of pooling, `pads` and `value` of
    padding."""
    activation: str = ""
    """`tanh`, `relu` or `sigmoid`, applied at the end; empty: none."""


def chain(predictor: Predictor) -> list[Layer]:
    """The layers from the bytes of an image, [H,W,C] from 0 to 255, to its logits.

    Raises `UsageError` for a network that is no such chain.
    """
    preparation, model = predictor.preparation, predictor.model
    images = jax.ShapeDtypeStruct(
        (1, *preparation.crop.size, preparation.channels), jnp.uint8
    )
    names: list[str] = []

    def program(variables, images):
        batch = preparation.transform(jax.random.key(0), {"image": images})
        outputs, _ = model.apply(variables, batch["image"])
        names[:] = sorted(outputs)
        return dict(outputs)

    traced = trace(program, predictor.variables, images)
    if "logits" not in names:
        raise _no_chain(f"it has no logits, but {', '.join(names)}")
    called = dict(zip(traced.outputs, names, strict=True))
    end = traced.outputs[names.index("logits")]
    return _Walk(traced, jax.tree.leaves(predictor.variables), called).layers(end)


class _Walk:
    """Goes along the equations that depend on the image, and makes layers of them."""

    def __init__(
        self, program: Program, weights: Sequence[Any], called: Mapping[int, str]
    ):
        self._program, self._called = program, called
        *_, self._at = program.inputs
        self._seeing = program.depends_on([self._at])
        self._arguments = [*weights, np.zeros((), np.uint8)]
        self._layers: list[Layer] = []
        self._split: tuple[int, ...] | None = None
        """The shape [B,h,kh,w,kw,C] of a map whose windows are axes of their own."""
        self._sum: tuple[int, int] | None = None
        """The window over which values were added, to be divided by its size."""

    def layers(self, end: int) -> list[Layer]:
        for equation in self._program.before([end]):
            if self._seeing & {*equation.inputs}:
                self._follow(equation)
        if self._at != end:
            raise _no_chain("it does not end with its logits")
        return self._numbered()

    def _follow(self, equation: Equation) -> None:
        data = [each for each in equation.inputs if each in self._seeing]
        if data != [self._at]:
            raise _no_chain("one of its layers reads more than the layer before it")
        handle = _HANDLERS.get(equation.name)
        if handle is None:
            raise _no_chain(f"it computes {equation.name}")
        handle(self, equation)
        (self._at,) = equation.outputs
        name = self._called.get(self._at)
        if name and self._layers:
            self._layers[-1] = self._layers[-1]._replace(name=name)

    def move(self, equation: Equation) -> None:
        """Another shape: windows as axes, or a vector in place of a map."""
        (shape,) = equation.shapes
        if equation.name == "slice":  # what fills no window
            starts = equation.params["start_indices"]
            if any(starts) or equation.params["strides"] not in (
                None,
                (1,) * len(shape),
            ):
                raise _no_chain("it takes a part of a map")
        if equation.name in ("transpose", "broadcast_in_dim"):
            raise _no_chain("it reorders the axes of a map")
        if len(shape) == 6:
            self._split = shape

    def linear(self, equation: Equation) -> None:
        kernel = self._constant(self._other(equation))
        (shape,) = equation.shapes
        if equation.name == "dot_general":
            (over_one, over_other), batch = equation.params["dimension_numbers"]
            first = equation.inputs[0] == self._at
            of_kernel = over_other if first else over_one
            if any(batch) or len(of_kernel) != 1 or kernel.ndim != 2 or len(shape) != 2:
                raise _no_chain("it multiplies by something else than a matrix")
            kernel = kernel if of_kernel[0] == 0 else kernel.T
            self._add("dense", shape, {"kernel": kernel}, {})
            return
        params = equation.params
        numbers = params["dimension_numbers"]
        if (
            equation.inputs[0] != self._at
            or params["feature_group_count"] != 1
            or params["batch_group_count"] != 1
            or {*params["lhs_dilation"], *params["rhs_dilation"]} != {1}
        ):
            raise _no_chain("it has grouped, dilated or transposed convolutions")
        if tuple(numbers.lhs_spec) != (0, 3, 1, 2) or tuple(numbers.out_spec) != (
            0,
            3,
            1,
            2,
        ):
            raise _no_chain("its maps have their channels first")
        out_axis, in_axis, *sides = numbers.rhs_spec
        kernel = kernel.transpose(*sides, in_axis, out_axis)
        pads = [list(map(int, pair)) for pair in params["padding"]]
        strides = list(map(int, params["window_strides"]))
        options = {"strides": strides, "pads": pads}
        self._add("conv", shape, {"kernel": kernel}, options)

    def pool(self, equation: Equation) -> None:
        if self._split is None or tuple(equation.params["axes"]) != (2, 4):
            raise _no_chain(f"it takes a {equation.name[7:]} over something else than "
                            "windows side by side")  # fmt: skip
        window = (self._split[2], self._split[4])
        (shape,) = equation.shapes
        kind = "max_pool" if equation.name == "reduce_max" else "avg_pool"
        self._add(kind, shape, {}, {"window": list(window)})
        self._split = None
        if kind == "avg_pool":
            self._sum = window

    def pad(self, equation: Equation) -> None:
        batch, *sides, channels = equation.params["padding_config"]
        if any(interior for *_, interior in sides) or any((*batch, *channels)):
            raise _no_chain("it spreads the pixels of a map")
        value = float(self._constant(equation.inputs[1]))
        pads = [[int(low), int(high)] for low, high, _ in sides]
        self._add("pad", equation.shapes[0], {}, {"pads": pads, "value": value})

    def affine(self, equation: Equation) -> None:
        """`a · x + b`, which a linear layer takes into its own numbers."""
        other = self._constant(self._other(equation)).astype(np.float64)
        (shape,) = equation.shapes
        if self._sum is not None:
            size = self._sum[0] * self._sum[1]
            divides = equation.name == "div" and np.all(other == size)
            multiplies = equation.name == "mul" and np.allclose(other, 1 / size)
            if not (divides or multiplies):
                raise _no_chain("it adds up windows without dividing by their size")
            self._sum = None
            return
        channels = shape[-1]
        if other.size not in (1, channels):
            raise _no_chain("it adds or multiplies by a number for each pixel")
        other = np.broadcast_to(other.ravel(), (channels,))
        one, nought = np.ones(channels), np.zeros(channels)
        reversed_ = equation.inputs[0] != self._at
        match equation.name:
            case "add":
                a, b = one, other
            case "mul":
                a, b = other, nought
            case "sub":
                a, b = (-one, other) if reversed_ else (one, -other)
            case _:
                if reversed_:
                    raise _no_chain("it divides by its own values")
                a, b = 1 / other, nought
        last = self._layers[-1] if self._layers else None
        if (
            last is None
            or last.activation
            or last.kind not in ("conv", "dense", "scale")
        ):
            self._add("scale", shape, {"kernel": one, "bias": nought}, {})
            last = self._layers[-1]
        kernel = last.arrays["kernel"].astype(np.float64) * a
        bias = last.arrays["bias"].astype(np.float64) * a + b
        self._layers[-1] = last._replace(
            arrays={
                "kernel": kernel.astype(np.float32),
                "bias": bias.astype(np.float32),
            }
        )

    def activate(self, equation: Equation) -> None:
        activation = {"tanh": "tanh", "logistic": "sigmoid"}.get(equation.name, "relu")
        if equation.name == "max" and np.any(
            self._constant(self._other(equation)) != 0
        ):
            raise _no_chain("it takes a maximum with another number than 0")
        if not self._layers or self._layers[-1].activation:
            raise _no_chain("it has two activations in a row")
        self._layers[-1] = self._layers[-1]._replace(activation=activation)

    def _add(self, kind: str, shape, arrays, options) -> None:
        if self._sum is not None:
            raise _no_chain("it adds up windows without dividing by their size")
        arrays = {name: np.asarray(each, np.float32) for name, each in arrays.items()}
        if "kernel" in arrays and "bias" not in arrays:
            arrays["bias"] = np.zeros(shape[-1], np.float32)
        self._layers.append(Layer(kind, "", tuple(shape[1:]), arrays, options))

    def _other(self, equation: Equation) -> int:
        (other,) = (each for each in equation.inputs if each != self._at)
        return other

    def _constant(self, number: int) -> np.ndarray:
        """A value that does not depend on the image."""
        (found,) = self._program.evaluate(self._arguments, [number])
        return np.asarray(found)

    def _numbered(self) -> list[Layer]:
        """The layers, of which those without a name are called by their kind."""
        counts: dict[str, int] = {}
        named = []
        for layer in self._layers:
            if not layer.name:
                counts[layer.kind] = counts.get(layer.kind, 0) + 1
                words = layer.kind.replace("_", " ")
                layer = layer._replace(name=f"{words} {counts[layer.kind]}")
            named.append(layer)
        return named


_HANDLERS = {
    **dict.fromkeys(MOVES, _Walk.move),
    **dict.fromkeys(("conv_general_dilated", "dot_general"), _Walk.linear),
    **dict.fromkeys(("reduce_max", "reduce_sum"), _Walk.pool),
    **dict.fromkeys(("add", "sub", "mul", "div"), _Walk.affine),
    **dict.fromkeys(("tanh", "logistic", "max"), _Walk.activate),
    "pad": _Walk.pad,
}


def _no_chain(why: str) -> UsageError:
    return UsageError(
        "this network is no chain of convolutions, pooling and fully connected "
        f"layers: {why}.  Take one that is, such as LeNet-5, an MLP or a ConvNet"
    )
