"""What the numbers in logs and records are: unit, direction, digits.  Needs no JAX."""

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Measure(NamedTuple):
    """What a number is that a task measures.  Said once, by the task; the log, tables,
    curves, sweeps and the choice of the best checkpoint ask it."""

    name: str
    """Of the metric, as `Task.compute` returns it: `"accuracy"`."""
    unit: str = ""
    """`"%"` for a share in [0, 1], which is shown in percent; else such as `"dB"`."""
    better: Literal["higher", "lower"] | None = None
    """None: neither; then no checkpoint can be chosen by it."""
    decimals: int = 4
    """Digits after the point where it is shown, in the unit."""

    def number(self, value: float) -> str:
        """The value in the unit, without naming it: 0.98765 as `98.77`."""
        return f"{100 * value if self.unit == '%' else value:.{self.decimals}f}"

    def words(self, value: float, deviation: float | None = None) -> str:
        """Such as `98.77 %`, or `98.77 ± 0.21 %` with a standard deviation."""
        text = self.number(value)
        if deviation is not None:
            text += f" ± {self.number(deviation)}"
        return f"{text} {self.unit}".rstrip()


GRADIENT_NORM = Measure("gradient_norm")
"""Euclidean, of all parameters together, before any clipping: its mean over the steps
of a row of the log."""
LEARNING_RATE = Measure("learning_rate", decimals=6)
"""Of the last step of a row."""


def measure_of(key: str, measures: Iterable[Measure]) -> Measure:
    """The measure behind a key of a log or record, such as `validation/average/loss` or
    `test_top5_accuracy`: the one whose name is the longest end of the key in whole
    words.  What no task has described is a plain number."""
    fitting = [
        measure
        for measure in measures
        if key == measure.name or key.endswith((f"/{measure.name}", f"_{measure.name}"))
    ]
    return max(fitting, key=lambda measure: len(measure.name), default=Measure(key))
