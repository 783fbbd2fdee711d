"""What reaches the terminal: names as they are, on whatever terminal there is."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console


def make_console(**options: Any) -> Console:
    """A console that prints text as it is.

    Paths and names of classes may look like rich's markup (`[exp1]`) or emoji codes;
    what is to be bold says so by `style`.
    """
    options = {"highlight": False, "soft_wrap": True} | options
    return Console(markup=False, emoji=False, **options)


def print_whatever_the_encoding() -> None:
    """What the terminal's encoding lacks is printed as `?` and ends no program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


EXIT_UNREAD = 141
"""128 + SIGPIPE: what shells report of a program whose output nobody reads."""


@contextlib.contextmanager
def unread() -> Iterator[None]:
    """Ends the process in silence if whoever reads its output stops, as `head` does."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_UNREAD) from None
