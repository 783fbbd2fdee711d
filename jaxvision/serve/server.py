"""The process that serves: its socket, its signals, its end."""

import contextlib
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxvision.errors import UsageError
from jaxvision.runs.predictor import Prediction

if TYPE_CHECKING:  # it needs the packages of the extra
    from jaxvision.serve.app import Page

_CONNECTIONS = 256
"""At the same time; further ones are told to come again (503)."""
_GRACE = 10
"""Seconds that requests under way have to finish when the process is told to end."""


def check_installed() -> None:
    """Raises `UsageError` that names the extra, if one of its packages is missing."""
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"serve needs the package {error.name} ({error}): install it with "
            "pip install 'jaxvision-research[serve]'"
        ) from error


def run(
    prediction: Prediction,
    name: str,
    *,
    host: str,
    port: int,
    batch_size: int,
    max_bytes: int,
    max_pixels: int,
    pages: "Mapping[str, Page] | None" = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered.

    `pages` are other ones than that of `serve`; on a loopback address, requests under
    other names than this machine's are refused.  Raises `UsageError` for an address
    that cannot be had, before anything is compiled.
    """
    import uvicorn

    from jaxvision.serve import app, guard

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on port {port} of {host} ({error}): choose another --port "
            "or --host"
        ) from error
    with listening:
        # uvicorn repeats the signal when it has shut down.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            application = app.make(
                prediction,
                name,
                batch_size=batch_size,
                max_bytes=max_bytes,
                max_pixels=max_pixels,
                pages=app.PAGES if pages is None else pages,
                hosts=guard.names_of(host),
            )
            address = f"[{host}]" if ":" in host else host
            number = listening.getsockname()[1]
            print(f"{name} is served at http://{address}:{number}", flush=True)
            config = uvicorn.Config(
                application,
                lifespan="on",
                log_level="warning",
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE,
            )
            uvicorn.Server(config).run(sockets=[listening])
