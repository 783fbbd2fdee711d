"""With which code and message a run ends that does not finish."""

import contextlib
import sys
import time
import traceback

import jax

from jaxvision.engine import processes
from jaxvision.engine.bad_loss import Diverged
from jaxvision.engine.checkpoint import CheckpointError
from jaxvision.engine.loop import Interrupted, Preempted
from jaxvision.engine.watchdog import leave
from jaxvision.errors import UsageError

EXIT_CODES: dict[type[BaseException], int] = {
    UsageError: 2,
    Diverged: 3,
    CheckpointError: 4,
    Preempted: 75,  # EX_TEMPFAIL: what a scheduler is to start again
    Interrupted: 130,
    KeyboardInterrupt: 130,
}
"""5 is `EXIT_LOST` and 6 `EXIT_STALLED`, which threads of their own exit with."""


def interactive() -> bool:
    """Whether this is a notebook or a prompt, which an error must not end."""
    return hasattr(sys, "ps1")  # IPython and its kernels set it too


@contextlib.contextmanager
def exit_codes():
    """Ends the process with a message and a code of its own for what may go wrong.

    In an interactive session whatever goes wrong is an exception.
    """
    try:
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
        message = str(error) or "interrupted"
        if _is_one_of_several():
            # Leaving in order would wait for the other processes, which may be stuck;
            # process 0 goes last, since the others would miss it.
            time.sleep(1.0 if processes.is_main() else 0.0)
            leave(code, f"[process {jax.process_index()}] {message}")
        print(message, file=sys.stderr)
        raise SystemExit(code) from None
    except Exception as error:
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        if isinstance(error, jax.errors.JaxRuntimeError):
            # A collective broke: let the watch find out who is gone, and exit for that.
            time.sleep(processes.patience())
        leave(1, f"[process {jax.process_index()}] {type(error).__name__}")


def _is_one_of_several() -> bool:
    return jax.distributed.is_initialized() and processes.several()
