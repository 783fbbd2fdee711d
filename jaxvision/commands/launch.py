"""`python -m jaxvision launch`."""

import sys
from collections.abc import Callable


def launch(processes: int, devices: int | None = None) -> Callable[[list[str]], None]:
    """Run the processes of one run on this machine: launch --processes 2 -m NAME ….

    What follows -m is the experiment that each of them runs, with its options.

    Args:
        processes: How many.
        devices: CPU devices of each, to try things out. Default: what JAX finds.
    """
    from jaxvision.runs import programs
    from jaxvision.runs.launch import launch

    def begin(passed: list[str]) -> None:
        match passed:
            case ["-m", name, *options]:
                passed = [*programs.words(programs.find(name)), *options]
        sys.exit(launch(passed, processes, devices))

    return begin
