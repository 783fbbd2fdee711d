"""What a run tells of itself: traces, recompilations, memory."""

import contextlib
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from jaxvision.types import PyTree


class Profile:
    """A trace of the steps from `steps[0]` to `steps[1]`, for TensorBoard or Perfetto.

    Begins and ends with a dispatch.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: Path):
        self._steps, self._folder = steps, folder
        self._running = False

    def step(self, step: int) -> None:
        """The next dispatch begins at `step`."""
        if self._steps is None:
            return
        start, stop = self._steps
        if not self._running and start <= step < stop:
            jax.profiler.start_trace(self._folder)
            self._running = True
        elif self._running and step >= stop:
            self.close()

    def close(self) -> None:
        """End the trace, if there is one."""
        if self._running:
            jax.profiler.stop_trace()
            self._running, self._steps = False, None


class Compilations:
    """Warns when a step is compiled that was compiled before.

    Each number of steps per dispatch compiles once for each shape of the items; more
    often means that something else about the arguments keeps changing, and that the run
    waits for the compiler.
    """

    def __init__(self, console, compile_seconds: Callable[[], float]):
        self._console, self._compile_seconds = console, compile_seconds
        self._seen: set[tuple[tuple[int, ...], ...]] = set()

    @contextlib.contextmanager
    def watch(self, items: PyTree) -> Iterator[None]:
        """Around a dispatch of these items [K,B,…], of K steps."""
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(items))
        before = self._compile_seconds()
        yield
        if self._compile_seconds() > before and shapes in self._seen:
            self._console.print(
                f"warning: the program of {shapes[0][0]} steps was compiled again: a "
                "dtype or a sharding of its arguments has changed"
            )
        self._seen.add(shapes)


def memory_peak() -> int:
    """Bytes: the most that any device here has held, or on CPU this process."""
    peaks = [
        stats["peak_bytes_in_use"]
        for device in jax.local_devices()
        if (stats := device.memory_stats()) and "peak_bytes_in_use" in stats
    ]
    if peaks:
        return max(peaks)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
