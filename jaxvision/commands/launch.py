"""`python -m jaxvision launch`."""

import sys
from collections.abc import Callable


def launch(processes: int, devices: int | None = None) -> Callable[[list[str]], None]:
    """Run the processes of one run on this machine: launch --processes 2 -m MODULE ….

    What follows -m is the command of each of them.

    Args:
        processes: How many.
        devices: CPU devices of each, to try things out. Default: what JAX finds.
    """
    from jaxvision.runs.launch import launch

    return lambda passed: sys.exit(launch(passed, processes, devices))
