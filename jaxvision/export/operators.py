"""A traced function as a graph of ONNX operators.

`Graph` goes through the equations of a jaxpr in order.  What does not depend on the
inputs is computed here, by JAX, so that the graph holds arithmetic on images alone:
batch normalisation, for one, becomes a product and a sum with constants.  Everything
else is translated by `OPERATORS`, a function for each primitive of JAX.

Arrays keep the axes that they have in JAX; around convolution and pooling, which ONNX
defines for channels first, there are transpositions, most of which runtimes remove.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import helper, numpy_helper

from jaxvision.errors import UsageError

OPSET, IR_VERSION = 18, 9
"""The versions of ONNX that are written: of 2022 and 2023, which all runtimes read."""


class Named(NamedTuple):
    """An array that depends on the inputs: the output of a node."""

    name: str
    shape: tuple[Any, ...]
    """An axis may be 1 where JAX's is longer: what JAX broadcasts, ONNX does in its
    arithmetic by itself.  `Graph.whole` makes the array that JAX has."""


Value = Named | jax.Array | np.ndarray


class Graph:
    """Nodes, initialisers and where the batch size is to be found."""

    def __init__(self, batch: str):
        """`batch` is the name of the input whose first axis is the symbol b."""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._batch = batch
        self._names: dict[int, tuple[str, Any]] = {}

    def call(self, jaxpr: Any, consts: Sequence[Any], *arguments: Value) -> list[Value]:
        """Append what computes a jaxpr, and return its outputs."""
        known: dict[Any, Value] = dict(zip(jaxpr.constvars, consts, strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Value:
            if hasattr(atom, "val"):
                return np.asarray(atom.val, atom.aval.dtype)
            return known[atom]

        for equation in _needed(jaxpr):
            inputs = [read(atom) for atom in equation.invars]
            found = self._translate(equation, inputs)
            known.update(zip(equation.outvars, found, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def add(
        self, operator: str, *inputs: Value, shape: Any = (), **attributes
    ) -> Named:
        """Append a node with one output of this shape."""
        name = f"{operator}_{len(self.nodes)}"
        names = [self._name(each) for each in inputs]
        self.nodes.append(
            helper.make_node(operator, names, [name], name=name, **attributes)
        )
        return Named(name, tuple(shape))

    def rename(self, value: Value, name: str) -> None:
        """Give a value the name of an output."""
        self.nodes.append(helper.make_node("Identity", [self._name(value)], [name]))

    def _name(self, value: Value) -> str:
        """Of a value in the graph; a constant becomes an initialiser, once."""
        if isinstance(value, Named):
            return value.name
        if id(value) not in self._names:
            name = f"constant_{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
            self._names[id(value)] = name, value  # kept, so that its id stays its own
        return self._names[id(value)][0]

    def whole(self, value: Value, shape: Sequence[Any]) -> Value:
        """The value with all axes as long as in JAX."""
        if tuple(value.shape) == tuple(shape):
            return value
        if not isinstance(value, Named) and _is_known(shape):
            return np.broadcast_to(value, shape)
        return self.add("Expand", value, self.sizes(shape), shape=shape)

    def sizes(self, shape: Sequence[Any]) -> Value:
        """A shape as an array of the graph."""
        if _is_known(shape):
            return _ints(shape)
        # Shape gives the batch size, of which every unknown size is a multiple.
        size = self.add("Shape", Named(self._batch, ()), start=0, end=1)
        parts = [
            _ints([each])
            if _is_known([each])
            else self.add("Mul", size, _ints([_multiple(each)]))
            for each in shape
        ]
        return self.add("Concat", *parts, axis=0)

    def _translate(self, equation: Any, inputs: list[Any]) -> Sequence[Value]:
        primitive, params = equation.primitive, equation.params
        inner = next((params[key] for key in _INNER if key in params), None)
        if inner is not None and primitive.name in _CALLS:
            closed = hasattr(inner, "consts")
            jaxpr, consts = (inner.jaxpr, inner.consts) if closed else (inner, ())
            return self.call(jaxpr, consts, *inputs)
        shapes = [atom.aval.shape for atom in (*equation.invars, *equation.outvars)]
        constant = not any(isinstance(value, Named) for value in inputs)
        if constant and all(map(_is_known, shapes)) and "dim" not in params:
            whole = [
                jnp.broadcast_to(value, atom.aval.shape)
                for value, atom in zip(inputs, equation.invars, strict=True)
            ]
            found = primitive.bind(*whole, **params)
            return found if primitive.multiple_results else [found]
        translate = OPERATORS.get(primitive.name)
        if translate is None:
            raise inexpressible(equation)
        if primitive.name not in _BROADCASTING:
            inputs = [
                self.whole(value, atom.aval.shape)
                for value, atom in zip(inputs, equation.invars, strict=True)
            ]
        found = translate(self, equation, *inputs)
        return found if isinstance(found, list) else [found]


def inexpressible(equation: Any, why: str = "") -> UsageError:
    """The error for an equation that has no form in ONNX here."""
    shapes = ", ".join(str(atom.aval.str_short()) for atom in equation.invars)
    return UsageError(
        f"the operator {equation.primitive.name} of {shapes} cannot be written as ONNX"
        f"{why and f' ({why})'}: export to stablehlo, which holds any program"
    )


_CALLS = {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "custom_jvp_call",
    "custom_vjp_call",
}
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def _needed(jaxpr: Any) -> list[Any]:
    """The equations that the outputs depend on."""
    wanted = {atom for atom in jaxpr.outvars if not hasattr(atom, "val")}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if wanted.intersection(equation.outvars):
            kept.append(equation)
            wanted |= {atom for atom in equation.invars if not hasattr(atom, "val")}
    return kept[::-1]


def _is_known(shape: Sequence[Any]) -> bool:
    return all(isinstance(size, int | np.integer) for size in shape)


def _ints(values: Sequence[Any]) -> np.ndarray:
    return np.array(values, np.int64)


def _multiple(size: Any) -> int:
    """The factor of a size such as `4*b`."""
    found = re.fullmatch(r"(?:(\d+)\*)?b", str(size))
    if found is None:
        raise UsageError(
            f"an axis of {size} elements, b of them images, cannot be written as ONNX: "
            "export to stablehlo"
        )
    return int(found[1] or 1)


def _thin(inputs: Sequence[Value]) -> tuple[Any, ...]:
    """The shape of elementwise arithmetic, in which 1 gives way."""
    rank = max(len(value.shape) for value in inputs)
    padded = [(1,) * (rank - len(value.shape)) + tuple(value.shape) for value in inputs]
    # Not max: a symbolic size is compared with 1 only.
    return tuple(
        next((size for size in sizes if not _is_one(size)), 1)
        for sizes in zip(*padded, strict=True)
    )


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _dtype(equation: Any) -> np.dtype:
    return equation.outvars[0].aval.dtype


def _number(value: float, dtype: Any) -> np.ndarray:
    return np.array(value, dtype)


def _elementwise(*operators: str) -> Callable[..., Named]:
    """One after the other; the first takes all inputs."""

    def translate(graph: Graph, equation: Any, *inputs: Value) -> Named:
        shape = _thin(inputs)
        found = graph.add(operators[0], *inputs, shape=shape)
        for operator in operators[1:]:
            found = graph.add(operator, found, shape=shape)
        return found

    return translate


def _logical(operator: str) -> Callable[..., Named]:
    def translate(graph, equation, *inputs):
        if _dtype(equation).kind != "b":
            raise inexpressible(equation, "of the bits of numbers")
        return graph.add(operator, *inputs, shape=_thin(inputs))

    return translate


def _identity(graph: Graph, equation: Any, *inputs: Value) -> Any:
    return list(inputs)


def _with_one(operator: str, *, before: str = "", after: str = "") -> Callable:
    """`operator(before(1, x))` or `after(operator(x), 1)`."""

    def translate(graph, equation, x):
        one = _number(1, _dtype(equation))
        if before:
            return graph.add(operator, graph.add(before, x, one), shape=x.shape)
        return graph.add(after, graph.add(operator, x), one, shape=x.shape)

    return translate


def _erfc(graph, equation, x):
    one = _number(1, _dtype(equation))
    return graph.add("Sub", one, graph.add("Erf", x), shape=x.shape)


def _is_finite(graph, equation, x):
    infinite, nan = graph.add("IsInf", x), graph.add("IsNaN", x)
    return graph.add("Not", graph.add("Or", infinite, nan), shape=x.shape)


def _size(graph, equation):
    size = graph.sizes([equation.params["dim"]])
    number = graph.add("Reshape", size, _ints([]))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(_dtype(equation)))
    return graph.add("Cast", number, to=kind)


def _square(graph, equation, x):
    return graph.add("Mul", x, x, shape=x.shape)


def _integer_pow(graph, equation, x):
    power = _number(equation.params["y"], _dtype(equation))
    return graph.add("Pow", x, power, shape=x.shape)


def _select(graph, equation, which, *cases):
    if len(cases) != 2 or equation.invars[0].aval.dtype.kind != "b":
        raise inexpressible(equation, "only a choice of two")
    false, true = cases
    return graph.add("Where", which, true, false, shape=_thin((which, *cases)))


def _clamp(graph, equation, low, x, high):
    above = graph.add("Max", x, low, shape=_thin((x, low)))
    return graph.add("Min", above, high, shape=_thin((above, high)))


def _convert(graph, equation, x):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(_dtype(equation)))
    return graph.add("Cast", x, to=kind, shape=x.shape)


def _broadcast(graph, equation, x):
    """Only the rank changes: see `Named.shape`."""
    shape = equation.params["shape"]
    places = equation.params["broadcast_dimensions"]
    thin = [1] * len(shape)
    for place, size in zip(places, x.shape, strict=True):
        thin[place] = size
    return _reshaped(graph, x, thin)


def _reshaped(graph, x, shape):
    if tuple(x.shape) == tuple(shape):
        return x
    if not isinstance(x, Named):
        return jnp.reshape(x, shape)
    unknown = [axis for axis, size in enumerate(shape) if not _is_known([size])]
    if len(unknown) > 1:
        return graph.add("Reshape", x, graph.sizes(shape), shape=shape)
    sizes = [-1 if axis in unknown else size for axis, size in enumerate(shape)]
    return graph.add("Reshape", x, _ints(sizes), shape=shape)


def _reshape(graph, equation, x):
    return _reshaped(graph, x, equation.outvars[0].aval.shape)


def _transposed(graph, x, axes):
    if tuple(axes) == tuple(range(len(axes))):
        return x
    shape = tuple(x.shape[axis] for axis in axes)
    if not isinstance(x, Named):
        return jnp.transpose(x, axes)
    return graph.add("Transpose", x, perm=list(axes), shape=shape)


def _transpose(graph, equation, x):
    return _transposed(graph, x, equation.params["permutation"])


def _concatenate(graph, equation, *parts):
    shape = equation.outvars[0].aval.shape
    return graph.add("Concat", *parts, axis=equation.params["dimension"], shape=shape)


def _stack(graph, equation, *parts):
    axis, shape = equation.params["axis"], equation.outvars[0].aval.shape
    thin = [size if i != axis else 1 for i, size in enumerate(shape)]
    return graph.add(
        "Concat", *(_reshaped(graph, x, thin) for x in parts), axis=axis, shape=shape
    )


def _unstack(graph, equation, x):
    axis = equation.params["axis"]
    return [
        graph.add("Gather", x, np.array(i), axis=axis, shape=out.aval.shape)
        for i, out in enumerate(equation.outvars)
    ]


def _sliced(graph, x, starts, ends, steps, shape):
    axes = _ints(range(len(starts)))
    return graph.add(
        "Slice", x, _ints(starts), _ints(ends), axes, _ints(steps), shape=shape
    )


_END = np.iinfo(np.int64).max


def _slice(graph, equation, x):
    params, shape = equation.params, equation.outvars[0].aval.shape
    ends = [end if _is_known([end]) else _END for end in params["limit_indices"]]
    steps = params["strides"] or (1,) * len(ends)
    return _sliced(graph, x, params["start_indices"], ends, steps, shape)


def _reverse(graph, equation, x):
    axes = _ints(equation.params["dimensions"])
    each = np.ones_like(axes)
    return graph.add(
        "Slice",
        x,
        -each,
        each * -_END,
        axes,
        -each,
        shape=equation.outvars[0].aval.shape,
    )


def _split(graph, equation, x):
    params = equation.params
    sizes, axis = params["sizes"], params["axis"]
    if not _is_known(sizes):
        raise inexpressible(equation, "along the images")
    found, start = [], 0
    for size, out in zip(sizes, equation.outvars, strict=True):
        axes, ends = _ints([axis]), _ints([start + size])
        part = graph.add("Slice", x, _ints([start]), ends, axes, shape=out.aval.shape)
        found.append(part)
        start += size
    return found


def _pad(graph, equation, x, value):
    config = equation.params["padding_config"]
    if any(inside for _, _, inside in config):
        raise inexpressible(equation, "between the elements")
    cut = [(max(-low, 0), max(-high, 0)) for low, high, _ in config]
    if any(map(any, cut)):
        starts = [low for low, _ in cut]
        ends = [-high if high else _END for _, high in cut]
        x = _sliced(graph, x, starts, ends, [1] * len(cut), x.shape)
    pads = [max(low, 0) for low, _, _ in config] + [
        max(high, 0) for _, high, _ in config
    ]
    if any(pads):
        x = graph.add("Pad", x, _ints(pads), value)
    return Named(x.name, tuple(equation.outvars[0].aval.shape))


def _tile(graph, equation, x):
    repeats = graph.sizes(equation.params["reps"])
    return graph.add("Tile", x, repeats, shape=equation.outvars[0].aval.shape)


def _gather(graph, equation, x, indices):
    """What JAX makes, of a symbolic shape, of `x[:, 3]`, `x[:, 1:4]`, `x[:, table]` and
    of strides such as `x[:, ::2, ::2]`, which are a grid of rows and columns."""
    numbers, shape = (
        equation.params["dimension_numbers"],
        equation.outvars[0].aval.shape,
    )
    axes, sizes = numbers.start_index_map, equation.params["slice_sizes"]
    if isinstance(indices, Named) or numbers.operand_batching_dims:
        raise inexpressible(equation, "of indices that depend on the images")
    table = np.asarray(indices)
    rank = table.ndim - 1
    if rank == 0:
        starts: list[Any] = [0] * len(sizes)
        for axis, start in zip(axes, table.tolist(), strict=True):
            starts[axis] = start
        return _reshaped(graph, _slice_at(graph, x, starts, sizes), shape)
    # ONNX has the axes of the indices where the axis that they choose from was.
    where = range(axes[0], axes[0] + rank) if len(axes) == 1 else axes
    whole = [1 if i in axes else size for i, size in enumerate(x.shape)]
    lines = [table[..., 0]] if len(axes) == 1 else _lines(table)
    if (
        lines is None
        or tuple(numbers.collapsed_slice_dims) != tuple(axes)
        or list(numbers.offset_dims) != [i for i in range(len(shape)) if i not in where]
        or list(map(str, sizes)) != list(map(str, whole))
    ):
        raise inexpressible(equation, "of other elements than those of a grid")
    for axis, line in zip(axes, lines, strict=True):
        # What is out of bounds is clamped, or promised not to be there.
        line = np.clip(line, 0, x.shape[axis] - 1)
        x = graph.add("Gather", x, line, axis=axis, shape=x.shape)
    return Named(x.name, tuple(shape))


def _lines(table: np.ndarray) -> list[np.ndarray] | None:
    """Rows, columns, … of a grid of indices [h,w,…,k]; None: it is no grid."""
    rank = table.ndim - 1
    if rank != table.shape[-1]:
        return None
    lines = [
        np.moveaxis(table[..., n], n, 0).reshape(table.shape[n], -1)[:, 0]
        for n in range(rank)
    ]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), -1)
    return lines if np.array_equal(grid, table) else None


def _dynamic_slice(graph, equation, x, *starts):
    if any(isinstance(start, Named) for start in starts):
        raise inexpressible(equation, "at a place that depends on the images")
    return _slice_at(graph, x, list(map(int, starts)), equation.params["slice_sizes"])


def _slice_at(graph, x, starts, sizes):
    """So many elements from these on, or from earlier where they would not be there."""
    begins, ends = [], []
    for start, size, have in zip(starts, sizes, x.shape, strict=True):
        known = _is_known([size, have])
        begins.append(min(max(start, 0), have - size) if known else 0)
        ends.append(begins[-1] + size if known else _END)
    return _sliced(graph, x, begins, ends, [1] * len(ends), sizes)


def _reduce(operator: str) -> Callable[..., Named]:
    def translate(graph, equation, x):
        axes = _ints(equation.params["axes"])
        shape = equation.outvars[0].aval.shape
        return graph.add(operator, x, axes, keepdims=0, shape=shape)

    return translate


def _logical_reduce(operator: str) -> Callable[..., Named]:
    """ONNX reduces numbers only."""

    def translate(graph, equation, x):
        numbers = graph.add("Cast", x, to=onnx.TensorProto.INT32)
        axes, shape = _ints(equation.params["axes"]), equation.outvars[0].aval.shape
        found = graph.add(operator, numbers, axes, keepdims=0)
        return graph.add("Cast", found, to=onnx.TensorProto.BOOL, shape=shape)

    return translate


def _arg(operator: str) -> Callable[..., Named]:
    def translate(graph, equation, x):
        (axis,) = equation.params["axes"]
        found = graph.add(operator, x, axis=axis, keepdims=0)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(_dtype(equation)))
        return graph.add("Cast", found, to=kind, shape=equation.outvars[0].aval.shape)

    return translate


def _dot(graph, equation, a, b):
    (of_a, of_b), (batch_a, batch_b) = equation.params["dimension_numbers"]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left = [next(letters) for _ in a.shape]
    right = [next(letters) for _ in b.shape]
    pairs = zip((*of_a, *batch_a), (*of_b, *batch_b), strict=True)
    for place_a, place_b in pairs:
        right[place_b] = left[place_a]
    kept = [left[i] for i in batch_a]
    kept += [each for i, each in enumerate(left) if i not in (*of_a, *batch_a)]
    kept += [each for i, each in enumerate(right) if i not in (*of_b, *batch_b)]
    shape = equation.outvars[0].aval.shape
    last = len(a.shape) - 1
    if (
        not batch_a
        and tuple(of_a) == (last,)
        and tuple(of_b) == (0,)
        and len(b.shape) == 2
    ):
        return graph.add("MatMul", a, b, shape=shape)
    sums = f"{''.join(left)},{''.join(right)}->{''.join(kept)}"
    return graph.add("Einsum", a, b, equation=sums, shape=shape)


def _convolution(graph, equation, x, kernel):
    params = equation.params
    images, weights, outputs = params["dimension_numbers"]
    pads = params["padding"]
    dense = all(step == 1 for step in params["lhs_dilation"])
    if not dense or params["batch_group_count"] != 1 or np.min(pads) < 0:
        raise inexpressible(equation, "dilated images, cropped ones or groups of them")
    found = graph.add(
        "Conv",
        _transposed(graph, x, images),
        _transposed(graph, kernel, weights),
        strides=list(params["window_strides"]),
        pads=[low for low, _ in pads] + [high for _, high in pads],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    shape = equation.outvars[0].aval.shape
    found = Named(found.name, tuple(shape[axis] for axis in outputs))
    return _transposed(graph, found, np.argsort(outputs).tolist())


def _window(operator: str) -> Callable[..., Named]:
    """Pooling over the axes between the first and the last."""

    def translate(graph, equation, x):
        params = equation.params
        window, strides, pads = (
            params[key] for key in ("window_dimensions", "window_strides", "padding")
        )
        rank = len(window)
        plain = params["base_dilation"] == params["window_dilation"] == (1,) * rank
        edges = [window[0], window[-1], strides[0], strides[-1]]
        if rank < 3 or not plain or edges != [1] * 4 or any((*pads[0], *pads[-1])):
            raise inexpressible(equation, "over other axes than height and width")
        inside = pads[1:-1]
        average = operator == "AveragePool"
        first = (0, rank - 1, *range(1, rank - 1))
        found = graph.add(
            operator,
            _transposed(graph, x, first),
            kernel_shape=list(window[1:-1]),
            strides=list(strides[1:-1]),
            pads=[low for low, _ in inside] + [high for _, high in inside],
            **({"count_include_pad": 1} if average else {}),
        )
        if average:  # a mean of as many numbers as the window has
            found = graph.add(
                "Mul", found, _number(math.prod(window), _dtype(equation))
            )
        shape = equation.outvars[0].aval.shape
        found = Named(found.name, tuple(shape[axis] for axis in first))
        return _transposed(graph, found, np.argsort(first).tolist())

    return translate


def _round(graph, equation, x):
    if "AWAY" in str(equation.params["rounding_method"]):
        raise inexpressible(equation, "halves away from zero")
    return graph.add("Round", x, shape=x.shape)


ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "abs": _elementwise("Abs"),
    "add": _elementwise("Add"),
    "add_any": _elementwise("Add"),
    "and": _logical("And"),
    "ceil": _elementwise("Ceil"),
    "clamp": _clamp,
    "convert_element_type": _convert,
    "copy": _identity,
    "cos": _elementwise("Cos"),
    "div": _elementwise("Div"),
    "eq": _elementwise("Equal"),
    "erf": _elementwise("Erf"),
    "erfc": _erfc,
    "exp": _elementwise("Exp"),
    "expm1": _with_one("Exp", after="Sub"),
    "floor": _elementwise("Floor"),
    "ge": _elementwise("GreaterOrEqual"),
    "gt": _elementwise("Greater"),
    "integer_pow": _integer_pow,
    "is_finite": _is_finite,
    "le": _elementwise("LessOrEqual"),
    "log": _elementwise("Log"),
    "log1p": _with_one("Log", before="Add"),
    "logistic": _elementwise("Sigmoid"),
    "lt": _elementwise("Less"),
    "max": _elementwise("Max"),
    "min": _elementwise("Min"),
    "mul": _elementwise("Mul"),
    "ne": _elementwise("Equal", "Not"),
    "neg": _elementwise("Neg"),
    "not": _logical("Not"),
    "optimization_barrier": _identity,
    "or": _logical("Or"),
    "pow": _elementwise("Pow"),
    "round": _round,
    "rsqrt": _elementwise("Sqrt", "Reciprocal"),
    "select_n": _select,
    "sign": _elementwise("Sign"),
    "sin": _elementwise("Sin"),
    "sqrt": _elementwise("Sqrt"),
    "square": _square,
    "stop_gradient": _identity,
    "sub": _elementwise("Sub"),
    "tanh": _elementwise("Tanh"),
}
"""Of elements, whose inputs need not be as long as in JAX."""

OPERATORS: Mapping[str, Callable[..., Any]] = {
    **ARITHMETIC,
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "dim_as_value": _size,
    "dot_general": _dot,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "pad": _pad,
    "reduce_and": _logical_reduce("ReduceMin"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_or": _logical_reduce("ReduceMax"),
    "reduce_prod": _reduce("ReduceProd"),
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_window_max": _window("MaxPool"),
    "reduce_window_sum": _window("AveragePool"),
    "reshape": _reshape,
    "rev": _reverse,
    "slice": _slice,
    "split": _split,
    "squeeze": _reshape,  # to the shape that it has in JAX
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "unstack": _unstack,
}

_BROADCASTING = ARITHMETIC.keys() | {"broadcast_in_dim"}
