"""What reaches the terminal: names as they are, on whatever terminal there is."""

import io
import sys
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
