"""From the command line to a benchmark's `main`."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import tyro

from jaxvision.errors import UsageError


def run(
    main: Callable[[Any], int | None], Config: type, description: str | None
) -> NoReturn:
    """Parse the options into a `Config` and end the process with what `main` returns.

    A `UsageError` ends it with its message and exit code 1, without a traceback.
    """
    try:
        sys.exit(main(tyro.cli(Config, description=description)))
    except UsageError as error:
        sys.exit(str(error))
