"""Clocks, and the numbers that are made of the times of several rounds."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax


def timer(call: Callable[[], Any]) -> Callable[[int], float]:
    """`count -> seconds of one call`, over so many calls in a row.

    The clock stops when the device has finished the last of them.  One call is made
    here and now, so that compilation does not count.
    """

    def seconds(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            result = call()
        jax.block_until_ready(result)
        return (time.perf_counter() - started) / count

    seconds(1)
    return seconds


class Stopwatch:
    """Measures wall time and the CPU time of this process from its creation on."""

    def __init__(self):
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._wall

    def rates(self, count: int) -> tuple[float, float]:
        """`count` per second of wall time, and per second of CPU time."""
        cpu = time.process_time() - self._cpu
        return count / self.seconds(), count / cpu


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """The median of all rounds as `name`, with `name_min` and `name_max`."""
    return {
        name: statistics.median(values),
        f"{name}_min": min(values),
        f"{name}_max": max(values),
    }


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """Ours over the other's, round by round."""
    return [a / b for a, b in zip(ours, others, strict=True)]
