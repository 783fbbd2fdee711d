"""`python -m jaxvision sweep`: one experiment for several seeds and values."""

import itertools
import json
import math
import re
import signal
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from jaxvision.errors import UsageError, check
from jaxvision.files import Damaged, plain, read_object, replace_text
from jaxvision.measures import Measure
from jaxvision.notices import EXIT_AGAIN
from jaxvision.printing import make_console
from jaxvision.runs import programs
from jaxvision.runs.launch import Children
from jaxvision.runs.record import measured, number


class Run(NamedTuple):
    """One run of a sweep."""

    point: Mapping[str, str]
    """Values by field, as they were given."""
    seed: int
    series: str
    """The path that the runs of a point share; the seed completes it."""

    @property
    def workdir(self) -> Path:
        return Path(f"{self.series}{self.seed}")

    def result(self) -> dict[str, Any] | None:
        """Its record, if it is finished; a damaged one is made anew by the run."""
        try:
            return read_object(self.workdir / "result.json", ("seed", "wall_seconds"))
        except Damaged:
            return None


def sweep(
    experiment: str,
    seeds: int,
    grid: Sequence[str],
    workdir: Path | None,
    options: Sequence[str] = (),
    *,
    vmap_seeds: bool = False,
) -> list[dict[str, Any]]:
    """Run every seed of every point of the grid, one after the other.

    `experiment` is known as in `programs`.
    With `vmap_seeds`, the seeds of a point are trained in one process and in lockstep,
    with the same records as else.
    Runs that are finished are not repeated and the one that was interrupted continues,
    so the same command continues a sweep.  Writes `sweep.json` and prints the means.
    A run that fails is reported, and the others go on; the exit code is then 1.
    Signals are passed on to the run, and the sweep ends with its code.
    """
    check((seeds >= 1, f"seeds must be at least 1, got {seeds}"))
    workdir = workdir or default_workdir(experiment)
    fields = parse_grid(grid)
    runs = [
        run
        for values in itertools.product(*fields.values())
        for run in runs_of(dict(zip(fields, values, strict=True)), seeds, workdir)
    ]
    console, failed = make_console(), []
    for group in groups(runs, vmap_seeds):
        place = f"run {runs.index(group[0]) + 1} of {len(runs)}"
        failed += carry_out(console, experiment, group, options, place)
    return report(console, workdir, runs, failed)


def default_workdir(experiment: str) -> Path:
    """Of the sweeps of an experiment."""
    return Path("runs", "sweeps", programs.name_of(experiment))


def carry_out(
    console: Console,
    experiment: str,
    group: Sequence[Run],
    options: Sequence[str],
    place: str,
) -> list[Run]:
    """Make the runs of a group in a process of their own; those that failed.

    Ends this process with code of that one if it was interrupted.
    """
    first, *others = group
    names = first.workdir.name + "".join(f", seed{run.seed}" for run in others)
    console.rule(f"{place}: {names}")
    with Children() as children:
        code = children.start(_command(experiment, group, options)).wait()
    if code in (130, -signal.SIGINT, EXIT_AGAIN):
        console.print("interrupted: the same command continues the sweep")
        sys.exit(EXIT_AGAIN if code == EXIT_AGAIN else 130)
    if code == 0:
        return []
    lost = [run for run in group if run.result() is None]
    names = ", ".join(run.workdir.name for run in lost)
    console.print(f"{names} ended with code {code}")
    return lost


def report(
    console: Console, workdir: Path, runs: Sequence[Run], failed: Sequence[Run]
) -> list[dict[str, Any]]:
    """Write `sweep.json` and print the means; exit with code 1 if a run failed."""
    summary = summarise(runs)
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(summary), indent=2)
    replace_text(workdir / "sweep.json", text + "\n")
    _print(console, summary)
    console.print(f"all results are in {workdir / 'sweep.json'}")
    if failed:
        console.print(f"{len(failed)} of {len(runs)} runs failed", style="bold")
        sys.exit(1)
    return summary


def parse_grid(grid: Sequence[str], option: str = "--grid") -> dict[str, list[str]]:
    """`["peak_lr=1e-3,2e-3"]` as values by field.  Raises `UsageError`."""
    values: dict[str, list[str]] = {}
    for text in grid:
        field, _, found = text.partition("=")
        field = field.strip().lstrip("-").replace("-", "_")
        parts = [part.strip() for part in found.split(",")]
        if not field.isidentifier() or not all(parts):
            raise UsageError(
                f"cannot read {option} {text!r}: write field=value,value, such as "
                "peak_lr=1e-3,2e-3"
            )
        check(
            (field != "seed", f"the seeds are given with --seeds, not with {option}"),
            (field not in values, f"{field} is given twice in {option}"),
            (len(set(parts)) == len(parts), f"a value of {field} is given twice"),
        )
        values[field] = parts
    return values


def summarise(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each point: mean, standard deviation and values of each test metric."""
    summary = []
    for point, group in itertools.groupby(runs, key=lambda run: run.point):
        results = [result for run in group if (result := run.result()) is not None]
        metrics = {
            name: {
                "measure": measure._asdict(),
                "mean": statistics.fmean(values),
                "std": _deviation(values),
                "values": values,
            }
            for name, measure in (measured(results[0]) if results else {}).items()
            if not name.startswith("validation_")
            for values in [[number(result, name) for result in results]]
        }
        summary.append(
            {
                "point": dict(point),
                "seeds": [result["seed"] for result in results],
                "metrics": metrics,
                # Runs in lockstep took the same seconds.
                "wall_seconds": sum(
                    result["wall_seconds"] / len(result.get("vmap_seeds", "1"))
                    for result in results
                ),
            }
        )
    return summary


def _deviation(values: Sequence[float]) -> float | None:
    """Of the sample; NaN, as the mean, if a run has ended with NaN or infinity."""
    if len(values) < 2:
        return None
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def runs_of(point: Mapping[str, str], seeds: int, workdir: Path) -> list[Run]:
    """The runs of a point, which its values name."""
    words = [f"{field}={value}" for field, value in point.items()]
    name = re.sub(r"[^\w.=+-]", "_", "-".join([*words, "seed"]))
    return [Run(point, seed, str(workdir / name)) for seed in range(seeds)]


def groups(runs: Sequence[Run], vmap_seeds: bool) -> Iterator[list[Run]]:
    """What one process does: a run that is not finished, or those of a point."""
    for _, group in itertools.groupby(runs, key=lambda run: run.point):
        left = [run for run in group if run.result() is None]
        if vmap_seeds and left:
            yield left
        else:
            yield from ([run] for run in left)


def _command(experiment: str, runs: Sequence[Run], options: Sequence[str]) -> list[str]:
    """For one run, or for several of a point at once."""
    seeds = [str(run.seed) for run in runs]
    fields = {name: [value] for name, value in runs[0].point.items()}
    if len(runs) == 1:
        fields |= {"seed": seeds, "workdir": [str(runs[0].workdir)]}
    else:
        fields |= {"vmap_seeds": seeds, "workdir": [f"{runs[0].series}{{seed}}"]}
    words = [w for k, v in fields.items() for w in (f"--{k.replace('_', '-')}", *v)]
    return [sys.executable, *programs.words(experiment), *words, *options]


def _print(console: Console, summary: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    for field in summary[0]["point"]:
        table.add_column(field)
    metrics = next((list(row["metrics"]) for row in summary if row["metrics"]), [])
    for name in ("seeds", *metrics, "seconds"):
        table.add_column(name.replace("_", " "), justify="right")
    for row in summary:
        cells = [_cell(row["metrics"].get(name)) for name in metrics]
        seconds = f"{row['wall_seconds']:,.0f}"
        table.add_row(*row["point"].values(), str(len(row["seeds"])), *cells, seconds)
    console.print(table)


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return Measure(**found["measure"]).words(found["mean"], found["std"])
