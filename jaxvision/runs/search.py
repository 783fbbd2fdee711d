"""`python -m jaxvision sweep --space`: points chosen at random or by those before.

Optuna proposes each point.  What it knows is what the finished runs have recorded, and
its random numbers depend on the seed and the number of the trial alone, so a search
that was interrupted goes on as if it had not been.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.console import Console

from jaxvision.errors import UsageError, check
from jaxvision.files import replace_text
from jaxvision.measures import Measure, measure_of
from jaxvision.printing import make_console
from jaxvision.runs.record import measures_of, number
from jaxvision.runs.sweep import (
    Run,
    carry_out,
    default_workdir,
    groups,
    parse_grid,
    report,
    runs_of,
)

Sampler = Literal["tpe", "random"]


class Range(NamedTuple):
    """The numbers from `low` to `high`, both included."""

    kind: Literal["log", "linear", "int"]
    low: float
    high: float

    def text(self, value: float) -> str:
        """The value to three digits, as a command line takes it."""
        if self.kind == "int":
            return str(int(value))
        near = f"{value:.3g}"
        return near if self.low <= float(near) <= self.high else repr(value)


Space = Mapping[str, Range | list[str]]
"""By field: numbers of a range, or one of several values."""


class Trial(NamedTuple):
    """A point, and the mean over its seeds of the monitored validation metric."""

    point: Mapping[str, str]
    value: float | None
    """None: not every seed has finished."""


def search(
    experiment: str,
    seeds: int,
    space: Sequence[str],
    trials: int,
    workdir: Path | None,
    options: Sequence[str] = (),
    *,
    sampler: Sampler = "tpe",
    sampler_seed: int = 0,
    vmap_seeds: bool = False,
) -> list[dict[str, Any]]:
    """Run every seed of `trials` points and print the best one.

    The points are chosen to make the metric that each run monitors on its validation
    split better: at random, or by a tree-structured Parzen estimator (Bergstra et al.
    2011, https://papers.nips.cc/paper/4443).  Writes the trials to `search.json` and
    what `sweep` writes; the same command, also with more trials, continues a search.
    A run that fails is reported, and the others go on; the exit code is then 1.
    """
    check(
        (seeds >= 1, f"seeds must be at least 1, got {seeds}"),
        (trials >= 1, f"trials must be at least 1, got {trials}"),
        (sampler_seed >= 0, f"--sampler-seed must not be negative, got {sampler_seed}"),
    )
    dimensions = parse_space(space)
    _optuna()
    workdir = workdir or default_workdir(experiment)
    file = workdir / "search.json"
    identity = {"space": sorted(space), "sampler": sampler, "seed": sampler_seed}
    points = _known_points(file, identity)
    console = make_console()
    runs: list[Run] = []
    failed: list[Run] = []
    done: list[Trial] = []
    for place in range(trials):
        if place == len(points):
            entropy = (sampler_seed, place)
            points.append(_propose(dimensions, done, sampler, entropy, _measure(runs)))
        _write(file, identity, points, done)
        group = runs_of(points[place], seeds, workdir)
        for part in groups(group, vmap_seeds):
            words = f"trial {place + 1} of {trials}"
            failed += carry_out(console, experiment, part, options, words)
        runs += [run for run in group if run not in runs]
        done.append(Trial(points[place], _value(group)))
    _write(file, identity, points, done)
    _print_best(console, done, _measure(runs))
    return report(console, workdir, runs, failed)


def parse_space(space: Sequence[str]) -> dict[str, Range | list[str]]:
    """`["peak_lr=log:1e-4:1e-1", "batch_size=32,64"]` by field.

    Raises `UsageError` for what cannot be read.
    """
    found: dict[str, Range | list[str]] = {}
    for field, values in parse_grid(space, option="--space").items():
        kind, *ends = values[0].split(":")
        if len(values) > 1 or kind not in ("log", "linear", "int"):
            found[field] = values
            continue
        try:
            low, high = (int(end) if kind == "int" else float(end) for end in ends)
        except ValueError:
            raise UsageError(
                f"cannot read --space {field}={values[0]}: write "
                f"{field}={kind}:LOW:HIGH"
            ) from None
        check(
            (
                low < high and math.isfinite(high - low),
                f"--space {field}: the first number must be below the second, got "
                f"{low} and {high}",
            ),
            (
                kind != "log" or low > 0,
                f"--space {field}: a logarithmic range begins above zero, got {low}",
            ),
        )
        found[field] = Range(kind, low, high)  # type: ignore[arg-type]
    return found


def _known_points(file: Path, identity: Mapping[str, Any]) -> list[dict[str, str]]:
    """The points that the search in this folder has begun."""
    if not file.exists():
        return []
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        points = [dict(trial["point"]) for trial in before["trials"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}): remove it to begin the search anew; "
            "runs that are finished are not repeated"
        ) from error
    differing = [
        f"{name}: was {before.get(name)}, now {value}"
        for name, value in identity.items()
        if before.get(name) != value
    ]
    check(
        (
            not differing,
            f"{file} is of another search ({'; '.join(differing)}): repeat its options "
            "to continue it, or choose another --workdir",
        )
    )
    return points


def _write(
    file: Path,
    identity: Mapping[str, Any],
    points: Sequence[Mapping[str, str]],
    done: Sequence[Trial],
) -> None:
    values = [*(trial.value for trial in done), *[None] * (len(points) - len(done))]
    trials = [
        {"point": point, "value": value}
        for point, value in zip(points, values, strict=True)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps({**identity, "trials": trials}, indent=2) + "\n")


def _measure(runs: Sequence[Run]) -> Measure:
    """What the runs monitor; before the first one has finished, any."""
    for run in runs:
        result = run.result()
        if result is not None:
            measure = measure_of(result["monitor"], measures_of(result))
            return measure._replace(name=result["monitor"])
    return Measure("", better="lower")


def _value(group: Sequence[Run]) -> float | None:
    results = [run.result() for run in group]
    if None in results:
        return None
    return statistics.fmean(
        number(result, f"validation_{result['monitor'].replace('/', '_')}")
        for result in results
        if result is not None
    )


def _propose(
    space: Space,
    done: Sequence[Trial],
    sampler: Sampler,
    entropy: tuple[int, int],
    measure: Measure,
) -> dict[str, str]:
    """The next point, given the trials so far."""
    optuna = _optuna()
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    make = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    study = optuna.create_study(
        direction="maximize" if measure.better == "higher" else "minimize",
        sampler=make[sampler](seed=seed),
    )
    distributions = {name: _distribution(optuna, d) for name, d in space.items()}
    for trial in done:
        if trial.value is not None and np.isfinite(trial.value):
            study.add_trial(
                optuna.trial.create_trial(
                    params={
                        name: _number(space[name], trial.point[name]) for name in space
                    },
                    distributions=distributions,
                    value=trial.value,
                )
            )
    asked = study.ask(distributions).params
    return {
        name: each.text(asked[name]) if isinstance(each, Range) else asked[name]
        for name, each in space.items()
    }


def _number(dimension: Range | list[str], text: str) -> float | int | str:
    if not isinstance(dimension, Range):
        return text
    return int(text) if dimension.kind == "int" else float(text)


def _distribution(optuna, dimension: Range | list[str]):
    kinds = optuna.distributions
    if not isinstance(dimension, Range):
        return kinds.CategoricalDistribution(dimension)
    kind, low, high = dimension
    if kind == "int":
        return kinds.IntDistribution(low, high)
    return kinds.FloatDistribution(low, high, log=kind == "log")


def _optuna():
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            f"--space needs the package optuna ({error}): install it with "
            "pip install 'jaxvision-research[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _print_best(console: Console, done: Sequence[Trial], measure: Measure) -> None:
    finished = [each for each in done if each.value is not None]
    if not finished:
        return
    sign = 1 if measure.better == "higher" else -1
    best = max(finished, key=lambda trial: sign * (trial.value or 0.0))
    words = " ".join(f"--{k.replace('_', '-')} {v}" for k, v in best.point.items())
    assert best.value is not None
    console.print(
        f"best of {len(finished)}: {words}, with validation {measure.name} "
        f"{measure.words(best.value)}",
        markup=False,
    )
