"""`run(build, Config)`: what an experiment file calls to become a program.

It parses the command line, checks everything that can be checked before long work
starts, trains in a run directory, tests the best checkpoint once, draws the pictures
and writes the result record.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import inspect
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from jaxvision import record, visualise
from jaxvision.engine import compilation, sharding
from jaxvision.engine.checkpoint import CheckpointError
from jaxvision.engine.evaluate import make_evaluate, predict
from jaxvision.engine.logging import read_rows
from jaxvision.engine.loop import Diverged, Fit, Interrupted, fit
from jaxvision.engine.state import count, digest
from jaxvision.errors import UsageError
from jaxvision.files import replace_text
from jaxvision.types import Experiment, Pipeline, Reference


@dataclasses.dataclass(frozen=True)
class Launch:
    """Where and how a run happens: nothing that changes what is learned."""

    workdir: Path | None = None
    """Run directory.  One with an unfinished run of the same config is continued.
    Default: runs/<experiment>/<date-time>."""
    devices: int | None = None
    """How many of the local devices share the work.  Default: all."""
    smoke: bool = False
    """Shrink the experiment to a few seconds, to see that it works from end to end."""


def run(
    build: Callable[[Any], Experiment],
    Config: type,
    *,
    smoke: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Train, test and record the experiment that the command line asks for.

    Args:
      build: makes the experiment from a config.  Must be cheap: it describes data and
        does not read them.
      Config: a frozen dataclass.  Each field is an option; its docstring is the help.
      smoke: the values of fields that make `--smoke` take a few seconds, offline.
      arguments: the command line; None: that of the process.

    Returns the content of `result.json`.  A mistake of the user ends the process with
    code 2 and one message, a diverged loss with 3, a failed checkpoint with 4, and
    Ctrl-C or SIGTERM with 130 after saving.
    """
    command = _parse(build, Config, smoke, arguments)
    with _exit_codes():
        workdir = command.launch.workdir or _default_workdir(command.name)
        return _execute(build, command, command.config, workdir)


def run_variants(
    build: Callable[[Any], Experiment],
    Config: type,
    variants: Mapping[str, Mapping[str, Any]],
    *,
    smoke: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Like `run`, once for each variant: named overrides of the config.

    Each has a run directory of its own below the work directory, which also gets
    `compare.png` with their curves side by side.
    """
    command = _parse(build, Config, smoke, arguments)
    with _exit_codes():
        workdir = command.launch.workdir or _default_workdir(command.name)
        results = {}
        for name, overrides in variants.items():
            command.console.rule(name)
            config = dataclasses.replace(command.config, **overrides)
            results[name] = _execute(
                build, command, config, workdir / name, variant=name
            )
        histories = {
            name: read_rows(workdir / name / "metrics.jsonl") for name in variants
        }
        visualise.save(visualise.compare(histories), workdir / "compare.png")
        command.console.print(f"comparison in {workdir / 'compare.png'}")
        return results


@dataclasses.dataclass(frozen=True)
class _Command:
    name: str
    program: str
    arguments: list[str]
    config: Any
    launch: Launch
    console: Console


def _parse(build, Config, smoke, arguments) -> _Command:
    file = inspect.getfile(build)
    program = record.program_name(file)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # Smoke only changes defaults: what is given explicitly still counts.
    defaults = Config(**smoke) if "--smoke" in arguments else Config()
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", tyro.conf.OmitArgPrefixes[Config], defaults),  # type: ignore[misc]
            ("launch", tyro.conf.OmitArgPrefixes[Launch], Launch()),
        ],
    )
    parsed: Any = tyro.cli(
        options,
        prog=f"python -m {program}",
        description=inspect.getdoc(inspect.getmodule(build)),
        args=arguments,
    )
    return _Command(
        name=Path(file).stem,
        program=program,
        arguments=arguments,
        config=parsed.config,
        launch=parsed.launch,
        console=Console(highlight=False, soft_wrap=True),
    )


def _execute(
    build, command: _Command, config, workdir: Path, *, variant: str | None = None
) -> dict[str, Any]:
    """One run, from its checks to its record.  Raises the keys of `EXIT_CODES`."""
    started = time.perf_counter()
    console, result_file = command.console, workdir / "result.json"
    identity = {
        "experiment": command.name,
        **({} if variant is None else {"variant": variant}),
        "smoke": command.launch.smoke,
        **{f"config_{k}": v for k, v in dataclasses.asdict(config).items()},
    }
    _check_same_config(workdir, identity)
    if result_file.exists():
        console.print("this run is finished: there is nothing left to do")
        result = json.loads(result_file.read_text(encoding="utf-8"))
        _print_result(console, result, workdir)
        return result

    compilation.enable_cache()
    clock = compilation.CompileClock()
    mesh = sharding.make_mesh(command.launch.devices)
    experiment = build(config)
    sharding.check_batch(mesh, experiment.train.batch_size)
    device = sharding.describe(mesh)
    with _locked(workdir):
        replace_text(workdir / "config.json", json.dumps(identity, indent=2) + "\n")
        console.print(_headline(command.name, experiment, device, workdir))
        fitted = fit(
            experiment, workdir, mesh=mesh, console=console, compile_seconds=clock
        )
        metrics = _test_and_draw(experiment, fitted, mesh, workdir)
        result = {
            **identity,
            **{f"test_{k}": v for k, v in metrics.items() if np.ndim(v) == 0},
            **_best_validation(workdir, int(fitted.best.step)),
            # "mnist:test" is the test split of "mnist".
            "dataset": experiment.test.name.rpartition(":")[0],
            "seed": experiment.seed,
            "steps": experiment.steps,
            "epochs": experiment.steps / experiment.train.num_batches,
            "batch_size": experiment.train.batch_size,
            "parameters": count(fitted.last.params),
            "params_digest": digest(fitted.last.params),
            "best_step": int(fitted.best.step),
            "best_params_digest": digest(fitted.best.params),
            "wall_seconds": fitted.earlier_seconds + time.perf_counter() - started,
            "train_seconds": fitted.train_seconds,
            "images_per_second": fitted.trained_images / fitted.train_seconds,
            "compile_seconds": clock(),
            **device,
            "hardware": record.hardware(**device),
            **record.provenance(command.program, command.arguments),
            **_reference(experiment.reference),
            "finished_at": datetime.datetime.now(datetime.UTC).isoformat(
                "T", "seconds"
            ),
        }
        replace_text(result_file, json.dumps(result, indent=2) + "\n")
    _print_result(console, result, workdir)
    return result


def _test_and_draw(
    experiment: Experiment, fitted: Fit, mesh: sharding.Mesh, workdir: Path
) -> dict[str, Any]:
    """Metrics of the best checkpoint on the test set; draws the pictures.

    What is not a single number, such as the accuracy of each class, goes into
    `test_metrics.json` and not into the record.
    """
    model, task, test = experiment.model, experiment.task, experiment.test
    arrays = test.resident()
    resident = sharding.place_resident(mesh, arrays)
    best = (fitted.best.params, fitted.best.model_state)
    metrics = make_evaluate(model, task, test, resident, mesh)(*best)

    rows = read_rows(workdir / "metrics.jsonl")
    best_step = int(fitted.best.step)
    figures = {"curves.png": visualise.curves(rows, best_step=best_step)}
    if experiment.pictures is not None:
        predictions = predict(model, task, test, resident, mesh, *best)
        figures |= experiment.pictures(arrays or _streamed(test), predictions, metrics)
    for name, figure in figures.items():
        visualise.save(figure, workdir / name)
    lists = {name: np.asarray(value).tolist() for name, value in metrics.items()}
    replace_text(workdir / "test_metrics.json", json.dumps(lists) + "\n")
    return metrics


def _streamed(pipeline: Pipeline) -> Mapping[str, np.ndarray]:
    """What the items of an evaluation hold, in order and without the padding."""
    items = [
        {name: array[item["mask"]] for name, array in item.items()}
        for item in pipeline.items()
    ]
    return {name: np.concatenate([item[name] for item in items]) for name in items[0]}


def _default_workdir(name: str) -> Path:
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / name / now


def _check_same_config(workdir: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a run directory whose checkpoints belong to another config."""
    file = workdir / "config.json"
    if not file.exists() or not any((workdir / "checkpoints").glob("[0-9]*")):
        return
    identity = json.loads(json.dumps(identity))
    before = json.loads(file.read_text(encoding="utf-8"))
    differing = [
        f"  {name.removeprefix('config_')}: was {before.get(name)!r}, "
        f"now {identity.get(name)!r}"
        for name in sorted(before | identity)
        if before.get(name) != identity.get(name)
    ]
    if differing:
        raise UsageError(
            f"{workdir} holds a run with another config:\n"
            + "\n".join(differing)
            + "\nrepeat its options to continue it, or choose a new --workdir"
        )


@contextlib.contextmanager
def _locked(workdir: Path):
    """Hold the run directory against other processes.  Raises `UsageError`."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = (workdir / ".lock").open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the run directory {workdir} cannot be written ({error.strerror}): choose "
            "another --workdir"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"another process is running in {workdir}: wait for it, or choose "
                "another --workdir"
            ) from error
        yield


def _headline(
    name: str, experiment: Experiment, device: Mapping[str, Any], workdir: Path
) -> str:
    return (
        f"[bold]{name}[/]: {experiment.train.num_examples:,} images to train, "
        f"{experiment.validation.num_examples:,} to validate, "
        f"{experiment.test.num_examples:,} to test; {experiment.steps:,} steps of "
        f"{experiment.train.batch_size} on {device['device_count']} × "
        f"{device['device']}; in {workdir}"
    )


def _best_validation(workdir: Path, step: int) -> dict[str, Any]:
    """`validation_…` metrics of the best checkpoint."""
    prefix = "validation/"
    return {
        "validation_" + name.removeprefix(prefix): value
        for row in read_rows(workdir / "metrics.jsonl")
        if row["step"] == step
        for name, value in row.items()
        if name.startswith(prefix)
    }


def _reference(reference: Reference | None) -> dict[str, Any]:
    if reference is None:
        return {}
    return {f"reference_{k}": v for k, v in reference._asdict().items()}


def _print_result(console: Console, result: Mapping[str, Any], workdir: Path) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in result.items():
        if name.startswith(("test_", "validation_")):
            words = f"{value:.2%}" if "accuracy" in name else f"{value:.4f}"
            table.add_row(name.replace("_", " "), words)
    table.add_row("parameters", f"{result['parameters']:,}")
    table.add_row("best step", f"{result['best_step']:,} of {result['steps']:,}")
    table.add_row("training", f"{result['images_per_second']:,.0f} images/s")
    table.add_row("compilation", f"{result['compile_seconds']:.1f} s")
    table.add_row("wall time", f"{result['wall_seconds']:.1f} s")
    console.print(table)
    console.print(f"results and pictures are in {workdir}")


EXIT_CODES = {
    UsageError: 2,
    Diverged: 3,
    CheckpointError: 4,
    Interrupted: 130,
    KeyboardInterrupt: 130,
}


@contextlib.contextmanager
def _exit_codes():
    """Ends the process with a message and a code of its own for what may go wrong."""
    try:
        yield
    except tuple(EXIT_CODES) as error:
        code = next(c for kind, c in EXIT_CODES.items() if isinstance(error, kind))
        print(str(error) or "interrupted", file=sys.stderr)
        raise SystemExit(code) from None
