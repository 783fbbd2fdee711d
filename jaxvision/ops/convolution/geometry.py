"""How a window slides over a map: strides, padding, dilation, and what it sees."""

import functools
import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxvision.errors import UsageError
from jaxvision.types import Array

Pair = int | Sequence[int]
"""One number for both directions, or (vertical, horizontal)."""

Padding = str | int | Sequence[Sequence[int]]
"""`"SAME"` (outputs = ceil(size / stride)), `"VALID"` (none), a number of zeros for
all four sides, or ((top, bottom), (left, right))."""

Two = tuple[int, int]
"""(vertical, horizontal), resolved."""

Pads = tuple[Two, Two]
"""((top, bottom), (left, right)), resolved."""

NO_PADS = ((0, 0), (0, 0))


class Geometry(NamedTuple):
    """How a kernel slides over the images; every number is resolved."""

    strides: Two = (1, 1)
    pads: Pads = NO_PADS
    dilation: Two = (1, 1)
    groups: int = 1

    def output_size(self, size: Sequence[int], kernel_size: Sequence[int]) -> Two:
        """Height and width of the output of images of this size."""
        h, w = (
            (n + sum(p) - (k - 1) * d - 1) // s + 1
            for n, p, k, d, s in zip(
                size, self.pads, kernel_size, self.dilation, self.strides, strict=True
            )
        )
        return h, w


class WindowError(UsageError):
    """A window is larger than the map that it should slide over."""


def pair(name: str, value: Pair) -> Two:
    """`2 -> (2, 2)` and `(2, 1) -> (2, 1)`.

    Raises `UsageError`, with the name of the argument, for anything else.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int) and v >= 1 for v in values):
        raise UsageError(
            f"{name} must be one positive integer or (vertical, horizontal), "
            f"got {value!r}"
        )
    return values


def resolve_padding(
    size: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Padding
) -> Pads:
    """Padding as ((top, bottom), (left, right)) for a window that slides over a map.

    Raises `UsageError` when the padding is of no known kind, and its subclass
    `WindowError` when the window is larger than the padded map.
    """
    unknown = UsageError(
        'padding must be "SAME", "VALID", a number ≥ 0 or '
        f"((top, bottom), (left, right)), got {padding!r}"
    )
    match padding:
        case "SAME" | "VALID":
            (top, bottom), (left, right) = lax.padtype_to_pads(
                size, window, strides, padding
            )
        case int():
            top = bottom = left = right = padding
        case ((int(top), int(bottom)), (int(left), int(right))):
            pass
        case _:
            raise unknown
    if min(top, bottom, left, right) < 0:
        raise unknown
    height, width = size[0] + top + bottom, size[1] + left + right
    if height < window[0] or width < window[1]:
        raise WindowError(
            f"a window of {window[0]}×{window[1]} does not fit a map of "
            f"{size[0]}×{size[1]} that padding {padding!r} makes {height}×{width}: "
            "use a smaller window, larger images or more padding"
        )
    return (top, bottom), (left, right)


def pad(x_BxHxWxC: Array, pads: Pads, value: float = 0) -> Array:
    """The maps surrounded by `value`, written to memory; negative padding crops."""
    if pads == NO_PADS:
        return x_BxHxWxC
    edges = ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0))
    padded = lax.pad(x_BxHxWxC, jnp.asarray(value, x_BxHxWxC.dtype), edges)
    # The barrier keeps XLA from folding the padding back into its consumers.
    return lax.optimization_barrier(padded)


def windows(
    padded_BxHxWxC: Array, kernel_size: Sequence[int], strides: Two, dilation: Two
) -> Iterator[Array]:
    """For each tap of the kernel in turn, the pixels that it sees: [B,h,w,C]."""
    geometry = Geometry(strides, NO_PADS, dilation)
    h, w = geometry.output_size(padded_BxHxWxC.shape[1:3], kernel_size)
    for u, v in itertools.product(*map(range, kernel_size)):
        top, left = u * dilation[0], v * dilation[1]
        rows = slice(top, top + (h - 1) * strides[0] + 1, strides[0])
        columns = slice(left, left + (w - 1) * strides[1] + 1, strides[1])
        yield padded_BxHxWxC[:, rows, columns]


def unwindow(
    taps: Sequence[Array],
    size: Sequence[int],
    kernel_size: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two,
) -> Array:
    """The transpose of `windows` after `pad` ("col2im").

    `taps` has an array [B,h,w,C] for each tap of the kernel.  Each pixel of the result,
    [B,H,W,C] of the given size, is the sum of what the taps that see it have for it.
    """

    def edges(axis, tap, outputs):
        low = tap * dilation[axis] - pads[axis][0]
        covered = low + (outputs - 1) * strides[axis] + 1
        return low, size[axis] - covered, strides[axis] - 1

    h, w = taps[0].shape[1:3]
    zero = jnp.zeros((), taps[0].dtype)
    positions = itertools.product(*map(range, kernel_size))
    placed = [
        lax.pad(tap, zero, ((0, 0, 0), edges(0, u, h), edges(1, v, w), (0, 0, 0)))
        for tap, (u, v) in zip(taps, positions, strict=True)
    ]
    return functools.reduce(operator.add, placed)
