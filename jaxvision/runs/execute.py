"""`run(build, Config)`: what an experiment file calls to become a program.

It parses the command line, checks everything that can be checked before long work
starts, trains in a run directory, tests the best checkpoint once, writes the result
record and draws the pictures.  With several processes each does the same, and the main
one alone writes.
"""

import contextlib
import dataclasses
import datetime
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxvision import visualise
from jaxvision.engine import compilation, costs, processes, sharding
from jaxvision.engine.evaluate import Evaluated
from jaxvision.engine.history import read_rows, validations
from jaxvision.engine.lockstep import Step
from jaxvision.engine.loop import Fit, fit
from jaxvision.engine.profiling import memory_peak
from jaxvision.engine.state import count, digest
from jaxvision.engine.watchdog import EXIT_LOST, last_good, leave
from jaxvision.errors import check
from jaxvision.files import plain, replace_object
from jaxvision.printing import print_whatever_the_encoding
from jaxvision.runs import (
    advice,
    command_line,
    continuation,
    initial,
    parts,
    pictures,
    preflight,
    range_test,
    record,
    testing,
    tracking,
)
from jaxvision.runs import workdir as workdirs
from jaxvision.runs.command_line import Command
from jaxvision.runs.exit_codes import exit_codes
from jaxvision.runs.options import Numerics
from jaxvision.runs.seeds import execute_seeds
from jaxvision.types import Experiment, Moment, Reference, Stop


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
      arguments: the command line; None: that of the process, and in an interactive
        session none.
      name: of the experiment, as in `programs`; None: where `build` is defined, and
        `notebook` for a cell.

    Returns the content of `result.json`, the first of several with `--vmap-seeds`.
    Whatever else happens ends the process with a message and a code of its own, see
    `EXIT_CODES`.  In an interactive session, such as a notebook, it raises instead, and
    returns {} after options that only show something.
    """
    command = _parse(build, Config, smoke, arguments, name)
    if command is None:
        return {}
    with exit_codes(command.workdir):
        command = _start(command)
        execute = functools.partial(_execute, build)
        if command.launch.vmap_seeds:
            return execute_seeds(execute, command)
        result = execute(command, command.config, command.workdir)
        processes.finish()
        return result
    return {}


def run_cases(
    build: Callable[[Any], Experiment],
    Config: type,
    cases: Mapping[str, Mapping[str, Any]],
    *,
    smoke: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Like `run`, once for each case: named overrides of the config.

    Each has a run directory of its own below the work directory, which also gets
    `compare.png` with their curves side by side.
    """
    command = _parse(build, Config, smoke, arguments)
    if command is None:
        return {}
    with exit_codes(command.workdir):
        check((not command.launch.vmap_seeds, "cases have no --vmap-seeds"))
        command = _start(command)
        workdir, results = command.workdir, {}
        for case, overrides in cases.items():
            command.console.rule(case)
            config = dataclasses.replace(command.config, **overrides)
            results[case] = _execute(build, command, config, workdir / case, case=case)
        histories = {
            case: read_rows(workdir / case / "metrics.jsonl") for case in cases
        }
        measures = record.measures_of(next(iter(results.values())))

        def compare():
            losses = ("train/loss", "validation/loss")
            drawn = visualise.compare(histories, losses, measures=measures)
            return {"compare.png": drawn}

        say = command.console.print
        if processes.is_main() and not pictures.save_all(
            "the comparison", compare, workdir, say
        ):
            say(f"comparison in {workdir / 'compare.png'}")
        processes.finish()
        return results
    return {}


def _parse(*arguments) -> Command | None:
    """The command; None after the help in an interactive session, which goes on."""
    print_whatever_the_encoding()
    with exit_codes(None):
        return command_line.parse(*arguments)
    return None


def _start(command: Command) -> Command:
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
        command = command.silenced()
    return dataclasses.replace(command, workdir=workdir)


def _lost(workdir: Path, reason: str) -> None:
    leave(EXIT_LOST, f"{reason}; {last_good(workdir)}")


def _execute(
    build,
    command: Command,
    config,
    workdir: Path,
    *,
    case: str | None = None,
    share_step: Callable[[Step], Step] = lambda step: step,
) -> dict[str, Any]:
    """One run, from its checks to its record.  Raises the keys of `EXIT_CODES`."""
    started = time.perf_counter()
    console, launch = command.console, command.launch
    identity = {
        "format": record.FORMAT,
        "experiment": command.name,
        "program": command.program,
        **({} if case is None else {"case": case}),
        "smoke": launch.smoke,
        **{f"config_{k}": v for k, v in dataclasses.asdict(config).items()},
        **command.numerics.chosen(),
    }
    shorter: list[continuation.Entry] = []
    finished = begun = None
    with processes.together():
        if processes.is_main():
            workdirs.check_places(workdir)
            shorter, begun = workdirs.check_same_config(
                workdir, identity, console.print
            )
            finished = workdirs.finished(workdir, shorter, console.print)
    shorter, finished, begun = processes.from_main((shorter, finished, begun))
    if shorter:
        identity[continuation.KEY] = shorter
    if finished is not None:
        console.print("this run is finished: there is nothing left to do")
        _print_result(console, finished)
        if processes.from_main(pictures.are_missing(workdir)):
            compilation.enable_cache()

            def remake() -> Experiment:
                return command.numerics.apply(build(config))

            mesh = launch.make_mesh()
            pictures.draw_again(remake, finished, mesh, workdir, console.print)
        console.print(f"results and pictures are in {workdir}")
        return finished

    # Of what runs, which a commit that is made meanwhile is not.
    origin = record.provenance(command.program, command.arguments, command.folder)
    compilation.enable_cache()
    clock = compilation.CompileClock()
    with processes.together():
        mesh = launch.make_mesh()
        experiment = command.numerics.apply(build(config))
        experiment.check()
        if shorter:
            console.print(continuation.announce(shorter[-1], experiment))
        experiment, start = initial.prepared(experiment, command.numerics.init_from)
        sharding.check_batch(mesh, experiment.train.batch_size, experiment.accumulate)
        maintenance = launch.maintenance()
        check(
            (
                launch.pictures_every is None or experiment.show is not None,
                "--pictures-every: this experiment does not say how predictions are "
                "drawn: give it a `show`, such as visualise.classification",
            )
        )
        if start is not None and begun is None:
            begun = start().record()
            console.print(start().words())
    identity |= begun or {}
    processes.check_same(
        identity | {"mesh": sharding.describe_axes(mesh)} | record.versions()
    )
    if launch.dry_run:
        preflight.examine(console, identity, experiment, mesh)
        raise SystemExit(0)
    if launch.max_batch is not None:
        limit = launch.max_batch * 1e9 or costs.memory_limit()
        remake = functools.partial(_rebatched, build, command.numerics, config)
        preflight.max_batch(console, remake, mesh, experiment.train.batch_size, limit)
        raise SystemExit(0)
    if launch.find_lr:
        range_test.run(console, experiment, mesh, workdir)
        raise SystemExit(0)
    device = sharding.describe(mesh)
    with contextlib.ExitStack() as stack:
        with processes.together():
            if processes.is_main():
                stack.enter_context(workdirs.locked(workdir))
                workdirs.write_config(workdir, identity | _plans(experiment))
                workdirs.keep_shorter_record(workdir, shorter)
                parts.save(workdir, experiment)
        with processes.together():
            workdirs.check_seen(workdir)
        tracker = stack.enter_context(
            tracking.tracked(
                launch.track if processes.is_main() else None,
                workdir,
                command.name,
                identity,
                console,
            )
        )
        console.print(_headline(command.name, experiment, mesh, workdir))
        if processes.is_main():
            pictures.draw_batch(experiment, workdir, console.print)
        with processes.together():
            if processes.is_main():
                for words in advice.before_training(experiment):
                    console.print(f"warning: {words}")
        fitted = fit(
            experiment,
            workdir,
            mesh=mesh,
            console=console,
            compile_seconds=clock,
            maintenance=maintenance,
            share_step=share_step,
            on_evaluation=_hook(experiment, workdir, console.print),
            on_row=tracker.log,
            identity=identity,
        )
        experiment = testing.tuned(experiment, fitted.best, fitted.frozen, mesh)
        if processes.is_main():
            parts.save(workdir, experiment)
        tested = testing.test(experiment, fitted.best, fitted.frozen, mesh)
        params, best_params = (
            sharding.to_host(state.params) for state in (fitted.last, fitted.best)
        )
        speed = fitted.trained_images / fitted.train_seconds
        result = {
            **identity,
            **_tested(tested),
            **_best_validation(fitted.rows, int(fitted.best.step)),
            **_measures(experiment),
            "evaluations": ["validation", "test", *experiment.evaluations],
            # "mnist:test" is the test split of "mnist".
            "dataset": experiment.test.name.rpartition(":")[0] or experiment.test.name,
            "tested_on": experiment.test.choice,
            "validated_on": experiment.validation.choice,
            "seed": experiment.seed,
            "steps": int(fitted.last.step),
            "epochs": int(fitted.last.step) / experiment.train.num_batches,
            **_stopped(experiment, fitted),
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
            **({} if fitted.lost is None else {"lost_best_step": fitted.lost}),
            **({"vmap_seeds": launch.vmap_seeds} if launch.vmap_seeds else {}),
            "mesh": sharding.describe_axes(mesh),
            "hardware": record.hardware(**device),
            **origin,
            **_reference(experiment.reference),
            "finished_at": datetime.datetime.now(datetime.UTC).isoformat(
                "T", "seconds"
            ),
        }
        result = plain(result)
        if processes.is_main():
            every = {name: found.metrics for name, found in tested.items()}
            metrics = every.pop("test") | every
            replace_object(workdir / "test_metrics.json", metrics)
            replace_object(workdir / "result.json", result)
            _print_result(console, result)
            pictures.draw(
                experiment, result, fitted.rows, tested["test"], workdir, console.print
            )
        tracker.finish(result)
    console.print(f"results and pictures are in {workdir}")
    return result


def _plans(experiment: Experiment) -> dict[str, Any]:
    """What is known of a run before it has a record, for who looks at it meanwhile."""
    return {"planned_steps": experiment.steps, **_measures(experiment)}


def _measures(experiment: Experiment) -> dict[str, Any]:
    return {
        "measures": record.describe_measures(testing.measures(experiment)),
        "monitor": experiment.monitored().name,
    }


def _tested(tested: Mapping[str, Evaluated]) -> dict[str, float]:
    """Metrics of all sets that are single numbers."""
    return {
        key: value
        for name, found in tested.items()
        for key, value in testing.numbers(name, found.metrics).items()
    }


def _stopped(experiment: Experiment, fitted: Fit) -> dict[str, Any]:
    """Why the training ended early, if it did, and how many steps were planned."""
    if fitted.stopped is None:
        return {}
    return {"stopped": fitted.stopped, "planned_steps": experiment.steps}


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


def _headline(name: str, experiment: Experiment, mesh, workdir: Path) -> Text:
    device = sharding.describe(mesh)
    axes = f" ({sharding.describe_axes(mesh)})" if mesh.size > 1 else ""
    to_validate, to_test = (
        f"{pipeline.num_examples:,} to {use}"
        + f" ({pipeline.choice})" * bool(pipeline.choice)
        for pipeline, use in (
            (experiment.validation, "validate"),
            (experiment.test, "test"),
        )
    )
    return Text.assemble(
        (name, "bold"),
        f": {experiment.train.num_examples:,} images to train, "
        f"{to_validate}, {to_test}; "
        f"{experiment.steps:,} steps of "
        f"{experiment.train.batch_size} on {device['device_count']} × "
        f"{device['device']}{axes}; in {workdir}",
    )


def _best_validation(rows: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """`validation_…` metrics of the best checkpoint."""
    return {
        record.metric_key("validation", name): value
        for found in validations(rows)
        if found.pop("step") == step
        for name, value in found.items()
    }


def _reference(reference: Reference | None) -> dict[str, Any]:
    if reference is None:
        return {}
    return {f"reference_{k}": v for k, v in reference._asdict().items()}


def _print_result(console: Console, result: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, measure in record.measured(result).items():
        table.add_row(
            name.replace("_", " "), measure.words(record.number(result, name))
        )
    table.add_row("parameters", f"{result['parameters']:,}")
    table.add_row("best step", f"{result['best_step']:,} of {result['steps']:,}")
    table.add_row("training", f"{result['images_per_second']:,.0f} images/s")
    table.add_row("compilation", f"{result['compile_seconds']:.1f} s")
    table.add_row("wall time", f"{result['wall_seconds']:.1f} s")
    console.print(table)


def _hook(
    experiment: Experiment, workdir: Path, say: Callable[[str], None]
) -> Callable[[Moment], str | None]:
    """The experiment's own, whose reason to stop is returned, and whose figures are
    saved with those of its `show`."""

    def call(moment: Moment) -> str | None:
        own = experiment.on_evaluation
        answer = None if own is None else own(moment)
        if isinstance(answer, Stop):
            reason, figures = answer.reason, answer.figures
            say(f"stopping after step {moment.step}: {reason}")
        else:
            reason, figures = None, answer or {}
        if processes.is_main():
            shown = functools.partial(pictures.shown, experiment, moment)
            folder = workdir / "pictures" / f"step-{moment.step}"
            pictures.save_all("predictions", shown, folder, say)
            pictures.save_all("pictures", lambda: figures, folder, say)
        return reason

    return call
