"""`run(build, Config)`: what an experiment file calls to become a program.

It parses the command line, checks everything that can be checked before long work
starts, trains in a run directory, tests the best checkpoint once, draws the pictures
and writes the result record.  With several processes each does the same, and the main
one alone writes.
"""

import contextlib
import dataclasses
import datetime
import functools
import inspect
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from jaxvision import visualise
from jaxvision.engine import compilation, costs, processes, sharding, signals
from jaxvision.engine.bad_loss import Diverged
from jaxvision.engine.checkpoint import CheckpointError
from jaxvision.engine.evaluate import average_too, make_evaluate, predict
from jaxvision.engine.lockstep import Lockstep, Step
from jaxvision.engine.logging import read_rows
from jaxvision.engine.loop import Fit, Interrupted, Preempted, fit
from jaxvision.engine.profiling import memory_peak
from jaxvision.engine.state import count, digest
from jaxvision.engine.watchdog import EXIT_LOST, last_good, leave
from jaxvision.errors import UsageError, check
from jaxvision.files import replace_text
from jaxvision.runs import (
    preflight as doctor,
)
from jaxvision.runs import (
    record,
)
from jaxvision.runs import (
    workdir as workdirs,
)
from jaxvision.runs.options import Launch, Numerics
from jaxvision.types import Experiment, Pipeline, Reference


def run(
    build: Callable[[Any], Experiment],
    Config: type,
    *,
    smoke: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Train, test and record the experiment that the command line asks for.

    Args:
      build: makes the experiment from a config.  Must be cheap: it describes data and
        does not read them.
      Config: a frozen dataclass.  Each field is an option; its docstring is the help.
      smoke: the values of fields that make `--smoke` take a few seconds, offline.
      arguments: the command line; None: that of the process.
      name: of the experiment; None: that of the file in which `build` is.

    Returns the content of `result.json`, the first of several with `--vmap-seeds`.
    Whatever else happens ends the process with a
    message and a code of its own, see `EXIT_CODES`.
    """
    command = _parse(build, Config, smoke, arguments, name)
    with _exit_codes():
        command = _start(command)
        if command.launch.vmap_seeds:
            return _execute_seeds(build, command)
        result = _execute(build, command, command.config, command.workdir)
        processes.finish()
        return result


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
        check((not command.launch.vmap_seeds, "variants have no --vmap-seeds"))
        command = _start(command)
        workdir, results = command.workdir, {}
        for name, overrides in variants.items():
            command.console.rule(name)
            config = dataclasses.replace(command.config, **overrides)
            results[name] = _execute(
                build, command, config, workdir / name, variant=name
            )
        histories = {
            name: read_rows(workdir / name / "metrics.jsonl") for name in variants
        }
        if processes.is_main():
            visualise.save(visualise.compare(histories), workdir / "compare.png")
        command.console.print(f"comparison in {workdir / 'compare.png'}")
        processes.finish()
        return results


@dataclasses.dataclass(frozen=True)
class _Command:
    name: str
    program: str
    arguments: list[str]
    config: Any
    numerics: Numerics
    launch: Launch
    workdir: Path
    console: Console


def _parse(build, Config, smoke, arguments, name=None) -> _Command:
    file = name or inspect.getfile(build)
    program = record.program_name(file)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # Smoke only changes defaults: what is given explicitly still counts.
    defaults = Config(**smoke) if "--smoke" in arguments else Config()
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", tyro.conf.OmitArgPrefixes[Config], defaults),  # type: ignore[misc]
            ("numerics", tyro.conf.OmitArgPrefixes[Numerics], Numerics()),
            ("launch", tyro.conf.OmitArgPrefixes[Launch], Launch()),
        ],
    )
    parsed: Any = tyro.cli(
        options,
        prog=f"python -m {program}",
        description=inspect.getdoc(inspect.getmodule(build)),
        args=arguments,
    )
    name = Path(file).stem
    return _Command(
        name=name,
        program=program,
        arguments=arguments,
        config=parsed.config,
        numerics=parsed.numerics,
        launch=parsed.launch,
        workdir=parsed.launch.workdir or workdirs.default(name),
        console=Console(highlight=False, soft_wrap=True),
    )


def _start(command: _Command) -> _Command:
    """Find the other processes, if there are any; from here on all are one run."""
    launch = command.launch
    processes.start(
        launch.coordinator,
        launch.num_processes,
        launch.process_id,
        timeout=launch.start_timeout,
        silence=launch.host_timeout,
    )
    # The time of day may have changed between the starts of two processes.
    workdir = Path(processes.from_main(str(command.workdir)))
    processes.watch(functools.partial(_lost, workdir))
    if not processes.is_main():
        command = dataclasses.replace(command, console=_silent())
    return dataclasses.replace(command, workdir=workdir)


def _lost(workdir: Path, reason: str) -> None:
    leave(EXIT_LOST, f"{reason}; {last_good(workdir)}")


def _execute_seeds(build, command: _Command) -> dict[str, Any]:
    """A run for each of `--vmap-seeds`, in threads that meet at every dispatch.

    One that fails leaves the others to themselves; the first error is raised at last.
    """
    launch, seeds = command.launch, command.launch.vmap_seeds
    check(
        (
            any(field.name == "seed" for field in dataclasses.fields(command.config)),
            "--vmap-seeds needs a config with a field `seed`",
        ),
        (len(set(seeds)) == len(seeds), f"--vmap-seeds names a seed twice: {seeds}"),
        (
            "{seed}" in str(command.workdir),
            "--vmap-seeds needs a --workdir in which {seed} stands for the seed, such "
            f"as runs/seed{{seed}}, got {command.workdir}",
        ),
        (not processes.several(), "--vmap-seeds trains in one process: start only one"),
        (launch.profile is None, "--profile and --vmap-seeds do not go together"),
        (
            not launch.dry_run and launch.max_batch is None,
            "--dry-run and --max-batch look at one run: leave --vmap-seeds out",
        ),
    )
    mesh = launch.make_mesh()
    check(
        (
            mesh.size == 1,
            f"--vmap-seeds trains on one device, and the mesh has {mesh.size}: add "
            "--devices 1",
        )
    )
    lockstep = Lockstep(len(seeds), mesh)
    results: dict[int, dict[str, Any]] = {}
    errors: dict[int, BaseException] = {}

    def execute(number: int, seed: int) -> None:
        console = command.console if number == 0 else _silent()
        config = dataclasses.replace(command.config, seed=seed)
        workdir = Path(str(command.workdir).replace("{seed}", str(seed)))
        own = dataclasses.replace(command, console=console)
        try:
            with lockstep.member(number) as join:
                results[seed] = _execute(build, own, config, workdir, join=join)
        except BaseException as error:
            errors[seed] = error

    threads = [
        threading.Thread(target=execute, args=each, daemon=True)
        for each in enumerate(seeds)
    ]
    try:
        with signals.handed_on():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    except KeyboardInterrupt:
        leave(EXIT_CODES[KeyboardInterrupt], "interrupted")  # threads cannot be stopped
    failed = [seed for seed in seeds if seed in errors]
    for seed in failed:
        print(f"seed {seed}: {errors[seed]}", file=sys.stderr)
    if failed:
        raise errors[failed[0]]
    return results[seeds[0]]


def _silent() -> Console:
    return Console(quiet=True, force_terminal=False)


def _execute(
    build,
    command: _Command,
    config,
    workdir: Path,
    *,
    variant: str | None = None,
    join: Callable[[Step], Step] = lambda step: step,
) -> dict[str, Any]:
    """One run, from its checks to its record.  Raises the keys of `EXIT_CODES`."""
    started = time.perf_counter()
    console, launch = command.console, command.launch
    result_file = workdir / "result.json"
    identity = {
        "experiment": command.name,
        **({} if variant is None else {"variant": variant}),
        "smoke": launch.smoke,
        **{f"config_{k}": v for k, v in dataclasses.asdict(config).items()},
        **command.numerics.chosen(),
    }
    with processes.together():
        if processes.is_main():
            workdirs.check_same_config(workdir, identity)
    if processes.from_main(result_file.exists()):
        console.print("this run is finished: there is nothing left to do")
        result = json.loads(result_file.read_text(encoding="utf-8"))
        _print_result(console, result, workdir)
        return result

    compilation.enable_cache()
    clock = compilation.CompileClock()
    with processes.together():
        mesh = launch.make_mesh()
        experiment = command.numerics.apply(build(config))
        sharding.check_batch(mesh, experiment.train.batch_size, experiment.accumulate)
        upkeep = launch.upkeep()
    processes.check_same(
        identity | {"mesh": sharding.describe_axes(mesh)} | record.versions()
    )
    if launch.dry_run:
        doctor.examine(console, identity, experiment, mesh)
        raise SystemExit(0)
    if launch.max_batch is not None:
        limit = launch.max_batch * 1e9 or costs.memory_limit()
        remake = functools.partial(_rebatched, build, command.numerics, config)
        doctor.max_batch(console, remake, mesh, experiment.train.batch_size, limit)
        raise SystemExit(0)
    device = sharding.describe(mesh)
    with contextlib.ExitStack() as stack:
        with processes.together():
            if processes.is_main():
                stack.enter_context(workdirs.locked(workdir))
                workdirs.write_config(workdir, identity)
        with processes.together():
            workdirs.check_seen(workdir)
        console.print(_headline(command.name, experiment, mesh, workdir))
        fitted = fit(
            experiment,
            workdir,
            mesh=mesh,
            console=console,
            compile_seconds=clock,
            upkeep=upkeep,
            join=join,
        )
        metrics = _test_and_draw(experiment, fitted, mesh, workdir)
        params, best_params = (
            sharding.to_host(state.params) for state in (fitted.last, fitted.best)
        )
        speed = fitted.trained_images / fitted.train_seconds
        result = {
            **identity,
            **{
                f"test_{k.replace('/', '_')}": v
                for k, v in metrics.items()
                if np.ndim(v) == 0
            },
            **_best_validation(workdir, int(fitted.best.step)),
            # "mnist:test" is the test split of "mnist".
            "dataset": experiment.test.name.rpartition(":")[0],
            "seed": experiment.seed,
            "steps": experiment.steps,
            "epochs": experiment.steps / experiment.train.num_batches,
            "batch_size": experiment.train.batch_size,
            "parameters": count(fitted.last.params),
            "params_digest": digest(params),
            "best_step": int(fitted.best.step),
            "best_params_digest": digest(best_params),
            "wall_seconds": fitted.earlier_seconds + time.perf_counter() - started,
            "train_seconds": fitted.train_seconds,
            "images_per_second": speed,
            "images_per_second_per_device": speed / mesh.size,
            **_utilisation(experiment, mesh, speed),
            "memory_peak_gb": memory_peak() / 1e9,
            "compile_seconds": clock(),
            **device,
            "process_count": jax.process_count(),
            **({"vmap_seeds": launch.vmap_seeds} if launch.vmap_seeds else {}),
            "mesh": sharding.describe_axes(mesh),
            "hardware": record.hardware(**device),
            **record.provenance(command.program, command.arguments),
            **_reference(experiment.reference),
            "finished_at": datetime.datetime.now(datetime.UTC).isoformat(
                "T", "seconds"
            ),
        }
        if processes.is_main():
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
    evaluate = average_too(make_evaluate(model, task, test, resident, mesh))
    metrics = evaluate(fitted.best)
    predictions = None
    if experiment.pictures is not None:
        predictions = predict(model, task, test, resident, mesh, *best)
    if not processes.is_main():
        return metrics

    rows = read_rows(workdir / "metrics.jsonl")
    best_step = int(fitted.best.step)
    figures = {"curves.png": visualise.curves(rows, best_step=best_step)}
    if experiment.pictures is not None:
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


def _utilisation(experiment: Experiment, mesh, speed: float) -> dict[str, Any]:
    """Floating-point operations, where it is known how many the devices can do."""
    peak = costs.peak_flops(mesh.devices.flat[0].device_kind)
    if peak is None:
        return {}
    resident = experiment.train.resident()
    flops = costs.flops_per_image(experiment, mesh, resident)
    return {
        "flops_per_image": flops,
        "model_flops_utilisation": flops * speed / (peak * mesh.size),
    }


def _rebatched(build, numerics: Numerics, config, batch_size: int) -> Experiment:
    return numerics.apply(build(dataclasses.replace(config, batch_size=batch_size)))


def _headline(name: str, experiment: Experiment, mesh, workdir: Path) -> str:
    device = sharding.describe(mesh)
    axes = f" ({sharding.describe_axes(mesh)})" if mesh.size > 1 else ""
    return (
        f"[bold]{name}[/]: {experiment.train.num_examples:,} images to train, "
        f"{experiment.validation.num_examples:,} to validate, "
        f"{experiment.test.num_examples:,} to test; {experiment.steps:,} steps of "
        f"{experiment.train.batch_size} on {device['device_count']} × "
        f"{device['device']}{axes}; in {workdir}"
    )


def _best_validation(workdir: Path, step: int) -> dict[str, Any]:
    """`validation_…` metrics of the best checkpoint."""
    prefix = "validation/"
    return {
        "validation_" + name.removeprefix(prefix).replace("/", "_"): value
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
    Preempted: 75,  # EX_TEMPFAIL: what a scheduler is to start again
    Interrupted: 130,
    KeyboardInterrupt: 130,
}
"""5 is `EXIT_LOST` and 6 `EXIT_STALLED`, which threads of their own exit with."""


@contextlib.contextmanager
def _exit_codes():
    """Ends the process with a message and a code of its own for what may go wrong."""
    try:
        yield
    except tuple(EXIT_CODES) as error:
        code = next(c for kind, c in EXIT_CODES.items() if isinstance(error, kind))
        message = str(error) or "interrupted"
        if _joined():
            # Leaving in order would wait for the other processes, which may be stuck;
            # process 0 goes last, since the others would miss it.
            time.sleep(1.0 if processes.is_main() else 0.0)
            leave(code, f"[process {jax.process_index()}] {message}")
        print(message, file=sys.stderr)
        raise SystemExit(code) from None
    except Exception as error:
        if not _joined():
            raise
        traceback.print_exc()
        if isinstance(error, jax.errors.JaxRuntimeError):
            # A collective broke: let the watch find out who is gone, and exit for that.
            time.sleep(processes.patience())
        leave(1, f"[process {jax.process_index()}] {type(error).__name__}")


def _joined() -> bool:
    return jax.distributed.is_initialized() and processes.several()
