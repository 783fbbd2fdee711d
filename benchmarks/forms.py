"""What each form of convolution on CPU is worth to a whole training step.

    python -m benchmarks.forms                              (about forty minutes)
    python -m benchmarks.forms --rows resnet20 --output resnet20.json

`jaxvision.ops.convolution.cpu` has tables of forms.  For every network and every line
of the tables that its training step meets, the step is compared with the same step when
the line is taken out, so that its convolutions fall to a later one.  In turns in the
same process, and both in programs that may call oneDNN and in those of `jax.jit`.

A ratio is the time without the line over the time with it: above 1 the line pays.  It
is given for wall time, and for the processor time of all threads, which other programs
on the machine disturb less.  A line that pays in no network by more than the noise
should go.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks import cli, records, speed, timing
from jaxvision import onednn
from jaxvision.errors import unknown
from jaxvision.ops.convolution import cpu

ROWS = {
    # shape of a batch, number of classes, steps in one dispatch
    "lenet5": ((128, 32, 32, 1), 10, 10),
    "resnet20": ((128, 32, 32, 3), 10, 2),
    "resnet18": ((64, 64, 64, 3), 1000, 2),
    "resnet18_cifar": ((64, 32, 32, 3), 10, 2),
    "resnet50": ((32, 64, 64, 3), 1000, 2),
    "resnext50_32x4d": ((16, 64, 64, 3), 1000, 2),
    "mobilenet_v2": ((64, 64, 64, 3), 1000, 2),
    "unet": ((16, 64, 64, 3), 2, 2),
}
JITS: dict[str, Callable[..., Any]] = {"onednn": onednn.jit, "jax": jax.jit}
TABLES = ("WHOLE", "OUTPUT", "INPUT_GRADIENT", "WEIGHT_GRADIENT")
RECORD = records.COMMITTED / "forms.json"

Line = tuple[str, str]
"""The name of a table, and that of a form in it."""


@dataclasses.dataclass(frozen=True)
class Config:
    rows: tuple[str, ...] = tuple(ROWS)
    """Networks to measure."""
    jits: tuple[str, ...] = tuple(JITS)
    """`onednn`: programs that may call oneDNN; `jax`: those of `jax.jit`."""
    lines: tuple[str, ...] = ()
    """Only these lines, such as `INPUT_GRADIENT patches`; none: all that are met."""
    rounds: int = 9
    """Turns of each side; the median of their ratios counts."""
    seconds: float = 0.5
    """Of each turn, about."""
    output: Path = RECORD
    """The numbers are written to this JSON file."""


def main(config: Config) -> int:
    for name in config.rows:
        if name not in ROWS:
            raise unknown("row", name, ROWS)
    for name in config.jits:
        if name not in JITS:
            raise unknown("kind of program", name, JITS)
    numbers = records.begin("forms")
    for row in config.rows:
        for jit in config.jits:
            numbers |= measure(row, jit, config)
            records.write(numbers, config.output)  # after each, since a run takes long
    return 0


def measure(row: str, jit: str, config: Config) -> dict[str, float]:
    """Seconds of a step of the network, and the ratios of every line that it meets."""
    shape, classes, steps = ROWS[row]
    step, state = speed.make_step(row, shape, classes)

    def make(traced_in: contextlib.ContextDecorator) -> Callable[[int], float]:
        def compiled(function, **options):
            return JITS[jit](traced_in(function), **options)

        return speed.timed(step, state, steps, compiled)[0]

    lines: set[Line] = set()
    complete = make(noting(lines))
    dispatches = max(1, round(config.seconds / (steps * complete(1))))
    numbers = {f"{row} {jit} seconds": complete(dispatches)}
    for table, form in sorted(lines):
        if form == last(table):
            continue  # suits everything, so that nothing would be left
        if config.lines and f"{table} {form}" not in config.lines:
            continue
        other = make(without((table, form)))
        wall, processor = [], []
        for _ in range(config.rounds):
            own, others = (clocked(side, dispatches) for side in (complete, other))
            wall.append(others[0] / own[0])
            processor.append(others[1] / own[1])
        name = f"{row} {jit} {table} {form}"
        found = {
            **timing.spread("ratio", wall),
            "processor_ratio": statistics.median(processor),
        }
        numbers |= {f"{name} {key}": value for key, value in found.items()}
        print(name, *(f"{k} {v:.3f}" for k, v in found.items()), sep="  ", flush=True)
    return numbers


def clocked(run: Callable[[int], float], dispatches: int) -> tuple[float, float]:
    """Seconds of wall time and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    run(dispatches)
    return time.perf_counter() - wall, time.process_time() - processor


def last(table: str) -> str:
    return getattr(cpu, table)[-1].name


@contextlib.contextmanager
def changed(
    change: Callable[[str, tuple[cpu.Form, ...]], tuple[cpu.Form, ...]],
) -> Iterator[None]:
    """With `change(name, forms)` for every table, until it is left."""
    before = {table: getattr(cpu, table) for table in TABLES}
    try:
        for table, forms in before.items():
            setattr(cpu, table, change(table, forms))
        yield
    finally:
        for table, forms in before.items():
            setattr(cpu, table, forms)


def noting(lines: set[Line]) -> contextlib.ContextDecorator:
    """Adds the lines that are chosen by what is traced meanwhile."""

    def noted(table: str, form: cpu.Form) -> cpu.Form:
        def function(*arguments):
            lines.add((table, form.name))
            return form.function(*arguments)

        return form._replace(function=function)

    return changed(lambda table, forms: tuple(noted(table, form) for form in forms))


def without(line: Line) -> contextlib.ContextDecorator:
    """What is traced meanwhile does without this line."""
    return changed(
        lambda table, forms: tuple(form for form in forms if (table, form.name) != line)
    )


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
