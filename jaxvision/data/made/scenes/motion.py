"""A sequence: the digits of a scene in motion, each with its identity."""

import math

import numpy as np

from jaxvision.data.made.scenes.composition import (
    DEFAULT,
    Arrays,
    Digit,
    Layout,
    Stream,
    canvas_of,
    check_layout,
    draws_of,
)
from jaxvision.errors import check


def sequence(
    index: int,
    layout: Layout = DEFAULT,
    *,
    frames: int = 16,
    speed: float = 0.06,
    spin: float = 4,
    split: str = "train",
    seed: int = 0,
) -> Arrays:
    """T frames of the same digits, which move, rotate, hide each other and bounce.

    speed: most pixels per frame, as a share of the shorter side.
    spin: most degrees per frame.

    The arrays are those of `scene`, each with T rows.  Row m of the objects is the same
    one in every frame, and `identities` int32 [T,M] says so: m, or -1 where nothing of
    it is seen, because it is hidden or there is none; such rows are empty, as in
    `scene`.  The order in which digits cover each other does not change.
    """
    check_layout(layout, index, split, seed)
    check(
        (frames >= 1, f"frames must be positive, got {frames}"),
        (0 <= speed <= 0.5, f"speed must be from 0 to 0.5 of a side, got {speed}"),
    )
    draws = draws_of(Stream.MOTION, index, layout, split, seed)
    canvas, light = canvas_of(draws, layout, index, split, seed)
    fewest, most = layout.objects
    movers = []
    fastest = speed * min(layout.height, layout.width)
    for _ in range(fewest + draws.integer(most - fewest + 1)):
        digit = Digit.draw(draws, layout, split, light)
        start = digit.anywhere(draws, layout)
        way, pace = draws.uniform(0, 2 * math.pi), draws.uniform(fastest / 2, fastest)
        step = pace * math.cos(way), pace * math.sin(way)
        movers.append((digit, start, step, draws.uniform(-spin, spin)))

    seen = []
    for t in range(frames):
        frame = canvas.copy()
        for digit, start, step, turn in movers:
            x, y = (
                _bounce(at + t * change, digit.radius, side - digit.radius)
                for at, change, side in zip(
                    start, step, (layout.width, layout.height), strict=True
                )
            )
            turned = digit._replace(degrees=digit.degrees + t * turn)
            frame.paint(turned, x, y, max_hidden=1)
        seen.append(frame.annotated(most))
    arrays = {name: np.stack([frame[name] for frame in seen]) for name in seen[0]}
    rows = np.arange(most, dtype=np.int32)
    arrays["identities"] = np.where(arrays["classes"] < 0, np.int32(-1), rows)
    return arrays


def _bounce(x: float, low: float, high: float) -> float:
    """The position between two walls of what, without reflections, would be at `x`."""
    span = high - low
    return low + span - abs((x - low) % (2 * span) - span)
