"""A run that hangs is ended, with a word about where it hung."""

import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

from jaxvision.engine import processes
from jaxvision.engine.snapshot import steps

EXIT_LOST = 5
"""Another process of the run is gone, and with it the collectives."""
EXIT_STALLED = 6
"""Nothing has happened for too long."""
GRACE = 5.0
"""Seconds in which the other processes notice the same, and say where they hang."""


class Watchdog:
    """Ends the process if nobody calls `beat` for `timeout` seconds (None: never).

    The stacks of all threads go to the error output and to `stalled-<process>.txt` in
    the run directory.  A hung collective cannot be interrupted, so this leaves without
    cleaning up; what is to be kept is in the checkpoints.
    """

    def __init__(self, timeout: float | None, workdir: Path, process: int):
        self._timeout = timeout
        self._file = workdir / f"stalled-{process}.txt"
        self._workdir = workdir
        self._beaten = time.monotonic()
        self._done = threading.Event()

    def beat(self) -> None:
        """Something happened."""
        self._beaten = time.monotonic()

    def __enter__(self):
        self.beat()
        if self._timeout is not None:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._done.set()

    def _watch(self) -> None:
        assert self._timeout is not None
        while not self._done.wait(min(1.0, self._timeout / 4)):
            silent = time.monotonic() - self._beaten
            if silent > self._timeout:
                faulthandler.dump_traceback(sys.stderr)
                try:
                    with self._file.open("w", encoding="utf-8") as file:
                        faulthandler.dump_traceback(file)
                except OSError:
                    pass  # the reason for the stall may be the disk
                if processes.several():
                    # Were we gone, it would look to the others as if that was the
                    # reason.  They are connected to process 0, which goes last.
                    time.sleep(GRACE + processes.is_main())
                leave(
                    EXIT_STALLED,
                    f"no step has finished for {silent:.0f} s (--stall-timeout): a "
                    "collective or the input pipeline hangs. Where, is above and in "
                    f"{self._file}; {last_good(self._workdir)}",
                )


def leave(code: int, message: str) -> None:
    """End the process from any thread, whatever the others are doing."""
    print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def last_good(workdir: Path) -> str:
    """In words, what a run can continue from."""
    saved = steps(workdir / "checkpoints")
    if not saved:
        return "no checkpoint was saved"
    return f"the last good checkpoint is step {saved[-1]}: the same command continues"
