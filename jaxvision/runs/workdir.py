"""Run directories: whose they are, what they hold, and that all processes see them."""

import contextlib
import datetime
import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxvision.errors import UsageError
from jaxvision.files import replace_text
from jaxvision.runs.record import FORMAT
from jaxvision.types import Experiment


def default(name: str) -> Path:
    """`runs/<experiment>/<date-time>`."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / name / now


def check_same_config(workdir: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a run directory whose checkpoints belong to another config."""
    file = workdir / "config.json"
    if not file.exists() or not any((workdir / "checkpoints").glob("[0-9]*")):
        return
    identity = json.loads(json.dumps(identity))
    before = json.loads(file.read_text(encoding="utf-8"))
    if before.get("format") != identity["format"]:
        raise UsageError(
            f"{workdir} holds a run of format {before.get('format', 1)}, and this code "
            f"continues format {identity['format']}: use the code it began with, or "
            "choose a new --workdir"
        )
    # Where the experiment's file lies may change.
    before, identity = (
        {name: value for name, value in each.items() if name != "program"}
        for each in (before, identity)
    )
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
def locked(workdir: Path) -> Iterator[None]:
    """Hold the run directory against other runs.  Raises `UsageError`."""
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


def write_config(workdir: Path, identity: Mapping[str, Any]) -> None:
    """Say what the run is, for when it is continued."""
    replace_text(workdir / "config.json", json.dumps(identity, indent=2) + "\n")


def write_prediction(workdir: Path, experiment: Experiment) -> None:
    """Keep what prediction needs besides the weights, in `prediction.json`: the names
    of the classes, and how images are prepared (null where that cannot be saved)."""
    preparation = experiment.test.preparation
    try:
        saved = None if preparation is None else preparation.save()
    except UsageError:
        saved = None  # the user's own function
    content = {
        "format": FORMAT,
        "classes": list(experiment.classes),
        "preparation": saved,
    }
    replace_text(workdir / "prediction.json", json.dumps(content, indent=2) + "\n")


def check_seen(workdir: Path) -> None:
    """Raises `UsageError` unless this process sees what the main one has written."""
    deadline = time.monotonic() + 10  # network file systems show new files late
    while not (workdir / "config.json").exists():
        if time.monotonic() > deadline:
            raise UsageError(
                f"not every process sees {workdir}: choose a --workdir on a file "
                "system that all hosts share"
            )
        time.sleep(0.1)
