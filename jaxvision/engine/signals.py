"""What is asked of a run from outside, and how several processes agree on it.

Signals arrive at some processes and not at others, and clocks differ.  So each process
only makes a request, the strongest one of all is found in the training step, on the
devices, and every process reads the answer of the same step and acts alike.
"""

import contextlib
import enum
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvision import notices
from jaxvision.engine.step import Report

NOTICES = (signal.SIGINT, *notices.NOTICES)


class Request(enum.IntEnum):
    """Ordered by strength."""

    NOTHING = 0
    SAVE = 1
    STOP = 2
    """Ctrl-C."""
    LEAVE = 3
    """The system wants the machine back: SIGTERM, or SIGUSR1 as a notice before it."""


class Requests:
    """As a context, takes over the signals that ask a run to end.

    `save_every_minutes` makes the main process request a save that often, except while
    `busy()` with the one before.  A second Ctrl-C stops at once.
    """

    def __init__(
        self, mesh: Mesh, save_every_minutes: float | None, busy: Callable[[], bool]
    ):
        self._mesh, self._busy = mesh, busy
        self._request = Request.NOTHING
        self._every = save_every_minutes and save_every_minutes * 60
        self._saved = time.monotonic()
        self._previous: dict[int, Any] = {}

    def mine(self) -> Request:
        """What this process requests now."""
        due = self._every and time.monotonic() - self._saved >= self._every
        if self._request is Request.NOTHING and due and jax.process_index() == 0:
            return Request.NOTHING if self._busy() else Request.SAVE
        return self._request

    def agreed(self, report: Report | None) -> Request:
        """What is to be done: of several processes, what the step of a report found."""
        if jax.process_count() == 1:
            return self.mine()
        if report is None:
            return Request.NOTHING
        assert report.request is not None
        return Request(int(report.request))

    def saved(self) -> None:
        """Starts the minutes until the next save."""
        self._saved = time.monotonic()

    def placed(self) -> jax.Array | None:
        """The request of every device's process; None for a single process."""
        if jax.process_count() == 1:
            return None
        mine = np.full(1, self.mine(), np.int32)
        return jax.make_array_from_callback(
            (self._mesh.size,),
            NamedSharding(self._mesh, PartitionSpec(self._mesh.axis_names)),
            lambda _: mine,
        )

    def __enter__(self):
        for number in NOTICES:
            try:
                self._previous[number] = signal.signal(number, self._receive)
            except ValueError:  # not the main thread, which may hand them on
                _IN_THREADS.add(self)
                break
        return self

    def __exit__(self, *error):
        _IN_THREADS.discard(self)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        if number == signal.SIGINT and self._request >= Request.STOP:
            raise KeyboardInterrupt
        request = Request.STOP if number == signal.SIGINT else Request.LEAVE
        self._request = max(self._request, request)


_IN_THREADS: set[Requests] = set()
"""Of the runs that are not in the main thread, which alone receives signals."""


@contextlib.contextmanager
def handed_on() -> Iterator[None]:
    """Signals ask every run in another thread to end.  For the main thread."""

    def receive(number, frame):
        runs = list(_IN_THREADS)
        if not runs:  # nothing is being trained, and there is nothing to save
            signal.signal(number, previous[number])
            signal.raise_signal(number)
        for requests in runs:
            requests._receive(number, frame)

    previous = {number: signal.getsignal(number) for number in NOTICES}
    for number in NOTICES:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
