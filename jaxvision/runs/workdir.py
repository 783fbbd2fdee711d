"""Run directories: whose they are, what they hold, and that all processes see them."""

import contextlib
import datetime
import errno
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvision.engine import snapshot
from jaxvision.errors import UsageError, check
from jaxvision.files import Damaged, plain, read_object, remove_partials, replace_object
from jaxvision.runs import continuation, lock, parts
from jaxvision.runs.record import INITIAL


def default(name: str) -> Path:
    """`runs/<experiment>/<date-time>`."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / name / now


FILES = (
    "config.json",
    "result.json",
    "metrics.jsonl",
    *parts.NAMES,
    "test_metrics.json",
    "undrawn.txt",
)
FOLDERS = ("checkpoints", "tensorboard", "bad_batches", "pictures", "profile")


def check_places(workdir: Path) -> None:
    """Refuse a run directory in which a folder is where a file belongs, or a file where
    a folder does: what it holds is not ours to remove.  And one whose path is not
    UTF-8, in which Orbax cannot write."""
    path = str(workdir.absolute())
    check(
        (
            path == path.encode(errors="replace").decode(),
            f"the path of the run directory, {path!r}, is not UTF-8: choose another "
            "--workdir",
        ),
        *(
            (
                not (workdir / name).is_dir(),
                f"{workdir / name} is a folder where a file belongs: move it away",
            )
            for name in FILES
        ),
        *(
            (
                (workdir / name).is_dir() or not (workdir / name).exists(),
                f"{workdir / name} is a file where a folder belongs: move it away",
            )
            for name in FOLDERS
        ),
    )


def check_same_config(
    workdir: Path, identity: Mapping[str, Any], warn: Callable[[str], None]
) -> tuple[list[continuation.Entry], dict[str, Any] | None]:
    """Refuse a run directory that holds a run of another config, unless that is a
    finished one with fewer epochs.

    Returns what the run was each time before it was given more of them, and what it has
    recorded of its initial weights, None where there is no run yet.
    """
    before = _began_with(workdir, warn)
    if before is None:
        return [], None
    identity = plain(identity)
    if before.get("format") != identity["format"]:
        raise UsageError(
            f"{workdir} holds a run of format {before.get('format', 1)}, and this code "
            f"continues format {identity['format']}: use the code it began with, or "
            "choose a new --workdir"
        )
    begun = {k: v for k, v in before.items() if k.startswith(INITIAL)}
    differing = [
        name
        for name in sorted({*before, *identity} - {*begun, *_BESIDES})
        if before.get(name) != identity.get(name)
    ]
    shorter = list(before.get(continuation.KEY, ()))
    if differing == [continuation.FIELD]:
        return [*shorter, continuation.entry(workdir, before, identity)], begun
    if differing:
        raise UsageError(
            f"{workdir} holds a run with another config:\n"
            + "\n".join(
                f"  {name.removeprefix('config_')}: was {before.get(name)!r}, "
                f"now {identity.get(name)!r}"
                for name in differing
            )
            + "\nrepeat its options to continue it, or choose a new --workdir"
        )
    return shorter, begun


_BESIDES = ("program", continuation.KEY, "planned_steps", "monitor", "measures")
"""What `config.json` says beside what was asked for; where the experiment's file lies
may change."""


def _began_with(workdir: Path, warn: Callable[[str], None]) -> Mapping[str, Any] | None:
    """What the run was asked for, by `config.json` or its newest readable checkpoint,
    by which that file is mended; None if nothing has been saved yet."""
    checkpoints = workdir / "checkpoints"
    saved = snapshot.steps(checkpoints)
    if not saved and not (workdir / "result.json").exists():
        return None
    try:
        return read_object(workdir / "config.json", ["experiment"])
    except Damaged as error:
        for step in reversed(saved):
            folder = snapshot.step_folder(checkpoints, step)
            with contextlib.suppress(Exception):  # damage is found when it is restored
                before = snapshot.read_contents(folder)["extra"]["identity"]
                write_config(workdir, before)
                warn(f"{error}: it was written anew, from checkpoint {step}")
                return before
        raise UsageError(
            f"{error}, and no checkpoint says what this run was asked for: restore it, "
            "or choose a new --workdir"
        ) from error


def finished(
    workdir: Path,
    shorter: Sequence[continuation.Entry],
    warn: Callable[[str], None],
) -> dict[str, Any] | None:
    """The record of a finished run; None of one that is not, or is to be tested again.

    `shorter` is what it was before it was continued: a record of that is none of it.
    Raises `UsageError` where a damaged record cannot be made again without training.
    """
    file = workdir / "result.json"
    if not file.exists():
        return None
    try:
        result = read_object(file, _SHOWN)
    except Damaged as error:
        if not snapshot.steps(workdir / "checkpoints"):
            raise UsageError(
                f"{error}, and there is no checkpoint to test again: restore it, or "
                "remove it to train anew"
            ) from error
        warn(f"{error}: the best checkpoint is tested again")
        return None
    return result if continuation.is_of(result, shorter) else None


_SHOWN = (
    "parameters",
    "best_step",
    "steps",
    "images_per_second",
    "compile_seconds",
    "wall_seconds",
)


@contextlib.contextmanager
def writing(workdir: Path) -> Iterator[None]:
    """Raises `UsageError` for a run directory that cannot be made or written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(
            f"the run directory {workdir} cannot be written ({error.strerror}): choose "
            "another --workdir"
        ) from error


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the run directory against other runs, and clear what killed ones had begun
    to write.  Raises `UsageError`."""
    with contextlib.ExitStack() as stack:
        with writing(workdir):
            workdir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock.held(workdir))
        remove_partials(workdir)
        yield


def write_config(workdir: Path, content: Mapping[str, Any]) -> None:
    """Say what the run is, for when it is continued."""
    replace_object(workdir / "config.json", content)


def keep_shorter_record(workdir: Path, shorter: Sequence[continuation.Entry]) -> None:
    """Rename the record of a run that is continued from now on to `result-STEPS.json`,
    so that it does not count as that of the longer one."""
    file = workdir / "result.json"
    with contextlib.suppress(Damaged):  # or missing; a damaged one is replaced
        if shorter and not continuation.is_of(read_object(file), shorter):
            file.rename(workdir / f"result-{shorter[-1]['steps']}.json")


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
