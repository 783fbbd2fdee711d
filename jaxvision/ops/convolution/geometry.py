"""How a window slides over a map: strides, padding, dilation, and what it meets."""

import functools
import itertools
import operator
from collections.abc import Iterator, Sequence

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


class WindowError(UsageError):
    """A window is larger than the map that it should slide over."""


def pair(name: str, value: Pair) -> Two:
    """`2 -> (2, 2)` and `(2, 1) -> (2, 1)`, or a `UsageError` that says the name."""
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

    Raises `UsageError` when the padding is none of the known kinds, and its kind
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
    """The value around the maps, or a crop where a number is negative, in memory."""
    if pads == ((0, 0), (0, 0)):
        return x_BxHxWxC
    edges = ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0))
    padded = lax.pad(x_BxHxWxC, jnp.asarray(value, x_BxHxWxC.dtype), edges)
    # The barrier keeps XLA from folding the padding back into its consumers.
    return lax.optimization_barrier(padded)


def windows(
    padded_BxHxWxC: Array, reach: Sequence[int], strides: Two, dilation: Two
) -> Iterator[Array]:
    """What each tap in turn meets of the padded maps, as [B,h,w,C]."""
    h, w = (
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(
            padded_BxHxWxC.shape[1:3], reach, strides, dilation, strict=True
        )
    )
    for u, v in itertools.product(*map(range, reach)):
        top, left = u * dilation[0], v * dilation[1]
        down = slice(top, top + (h - 1) * strides[0] + 1, strides[0])
        across = slice(left, left + (w - 1) * strides[1] + 1, strides[1])
        yield padded_BxHxWxC[:, down, across]


def unwindow(
    taps: Sequence[Array],
    size: Sequence[int],
    reach: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two,
) -> Array:
    """Maps of `size` that hold at every pixel the sum of what the taps have for it.

    The transpose of `windows` after `pad`: each tap is an array [B,h,w,C].
    """

    def edges(axis, tap, outputs):
        low = tap * dilation[axis] - pads[axis][0]
        covered = low + (outputs - 1) * strides[axis] + 1
        return low, size[axis] - covered, strides[axis] - 1

    h, w = taps[0].shape[1:3]
    zero = jnp.zeros((), taps[0].dtype)
    places = itertools.product(*map(range, reach))
    placed = [
        lax.pad(tap, zero, ((0, 0, 0), edges(0, u, h), edges(1, v, w), (0, 0, 0)))
        for tap, (u, v) in zip(taps, places, strict=True)
    ]
    return functools.reduce(operator.add, placed)
