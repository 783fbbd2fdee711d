"""`python -m jaxvision launch`: the processes of one run, on this machine.

What SLURM, Kubernetes or a list of hosts do for a cluster, for two or more processes
here: for tests, and for machines whose devices are better held by several processes.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from jaxvision.errors import check
from jaxvision.notices import NOTICES

GRACE = 90
"""Seconds the other processes get to end by themselves after the first has failed."""


def launch(arguments: Sequence[str], processes: int, devices: int | None = None) -> int:
    """Run `python <arguments>` in each of the processes; returns the exit code.

    The code is that of the first process that failed, so that whoever watches this one
    sees what the run would have told.  Signals are passed on to all of them.

    Args:
      arguments: such as `["-m", "experiments.mnist_lenet5", "--epochs", "1"]`.
      processes: how many.
      devices: CPU devices of each, for trying things out; None: what JAX finds.
    """
    check(
        (processes >= 1, f"processes must be at least 1, got {processes}"),
        (
            len(arguments) > 0,
            "what is to be launched? For example: launch --processes 2 "
            "-m experiments.mnist_lenet5 --epochs 1",
        ),
        (devices is None or devices >= 1, f"devices must be positive, got {devices}"),
    )
    address = f"127.0.0.1:{_free_port()}"
    with Children() as children:
        for index in range(processes):
            environment = _environment(address, processes, index, devices)
            children.start([sys.executable, *arguments], environment)
        return _first_failure(children.running)


class Children:
    """Processes that, inside the context, get the signals that this process gets.

    They are process groups of their own: Ctrl-C in a terminal would else reach them
    twice, and the second one means to stop without saving.
    """

    def __init__(self):
        self.running: list[subprocess.Popen] = []
        self._previous: dict[int, Any] = {}

    def start(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen:
        """One more of them; `environment` is added to that of this process."""
        added = os.environ | dict(environment or {})
        child = subprocess.Popen(command, env=added, process_group=0)
        self.running.append(child)
        return child

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, *NOTICES):
            self._previous[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _pass_on(self, number, frame) -> None:
        for child in self.running:
            if child.poll() is None:
                child.send_signal(number)


def _environment(
    address: str, processes: int, index: int, devices: int | None
) -> dict[str, str]:
    """By which `engine.processes.start` finds the others."""
    variables = {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(index),
    }
    if devices is not None:
        flags = os.environ.get("XLA_FLAGS", "").split()
        flags = [flag for flag in flags if "host_platform_device_count" not in flag]
        flags.append(f"--xla_force_host_platform_device_count={devices}")
        variables |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)}
    return variables


def _first_failure(children: list[subprocess.Popen]) -> int:
    """Wait for all; once one has failed, only for so long."""
    failed, deadline = 0, None
    running = list(children)
    while running:
        for child in list(running):
            code = child.poll()
            if code is None:
                continue
            running.remove(child)
            # A process that was killed tells less than one that says what it lost.
            if code != 0 and (failed == 0 or failed < 0 < code):
                failed = code
                deadline = deadline or time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            for child in running:
                child.kill()
        time.sleep(0.05)
    return 128 - failed if failed < 0 else failed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
