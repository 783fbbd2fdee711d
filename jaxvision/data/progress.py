"""A bar on the terminal for work that takes longer than a few seconds."""

import sys
from collections.abc import Iterable


def bar[T](work: Iterable[T], count: int, doing: str, *, least: int) -> Iterable[T]:
    """`work`, with a bar above its `count` steps if these are `least` or more.

    On standard error, gone when all is done, and none where that is no terminal.
    """
    if count < least or not sys.stderr.isatty():
        return work
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(work, doing, count, console=console, transient=True)
