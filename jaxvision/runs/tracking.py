"""`--track`: a run's config, rows of metrics and result, in W&B or MLflow as well.

The run directory stays the record: what a tracker cannot take is a warning and costs
the run nothing.  `tracking.json` there holds the name by which the service knows the
run, so that a run that is continued continues the tracked one.  Rows that an
interrupted run had logged after its newest checkpoint are logged again with the same
step and values.
"""

import contextlib
import functools
import importlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.console import Console

from jaxvision.engine.loop import Interrupted
from jaxvision.errors import UsageError
from jaxvision.files import replace_text

Service = Literal["wandb", "mlflow"]


class Tracker(NamedTuple):
    """What is told to a service; none of these functions raises."""

    log: Callable[[Mapping[str, Any]], None]
    """Takes a row of the metric log."""
    finish: Callable[[Mapping[str, Any]], None]
    """Takes the record of the run."""


class _Client(NamedTuple):
    """One tracked run of a service."""

    log: Callable[[Mapping[str, float]], None]
    finish: Callable[[Mapping[str, Any]], None]
    close: Callable[[str], None]
    """Takes `finished`, `interrupted` or `failed`."""


def check_installed(service: Service | None) -> None:
    """Raises `UsageError` that names the extra, if the service's package is missing."""
    if service is None:
        return
    try:
        importlib.import_module(service)
    except ImportError as error:
        raise UsageError(
            f"--track {service} needs the package {service} ({error}): install it with "
            f"pip install 'jaxvision-research[{service}]'"
        ) from error


@contextlib.contextmanager
def tracked(
    service: Service | None,
    workdir: Path,
    name: str,
    config: Mapping[str, Any],
    console: Console,
) -> Iterator[Tracker]:
    """The tracker of a run of the experiment `name`; None: one that forgets it all."""
    broken = False

    def attempt(action: Callable[..., Any], *arguments) -> Any:
        nonlocal broken
        if broken:
            return None
        try:
            return action(*arguments)
        except Exception as error:  # whatever a network or a service may do
            broken = True
            text = " ".join(str(error).split())[:200]
            console.print(f"{service} tracks no longer: {text}", markup=False)
            return None

    if service is None:
        yield Tracker(lambda row: None, lambda result: None)
        return
    client = attempt(_open, service, workdir, name, config)
    if client is None:
        yield Tracker(lambda row: None, lambda result: None)
        return
    ending = "failed"
    try:
        yield Tracker(
            lambda row: attempt(client.log, _numbers(row)),
            functools.partial(attempt, client.finish),
        )
        ending = "finished"
    except (Interrupted, KeyboardInterrupt):
        ending = "interrupted"
        raise
    finally:
        attempt(client.close, ending)


def _open(
    service: Service, workdir: Path, name: str, config: Mapping[str, Any]
) -> _Client:
    """The tracked run of this run directory, made anew or continued."""
    file = workdir / "tracking.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def remember(number: str) -> None:
        replace_text(file, json.dumps(known | {service: number}) + "\n")

    make = {"wandb": _wandb, "mlflow": _mlflow}[service]
    return make(workdir, name, config, known.get(service), remember)


def _wandb(workdir, name, config, known, remember) -> _Client:
    import wandb

    os.environ.setdefault("WANDB_MODE", "offline")
    number = known or uuid.uuid4().hex
    remember(number)
    run = wandb.init(
        project=name,
        name=workdir.name,
        id=number,
        resume="allow",
        reinit="create_new",  # there may be several runs in one process
        config=dict(config),
        dir=str(workdir),
    )
    run.define_metric("*", step_metric="step")
    codes = {"finished": 0, "interrupted": 130}
    return _Client(
        log=run.log,
        finish=run.summary.update,
        close=lambda ending: run.finish(exit_code=codes.get(ending, 1)),
    )


def _mlflow(workdir, name, config, known, remember) -> _Client:
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    number = known
    if number is None:
        experiment = client.get_experiment_by_name(name)
        group = (
            experiment.experiment_id if experiment else client.create_experiment(name)
        )
        number = client.create_run(group, run_name=workdir.name).info.run_id
        remember(number)
        params = [Param(key, str(value)) for key, value in config.items()]
        client.log_batch(number, params=params)
    else:
        client.update_run(number, status="RUNNING")

    def log(row: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        step = int(row["step"])
        client.log_batch(
            number, [Metric(key, value, now, step) for key, value in row.items()]
        )

    def finish(result: Mapping[str, Any]) -> None:
        log({"step": result["steps"], **_numbers(result)})
        client.log_dict(number, dict(result), "result.json")

    endings = {"finished": "FINISHED", "interrupted": "KILLED"}
    return _Client(
        log,
        finish,
        close=lambda ending: client.set_terminated(
            number, endings.get(ending, "FAILED")
        ),
    )


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float | np.generic) and np.ndim(value) == 0
    }
