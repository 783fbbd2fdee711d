"""The arithmetic of layers: sizes, parameters, memory.

For whole models see `models.measures`, and `ops.receptive_field`.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxvision.errors import UsageError, check
from jaxvision.ops.convolution import Geometry


def output_size(
    size: int,
    window: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    whole: bool = False,
) -> int:
    """`(W - F + 2P) / S + 1`: the outputs of a window of F that slides over W pixels.

    `dilation` makes the window (F - 1)·dilation + 1 pixels long.  Pixels that do not
    fill a last window are left out, as convolution and pooling do, or are an error with
    `whole`.

    Raises `UsageError` for a window that does not fit at all, and with `whole` for a
    division with a remainder, with the next settings that have none.
    """
    check(
        *(
            (value >= least, f"{name} must be at least {least}, got {value}")
            for name, value, least in (
                ("size", size, 1),
                ("window", window, 1),
                ("stride", stride, 1),
                ("padding", padding, 0),
                ("dilation", dilation, 1),
            )
        )
    )
    extent = (window - 1) * dilation + 1
    room = size + 2 * padding - extent
    check(
        (
            room >= 0,
            f"a window of {extent} pixels is larger than {size} pixels with {padding} "
            "of padding on both sides: use a smaller window or more padding",
        )
    )
    if whole and room % stride:
        raise UsageError(
            f"(W - F + 2P) / S + 1 = ({size} - {extent} + 2·{padding}) / {stride} + 1 "
            f"is no whole number: {_fitting(size, extent, stride, padding)}"
        )
    both = (padding, padding)
    geometry = Geometry((stride, stride), (both, both), (dilation, dilation))
    return geometry.output_size((size, size), (window, window))[0]


def _fitting(size: int, extent: int, stride: int, padding: int) -> str:
    """What could be changed, alone, for windows to fit."""
    room = size + 2 * padding - extent
    strides = [s for s in range(1, room + 1) if room % s == 0]
    near = min(strides, key=lambda s: abs(s - stride))
    more = next(
        (p for p in range(padding + 1, padding + stride + 1)
         if (size + 2 * p - extent) % stride == 0), None,
    )  # fmt: skip
    words = [f"use stride {near}"]
    words += [] if more is None else [f"padding {more}"]
    words.append(f"{size - room % stride} or {size + stride - room % stride} pixels")
    return ", or ".join(words)


def convolution_parameters(
    window: tuple[int, int], channels: int, filters: int, *, bias: bool = True
) -> int:
    """Weights of a convolution: its kernels and, with `bias`, one number for each."""
    return (math.prod(window) * channels + bias) * filters


def local_parameters(
    window: tuple[int, int],
    channels: int,
    filters: int,
    output: tuple[int, int],
    *,
    bias: bool = True,
) -> int:
    """The same if every position of the output had kernels of its own."""
    shared = convolution_parameters(window, channels, filters, bias=bias)
    return shared * math.prod(output)


def dense_parameters(widths: Sequence[int], *, bias: bool = True) -> int:
    """Weights of fully connected layers, from the inputs to the outputs."""
    return sum((a + bias) * b for a, b in itertools.pairwise(widths))


class Memory(NamedTuple):
    """Bytes that the maps of a chain of layers take, for one image."""

    forward: int
    """At least, for predictions: the largest two that follow each other, since those
    before may be forgotten."""
    backward: int
    """At least, for training: all of them, since the gradients need them again."""


def memory(elements: Sequence[int], *, bytes_each: int = 4) -> Memory:
    """Of maps with so many elements, from the input on, one after the other.

    What is kept besides (weights, moments of the optimiser, buffers of convolutions) is
    not in it.
    """
    check((len(elements) > 0, "there are no maps"))
    pairs = zip(elements, [*elements[1:], 0], strict=True)
    forward = max(a + b for a, b in pairs)
    return Memory(bytes_each * forward, bytes_each * sum(elements))
