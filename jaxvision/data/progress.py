"""A bar on the terminal for work that takes longer than a few seconds."""

import sys
from collections.abc import Iterable


def bar[T](work: Iterable[T], count: int, doing: str, *, least: int) -> Iterable[T]:
    """`work`, with a progress bar if its `count` steps are `least` or more.

    The bar is on standard error, if that is a terminal, and is removed at the end.
    """
    if count < least or not sys.stderr.isatty():
        return work
    from rich.progress import track

    from jaxvision.printing import make_console

    console = make_console(stderr=True)
    return track(work, doing, count, console=console, transient=True)
