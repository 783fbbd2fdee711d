"""The lock by which a run holds its directory.  No JAX: a list of runs asks it."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from jaxvision.errors import UsageError

FILE = ".lock"


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Hold a run directory.  Raises `UsageError` if another process does, and
    `OSError` if it cannot be written."""
    with (workdir / FILE).open("w", encoding="utf-8") as lock:
        if not _taken(lock, fcntl.LOCK_EX):
            time.sleep(0.1)  # somebody may just be asking whether it is held
            if not _taken(lock, fcntl.LOCK_EX):
                raise UsageError(
                    f"another process is running in {workdir}: wait for it, or choose "
                    "another --workdir"
                )
        yield


def is_held(workdir: Path) -> bool:
    """Whether a process runs in a directory, as far as this machine can tell."""
    try:
        with (workdir / FILE).open(encoding="utf-8") as lock:
            return not _taken(lock, fcntl.LOCK_SH)
    except OSError:
        return False


def _taken(lock, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
