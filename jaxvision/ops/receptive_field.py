"""Which pixels of the image a position of a map depends on, in theory and in effect.

In theory: the program of any function of images is traced and walked through, from the
image to the outputs.  Each operation moves the field of what it reads: convolution and
pooling widen it, strides and reshapes spread it, sums of branches join it.  Nothing is
computed, and nobody has to describe the architecture.  The closed form for chains of
layers is that of Araujo et al. 2019, https://doi.org/10.23915/distill.00021, and this
gives the same numbers.

In effect: the gradient of a position says how much each pixel counts.  Luo et al. 2016,
https://arxiv.org/abs/1701.04128.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.ops import target
from jaxvision.types import Array, PyTree

Note = Callable[[Any], None]


class ReceptiveField(NamedTuple):
    """What a position of a map sees; each is (vertical, horizontal), in pixels."""

    size: tuple[float, float]
    """∞: the whole image, wherever the position is; 0: nothing of it."""
    stride: tuple[float, float]
    """Between the fields of neighbouring positions; less than 1 in enlarged maps."""
    padding: tuple[float, float]
    """How far the field of the first position begins before the first pixel."""

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """x_min, y_min, x_max, y_max of the field of a position, which may reach beyond
        the image."""
        (top, left), (bottom, right) = (
            tuple(
                index * stride - padding + reach
                for index, stride, padding, reach in zip(
                    (row, column), self.stride, self.padding, reaches, strict=True
                )
            )
            for reaches in ((0, 0), self.size)
        )
        return left, top, right, bottom


def receptive_fields(
    function: Callable[..., PyTree],
    images: Any,
    *arguments: PyTree,
    squeeze: bool = True,
    note: Note | None = None,
) -> PyTree:
    """The receptive field in `images` of each output of `function(images, *arguments)`.

    Args:
      images: an array [B,H,W,C], or `jax.ShapeDtypeStruct`, as for `jax.eval_shape`.
      arguments: what else the function takes, such as parameters; may be abstract.
      squeeze: whether what reduces a whole map to one position counts.  If so, it makes
        everything after it see the whole image, also through squeeze and excitation; if
        not, it does as if it saw nothing.
      note: is called with each equation of the program, a `jax.core.JaxprEqn`, that
        multiplies two arrays which both depend on the image, as attention does.

    Returns the function's outputs with a `ReceptiveField` for each array.  Outputs that
    are no maps [B,h,w,C] have a stride of 0.  Where branches meet whose positions are
    not aligned, the field is that at the first position.  What interpolates between
    positions, to enlarge a map, is counted as a mixture of the two nearest.
    """
    check(
        (
            len(images.shape) == 4,
            f"receptive fields are in images [B,H,W,C], got {images.shape}",
        )
    )
    with target.portable():  # XLA's operations alone, each of them one equation
        traced, outputs = jax.make_jaxpr(function, return_shape=True)(
            images, *arguments
        )
    start = (_Field(0, 1, (0, 1, 0, 0)), _Field(0, 1, (0, 0, 1, 0)))
    others = len(traced.in_avals) - 1
    walk = _Walk(squeeze, note or (lambda equation: None))
    found = walk.through(traced.jaxpr, [start, *[NOTHING] * others])
    leaves, tree = jax.tree.flatten(outputs)
    fields = [
        _as_seen(fields, leaf.ndim) for fields, leaf in zip(found, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, fields)


def effective_field(
    function: Callable[[Array], Array], images: Array, position: tuple[int, int]
) -> Array:
    """[H,W]: how much each pixel counts at a position (row, column) of the map.

    It is the mean over the batch of the gradient's absolute values, summed over the
    channels of the image, where the gradient is that of the sum over the map's
    channels.  `function` makes the map [B,h,w,C] of images [B,H,W,C].
    """
    row, column = position

    def at_position(images):
        maps = function(images)
        check(
            (
                maps.ndim == 4 and row < maps.shape[1] and column < maps.shape[2],
                f"there is no position {position} in a map of {maps.shape}",
            )
        )
        return maps[:, row, column].sum()

    return jnp.abs(jax.grad(at_position)(images)).sum(axis=-1).mean(axis=0)


class Extent(NamedTuple):
    """How large an effective field [H,W] is."""

    box: tuple[int, int, int, int]
    """x_min, y_min, x_max, y_max around all pixels that count at all."""
    side: float
    """Of a square with as many pixels as there are that count by more than 4.55 % of
    the one that counts most, as two deviations of a Gaussian: Luo et al. 2016."""


def extent(field: np.ndarray) -> Extent:
    """The extent of an effective field.  Raises `UsageError` where no pixel counts."""
    field = np.asarray(field)
    check((bool((field > 0).any()), "no pixel counts: all gradients are zero"))
    rows, columns = (np.flatnonzero((field > 0).any(axis)) for axis in (1, 0))
    box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    strong = np.count_nonzero(field > 0.0455 * field.max())
    left, top, right, bottom = map(int, box)
    return Extent((left, top, right, bottom), math.sqrt(strong))


class _Field(NamedTuple):
    """What an array sees of the image in one direction: the element at index i sees
    the pixels from `start + i · steps` on, `size` of them."""

    start: float
    size: float
    steps: tuple[float, ...]
    """In pixels, for a step along each axis of the array."""

    def widened(self, before: float, after: float) -> "_Field":
        return self._replace(start=self.start - before, size=self.size + before + after)

    def moved_along(self, steps: Sequence[float]) -> "_Field":
        return self._replace(steps=tuple(steps))

    def over(self, axes: Sequence[int], shape: Sequence[int]) -> "_Field":
        """Of all positions along these axes together."""
        moves = [self.steps[axis] * (shape[axis] - 1) for axis in axes]
        field = self.widened(
            -sum(m for m in moves if m < 0), sum(m for m in moves if m > 0)
        )
        steps = [0.0 if a in axes else s for a, s in enumerate(self.steps)]
        return field.moved_along(steps)

    def moves(self, axes: Sequence[int] | None = None) -> bool:
        axes = range(len(self.steps)) if axes is None else axes
        return any(self.steps[axis] for axis in axes)


Fields = tuple[_Field | None, _Field | None]
"""Vertical and horizontal; None: it sees nothing."""

NOTHING: Fields = (None, None)


def _everything(ndim: int) -> _Field:
    return _Field(-math.inf, math.inf, (0.0,) * ndim)


def _as_seen(fields: Fields, ndim: int) -> ReceptiveField:
    sizes, strides, paddings = [], [], []
    for axis, field in enumerate(fields, start=1):
        field = field or _Field(0, 0, (0.0,) * ndim)
        sizes.append(field.size)
        strides.append(field.steps[axis] if ndim == 4 else 0.0)
        paddings.append(0 - field.start)
    (v, h), (a, b), (p, q) = sizes, strides, paddings
    return ReceptiveField((v, h), (a, b), (p, q))


class _Walk:
    """From the inputs of a traced function to its outputs."""

    def __init__(self, squeeze: bool, note: Note):
        self.squeeze, self.note = squeeze, note

    def through(self, jaxpr: Any, inputs: Sequence[Fields]) -> list[Fields]:
        known: dict[Any, Fields] = dict(zip(jaxpr.invars, inputs, strict=True))

        def look_up(variable):
            literal = hasattr(variable, "val")
            return NOTHING if literal else known.get(variable, NOTHING)

        for equation in jaxpr.eqns:
            operands = [look_up(variable) for variable in equation.invars]
            if all(fields == NOTHING for fields in operands):
                continue
            inner = _inner(equation)
            if inner is not None:
                results = self.through(inner, operands)
            else:
                results = self._equation(equation, operands)
            known |= dict(zip(equation.outvars, results, strict=True))
        return [look_up(variable) for variable in jaxpr.outvars]

    def _equation(self, equation: Any, operands: list[Fields]) -> list[Fields]:
        """What the outputs of an equation see, direction by direction."""
        name = equation.primitive.name
        if name == "optimization_barrier":
            return operands
        rule = _RULES.get(name)
        if rule is None and name.startswith(("reduce_window", "cum", "reduce_")):
            rule = _RULES[name[:13] if name.startswith("reduce_window") else name[:3]]
        if name in ("dot_general", "conv_general_dilated") and NOTHING not in operands:
            self.note(equation)
            return [(_everything(out.aval.ndim),) * 2 for out in equation.outvars]
        directions: list[list[_Field | None]] = []
        for direction in range(2):
            seen = [fields[direction] for fields in operands]
            if all(field is None for field in seen):
                directions.append([None] * len(equation.outvars))
            else:
                found = (rule or _elementwise)(equation, seen)
                found = found if isinstance(found, list) else [found]
                before = max(field.size for field in seen if field is not None)
                directions.append(
                    [self._squeezed(name, before, field) for field in found]
                )
        return list(zip(*directions, strict=True))

    def _squeezed(self, name: str, before: float, field: _Field) -> _Field | None:
        """A reduction to one position sees all, or as was asked for, nothing."""
        if field.moves() or math.isinf(before) or field.size == before:
            return field
        if self.squeeze or not name.startswith(("reduce_", "dot_general", "argm")):
            return _everything(len(field.steps))
        return None


def _inner(equation: Any) -> Any:
    """The traced function that an equation calls once, if it does."""
    if equation.primitive.name == "scan":
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        inner = getattr(inner, "jaxpr", inner)
        if inner is not None and len(inner.invars) == len(equation.invars):
            return inner
    return None


# What an equation makes of the fields of its operands, in one direction.


def _elementwise(equation, seen: Sequence[_Field | None]) -> list[_Field]:
    """Element by element; of any other operation nothing is known, and its result is
    taken to see everything."""
    results = []
    for out in equation.outvars:
        shape = out.aval.shape
        known = [
            _stretched(field, operand.aval.shape, shape)
            for operand, field in zip(equation.invars, seen, strict=True)
            if field is not None and _fits(operand.aval.shape, shape)
        ]
        complete = len(known) == sum(field is not None for field in seen)
        results.append(
            _joined(known, shape) if complete and known else _everything(len(shape))
        )
    return results


def _fits(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether an operand is a number, or of the same axes where it is not of one
    position."""
    return before == () or (
        len(before) == len(after)
        and all(m in (1, n) for m, n in zip(before, after, strict=True))
    )


def _stretched(field: _Field, before: Sequence[int], after: Sequence[int]) -> _Field:
    if not before:
        return field.moved_along([0.0] * len(after))
    steps = zip(field.steps, before, after, strict=True)
    return field.moved_along([step if m == n else 0.0 for step, m, n in steps])


def _unknown(equation, seen) -> list[_Field]:
    return [_everything(out.aval.ndim) for out in equation.outvars]


def _joined(fields: Sequence[_Field], shape: Sequence[int]) -> _Field:
    """Of what sees all that these see, arrays of one shape."""
    largest = max(fields, key=lambda field: field.size)
    if math.isinf(largest.size):
        return largest
    start = min(field.start for field in fields)
    end = max(field.start + field.size for field in fields)
    # An axis of one position says nothing of steps along it.
    moving = next((f for f in fields if f.moves(_long(shape))), largest)
    steps = largest.steps if largest.moves(_long(shape)) else moving.steps
    return _Field(start, end - start, steps)


def _long(shape: Sequence[int]) -> list[int]:
    return [axis for axis, length in enumerate(shape) if length > 1]


def _convolution(equation, seen):
    """Of images, since the kernel does not depend on them, or the other way round."""
    field, parameters = seen[0], equation.params
    numbers = parameters["dimension_numbers"]
    out_ndim = equation.outvars[0].aval.ndim
    if field is None:
        return _everything(out_ndim)
    shapes = [operand.aval.shape for operand in equation.invars]
    kernel = [shapes[1][axis] for axis in numbers.rhs_spec[2:]]
    field = field.over([numbers.lhs_spec[1]], shapes[0])
    steps = [0.0] * out_ndim
    steps[numbers.out_spec[0]] = field.steps[numbers.lhs_spec[0]]
    for axis, out_axis, k, stride, dilation, spread, (low, _) in zip(
        numbers.lhs_spec[2:],
        numbers.out_spec[2:],
        kernel,
        parameters["window_strides"],
        parameters["rhs_dilation"],
        parameters["lhs_dilation"],
        parameters["padding"],
        strict=True,
    ):
        step = field.steps[axis] / spread
        field = field.widened(low * step, ((k - 1) * dilation - low) * step)
        steps[out_axis] = stride * step
    return field.moved_along(steps)


def _window(equation, seen):
    """Pooling, with any reduction."""
    field, parameters = seen[0], equation.params
    ndim = len(field.steps)
    ones = (1,) * ndim
    steps = list(field.steps)
    for axis, (k, stride, dilation, spread, (low, _)) in enumerate(
        zip(
            parameters["window_dimensions"],
            parameters["window_strides"],
            parameters.get("window_dilation", ones),
            parameters.get("base_dilation", ones),
            parameters["padding"],
            strict=True,
        )
    ):
        step = steps[axis] / spread
        field = field.widened(low * step, ((k - 1) * dilation - low) * step)
        steps[axis] = stride * step
    return field.moved_along(steps)


def _reduction(equation, seen):
    axes, shape = equation.params["axes"], equation.invars[0].aval.shape
    field = seen[0].over(axes, shape)
    kept = [s for axis, s in enumerate(field.steps) if axis not in axes]
    return [field.moved_along(kept) for _ in equation.outvars]


def _cumulative(equation, seen):
    return seen[0].over([equation.params["axis"]], equation.invars[0].aval.shape)


def _sorting(equation, seen):
    axis = [equation.params["dimension"]]
    fields = [
        field.over(axis, operand.aval.shape)
        for operand, field in zip(equation.invars, seen, strict=True)
        if field is not None
    ]
    joined = _joined(fields, equation.outvars[0].aval.shape)
    return [joined for _ in equation.outvars]


def _transpose(equation, seen):
    steps = seen[0].steps
    return seen[0].moved_along([steps[a] for a in equation.params["permutation"]])


def _broadcast(equation, seen):
    field, before = seen[0], equation.invars[0].aval.shape
    after = equation.outvars[0].aval.shape
    steps = [0.0] * len(after)
    for axis, (out, step) in enumerate(
        zip(equation.params["broadcast_dimensions"], field.steps, strict=True)
    ):
        steps[out] = step if before[axis] == after[out] else 0.0
    return field.moved_along(steps)


def _squeeze(equation, seen):
    gone = equation.params["dimensions"]
    steps = [s for axis, s in enumerate(seen[0].steps) if axis not in gone]
    return seen[0].moved_along(steps)


def _slice(equation, seen):
    field, parameters = seen[0], equation.params
    strides = parameters["strides"] or (1,) * len(field.steps)
    begin = sum(
        s * b for s, b in zip(field.steps, parameters["start_indices"], strict=True)
    )
    steps = [s * k for s, k in zip(field.steps, strides, strict=True)]
    return field._replace(start=field.start + begin, steps=tuple(steps))


def _split(equation, seen):
    axis, begin, results = equation.params["axis"], 0, []
    for size in equation.params["sizes"]:
        move = seen[0].steps[axis] * begin
        results.append(seen[0]._replace(start=seen[0].start + move))
        begin += size
    return results


def _dynamic_slice(equation, seen):
    """From a place that is not known: of all of them."""
    before, after = (v.aval.shape for v in (equation.invars[0], equation.outvars[0]))
    if seen[0] is None or any(field is not None for field in seen[1:]):
        return _everything(len(after))
    cut = [a for a, (m, n) in enumerate(zip(before, after, strict=True)) if m != n]
    return seen[0].over(cut, before)


def _pad(equation, seen):
    field = seen[0]
    if field is None:
        return _everything(equation.outvars[0].aval.ndim)
    steps, start = list(field.steps), field.start
    for axis, (low, _, between) in enumerate(equation.params["padding_config"]):
        steps[axis] = steps[axis] / (between + 1)
        start -= low * steps[axis]
    return field._replace(start=start, steps=tuple(steps))


def _reverse(equation, seen):
    field, shape = seen[0], equation.invars[0].aval.shape
    steps, start = list(field.steps), field.start
    for axis in equation.params["dimensions"]:
        start += steps[axis] * (shape[axis] - 1)
        steps[axis] = -steps[axis]
    return field._replace(start=start, steps=tuple(steps))


def _concatenation(equation, seen):
    axis, begin, moved = equation.params["dimension"], 0, []
    for operand, field in zip(equation.invars, seen, strict=True):
        if field is not None:
            back = field.steps[axis] * begin
            moved.append(field._replace(start=field.start - back))
        begin += operand.aval.shape[axis]
    shape = equation.outvars[0].aval.shape
    joined = _joined(moved, shape)
    if not joined.steps[axis] or len({field.start for field in moved}) == 1:
        return joined
    return joined.over([axis], shape)  # pieces in another order, as when rolled


def _stack(equation, seen):
    axis, shape = equation.params["axis"], equation.invars[0].aval.shape
    joined = _joined([field for field in seen if field is not None], shape)
    steps = list(joined.steps)
    steps.insert(axis, 0.0)
    return joined.moved_along(steps)


def _unstack(equation, seen):
    axis, results = equation.params["axis"], []
    step = seen[0].steps[axis]
    rest = [s for a, s in enumerate(seen[0].steps) if a != axis]
    for i in range(len(equation.outvars)):
        start = seen[0].start + i * step
        results.append(seen[0]._replace(start=start, steps=tuple(rest)))
    return results


def _tile(equation, seen):
    """Repeated as a whole: where it moves, in another order."""
    again = [a for a, times in enumerate(equation.params["reps"]) if times > 1]
    return seen[0].over(again, equation.invars[0].aval.shape)


def _reshape(equation, seen):
    field = seen[0]
    before, after = (v.aval.shape for v in (equation.invars[0], equation.outvars[0]))
    steps: list[float] = [0.0] * len(after)
    for old, new in _groups(before, after):
        old = [axis for axis in old if before[axis] > 1]
        if not field.moves(old):
            continue
        # Axes after the last that moves: repetitions of what it says.
        last = max(axis for axis in old if field.steps[axis])
        repeated = math.prod(before[axis] for axis in old if axis > last)
        kept = [axis for axis in old if axis <= last]
        even = all(
            field.steps[a] == field.steps[b] * before[b]
            for a, b in itertools.pairwise(kept)
        )
        trailing = [axis for axis in new if after[axis] > 1]
        if not even or (repeated > 1 and len(trailing) > 1):
            field = field.over(old, before)
            continue
        step = field.steps[last] / repeated
        for axis in reversed(trailing):
            steps[axis] = step
            step *= after[axis]
    return field.moved_along(steps)


def _groups(before: Sequence[int], after: Sequence[int]):
    """The axes before and after a reshape, in the smallest groups of equal size."""
    i = j = 0
    while i < len(before) or j < len(after):
        old, new = [i] if i < len(before) else [], [j] if j < len(after) else []
        i, j = i + len(old), j + len(new)
        while True:
            m = math.prod(before[axis] for axis in old)
            n = math.prod(after[axis] for axis in new)
            if m == n:
                break
            if m < n and i < len(before):
                old.append(i)
                i += 1
            elif j < len(after):
                new.append(j)
                j += 1
            else:
                return
        yield old, new


def _product(equation, seen):
    """With a matrix that does not depend on the image."""
    side = 0 if seen[0] is not None else 1
    contracted, batch = equation.params["dimension_numbers"]
    shapes = [operand.aval.shape for operand in equation.invars]
    field = seen[side].over(contracted[side], shapes[side])
    free = [
        [a for a in range(len(shapes[s])) if a not in (*contracted[s], *batch[s])]
        for s in range(2)
    ]
    steps = [field.steps[axis] for axis in batch[side]]
    for s in range(2):
        steps += [field.steps[a] if s == side else 0.0 for a in free[s]]
    return field.moved_along(steps)


def _gather(equation, seen):
    """Rows or columns read by their numbers, as interpolation does; else all of it."""
    out = equation.outvars[0].aval.shape
    if seen[0] is None or seen[1] is not None:
        return _everything(len(out))
    numbers, before = (
        equation.params["dimension_numbers"],
        equation.invars[0].aval.shape,
    )
    axes = numbers.collapsed_slice_dims
    if len(out) != len(before) or len(axes) != 1:
        moved = [axis for axis, n in enumerate(before) if n > 1]
        return seen[0].over(moved, before).moved_along([0.0] * len(out))
    (axis,) = axes
    step = seen[0].steps[axis] if before[axis] > 1 else 0.0
    field = seen[0].widened(step, 0) if out[axis] > before[axis] else seen[0]
    steps = list(field.steps)
    steps[axis] = step * before[axis] / out[axis]
    return field.moved_along(steps)


_RULES: dict[str, Callable[..., Any]] = {
    "conv_general_dilated": _convolution,
    "reduce_window": _window,
    "red": _reduction,
    "argmax": _reduction,
    "argmin": _reduction,
    "cum": _cumulative,
    "sort": _sorting,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "stack": _stack,
    "unstack": _unstack,
    "tile": _tile,
    "dynamic_slice": _dynamic_slice,
    "pad": _pad,
    "rev": _reverse,
    "concatenate": _concatenation,
    "dot_general": _product,
    "gather": _gather,
    "reduce_precision": _elementwise,
    "scan": _unknown,
    "while": _unknown,
    "cond": _unknown,
}
