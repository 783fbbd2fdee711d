"""What a run would do, told before it is started: `--dry-run` and `--max-batch`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from jaxvision.engine import costs, sharding
from jaxvision.engine.compilation import CompileClock
from jaxvision.engine.state import count
from jaxvision.engine.step import Constants, abstract_item, make_init
from jaxvision.errors import UsageError
from jaxvision.runs import advice
from jaxvision.types import Experiment

FEW = 20
"""Up to so many parameters are shown one by one."""

ASSUMED_UTILISATION = 0.3
"""Of the peak, where a time has to be estimated without running anything."""


def examine(
    console: Console, config: Mapping[str, Any], experiment: Experiment, mesh: Mesh
) -> None:
    """Print config, data, mesh, parameters, memory, operations and estimated time."""
    clock, train = CompileClock(), experiment.train
    resident = train.resident()
    init = make_init(experiment, mesh, Constants(resident, experiment.task.frozen()))
    state = init.state
    found = costs.memory(experiment, mesh, resident)
    flops_per_image = costs.flops_per_image(experiment, mesh, resident)
    item = abstract_item(train)
    batch = jax.eval_shape(train.fetch, resident, item, jax.random.key(0))
    device = sharding.describe(mesh)
    prefixes = ("config_", "numerics_")

    _rows(
        console,
        "config",
        {
            name.removeprefix(
                next((p for p in prefixes if name.startswith(p)), "")
            ): str(value)
            for name, value in config.items()
        },
    )
    _rows(
        console,
        "data",
        {
            "train": f"{train.name}: {train.num_examples:,} examples, "
            f"{train.num_batches:,} batches of {train.batch_size}",
            "validation": f"{experiment.validation.num_examples:,} examples",
            "test": f"{experiment.test.num_examples:,} examples",
            **{name: _shape(array) for name, array in batch.items()},
        },
    )
    _rows(
        console,
        "devices",
        {
            "mesh": f"{sharding.describe_axes(mesh)}: {mesh.size} × {device['device']} "
            f"in {jax.process_count()} process(es)",
            "each batch": f"{train.batch_size // sharding.batch_shares(mesh)} examples "
            f"on each device, in {experiment.accumulate} part(s)",
        },
    )
    table = Table(box=None, header_style="bold", title="parameters", title_style="bold")
    table.add_column("path", no_wrap=True)
    table.add_column("shape")
    table.add_column("split over")
    table.add_column("bytes per device", justify="right")
    for path, shape, split, size in _by_module(costs.parameter_table(state)):
        table.add_row(path, shape, split, f"{size:,}")
    console.print(table)

    peak = costs.peak_flops(device["device"])
    flops = flops_per_image * train.batch_size
    if peak:
        seconds = experiment.steps * flops / (peak * mesh.size * ASSUMED_UTILISATION)
        share = f"{ASSUMED_UTILISATION:.0%} of {peak / 1e12:,.0f} TFLOP/s"
        time = f"{seconds / 60:,.1f} min at {share}"
    else:
        time = f"the peak of {device['device']} is not known: see images/s of a run"
    _rows(
        console,
        "costs",
        {
            "parameters": f"{count(state.params):,}",
            "state per device": _megabytes(found.state_bytes),
            "data per device": _megabytes(found.resident_bytes),
            "activations per device": _megabytes(found.working_bytes),
            "FLOPs per image": f"{flops_per_image:,.0f}",
            "FLOPs per step": f"{flops:,.0f}",
            "steps": f"{experiment.steps:,}",
            "compilation": f"{clock():.1f} s",
            "estimated time": time,
        },
    )
    for words in advice.before_training(experiment):
        console.print(f"warning: {words}")


def _by_module(
    rows: Sequence[tuple[str, str, str, int]],
) -> list[tuple[str, str, str, int]]:
    """Of many parameters one row for those of a module that are split alike."""
    if len(rows) <= FEW:
        return list(rows)
    groups: dict[tuple[str, str], list[int]] = {}
    for path, _, split, size in rows:
        groups.setdefault((path.partition("/")[0], split), []).append(size)
    return [
        (module, f"{len(sizes)} array" + "s" * (len(sizes) > 1), split, sum(sizes))
        for (module, split), sizes in groups.items()
    ]


def max_batch(
    console: Console,
    remake: Callable[[int], Experiment],
    mesh: Mesh,
    start: int,
    limit: float,
) -> int:
    """The largest batch whose step fits into `limit` bytes of each device.

    Asks the compiler, in steps of a power of two and then by bisection; nothing is
    trained, and nothing crashes.  `remake` builds the experiment with a batch size,
    which need not be larger than its data allow.
    """

    first = remake(start)
    resident = first.train.resident()  # the same data, whatever the batch

    def needed(size: int) -> float:
        try:
            experiment = remake(size)
        except UsageError as error:
            console.print(f"batch {size:>7,}: {error}")
            return float("inf")
        total = costs.memory(experiment, mesh, resident).total
        words = "fits" if total <= limit else "does not fit"
        console.print(f"batch {size:>7,}: {_megabytes(total)} per device, {words}")
        return total

    unit = sharding.batch_shares(mesh) * first.accumulate
    size = max(start - start % unit, unit)
    while needed(size) > limit:
        if size == unit:
            raise UsageError(
                f"not even a batch of {unit} fits into {_megabytes(limit)} per device: "
                "use more devices along fsdp, --remat or --precision bf16"
            )
        size = max(size // 2 - size // 2 % unit, unit)
    low, high = size, 2 * size
    while needed(high) <= limit:
        low, high = high, 2 * high
    # Fine enough: within an eighth of the answer.
    while high - low > max(unit, low // 8):
        middle = (low + high) // 2
        middle -= middle % unit
        low, high = (middle, high) if needed(middle) <= limit else (low, middle)
    console.print(f"the largest batch is {low:,}: --batch-size {low}", style="bold")
    return low


def _rows(console: Console, title: str, rows: Mapping[str, str]) -> None:
    table = Table(box=None, show_header=False, title=title, title_style="bold")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def _shape(array) -> str:
    return "×".join(map(str, array.shape)) + f" {array.dtype}"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
