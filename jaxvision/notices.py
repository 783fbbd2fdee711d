"""SIGTERM and SIGUSR1 while nothing is being trained: the program ends and may go on.

In training these signals end a run after its step, with a checkpoint
(`engine/signals.py`).  Before and after, while modules are imported, programs compiled,
the test evaluated or pictures drawn, nothing has to be saved, and the process ends at
once with the same code.  Needs only the standard library, so that it can be the first
thing a program does.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

EXIT_AGAIN = 75
"""What a scheduler is to start again; EX_TEMPFAIL of sysexits.h."""

NOTICES = (signal.SIGTERM, signal.SIGUSR1)


FROM_THE_START = "the same command starts it again"


def end_at_notice(how: str = FROM_THE_START) -> None:
    """From here on, these signals end the process with `EXIT_AGAIN` and a word."""

    def end(number, frame):
        name = signal.Signals(number).name
        # Not by print, which the signal may have interrupted.
        message = f"{name} while nothing was being trained: {how}\n"
        with contextlib.suppress(OSError):
            os.write(2, message.encode(errors="replace"))
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(EXIT_AGAIN)

    for number in NOTICES:
        signal.signal(number, end)


@contextlib.contextmanager
def ending_at_notice(how: str) -> Iterator[None]:
    """The same inside the context; in a thread, which gets no signals, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in NOTICES}
    end_at_notice(how)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
