"""With which code and message a run ends that does not finish."""

import contextlib
import sys
import time
import traceback
from pathlib import Path

import jax

from jaxvision.engine import processes
from jaxvision.engine.bad_loss import Diverged
from jaxvision.engine.checkpoint import CheckpointError
from jaxvision.engine.loop import Interrupted, Preempted
from jaxvision.engine.watchdog import leave
from jaxvision.errors import UsageError
from jaxvision.files import disk_fault
from jaxvision.notices import EXIT_AGAIN, FROM_THE_START, ending_at_notice

EXIT_CODES: dict[type[BaseException], int] = {
    UsageError: 2,
    Diverged: 3,
    CheckpointError: 4,
    Preempted: EXIT_AGAIN,
    Interrupted: 130,
    KeyboardInterrupt: 130,
}
"""5 is `EXIT_LOST` and 6 `EXIT_STALLED`, which threads of their own exit with."""


def interactive() -> bool:
    """Whether this is a notebook or a prompt, which an error must not end."""
    return hasattr(sys, "ps1")  # IPython and its kernels set it too


@contextlib.contextmanager
def exit_codes(workdir: Path | None):
    """Ends the process with a message and a code of its own for what may go wrong.

    Wherever it comes from, an `OSError` of the disk is a `CheckpointError`: see
    `files.disk_fault`.  In an interactive session whatever goes wrong is an exception.

    workdir: where the run can go on; None: there is nothing to go on from.
    """
    again = FROM_THE_START
    if workdir is not None:
        again = f"the same command with --workdir {workdir} continues"
    try:
        with ending_at_notice(again):
            yield
    except SystemExit as end:
        if not interactive():
            raise
        if end.code:
            raise UsageError("the arguments were refused, see above") from None
    except tuple(EXIT_CODES) as error:
        if interactive():
            raise
        code = next(c for kind, c in EXIT_CODES.items() if isinstance(error, kind))
        _end(code, str(error) or "interrupted")
    except Exception as error:
        if interactive():
            raise
        where = workdir or Path()
        fault = disk_fault(error, where)
        if fault is not None:
            _end(
                EXIT_CODES[CheckpointError],
                f"the disk fails at {fault.filename or where} ({fault.strerror}): "
                f"make room or mend it; {again}",
            )
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        if isinstance(error, jax.errors.JaxRuntimeError):
            # A collective broke: let the watch find out who is gone, and exit for that.
            time.sleep(processes.patience())
        leave(1, f"[process {jax.process_index()}] {type(error).__name__}")


def _end(code: int, message: str) -> None:
    if _is_one_of_several():
        # Leaving in order would wait for the other processes, which may be stuck;
        # process 0 goes last, since the others would miss it.
        time.sleep(1.0 if processes.is_main() else 0.0)
        leave(code, f"[process {jax.process_index()}] {message}")
    print(message, file=sys.stderr)
    raise SystemExit(code) from None


def _is_one_of_several() -> bool:
    return jax.distributed.is_initialized() and processes.several()
