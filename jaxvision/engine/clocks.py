"""Where the time of a run goes."""

import contextlib
import time
from collections.abc import Callable, Iterator

PARTS = ("data_wait", "dispatch", "device")
"""Waiting for items; placing them and calling the step; waiting for the devices."""


class Clocks:
    """Seconds of training, less compilation, and what of them went into which part."""

    def __init__(self, compile_seconds: Callable[[], float]):
        self._compile_seconds = compile_seconds
        self.seconds = dict.fromkeys(("train", *PARTS), 0.0)
        self._since = self._read()

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Count what happens inside towards one of `PARTS`."""
        began = self._read()
        yield
        self.seconds[part] += max(self._read() - began, 0.0)

    def start(self) -> None:
        """From here on it is training."""
        self._since = self._read()

    def lap(self) -> None:
        """Until here it was."""
        before, self._since = self._since, self._read()
        # Images are divided by it, and a coarse clock may stand still.
        self.seconds["train"] += max(self._since - before, 1e-9)

    def shares(self) -> dict[str, float]:
        """What of the training time went into each part."""
        return {part: self.seconds[part] / self.seconds["train"] for part in PARTS}

    def _read(self) -> float:
        return time.perf_counter() - self._compile_seconds()
