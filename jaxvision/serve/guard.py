"""Who may ask: not every page that a browser of this machine has open.

A server on loopback is reached by all pages that a browser shows.  What they may not do
is told by two headers that pages cannot write: `Host` holds the name under which the
server was asked, which is another one where a page's own name leads here (DNS
rebinding), and `Origin` the page that asks.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' data: blob:"
"""What the pages may load: nothing from elsewhere."""


class Guard:
    """An application behind these rules; a request against them gets a 403."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None):
        """`hosts` are the names under which it may be asked; None: any."""
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wrong = self._wrong(Headers(scope=scope))
        if wrong:
            await JSONResponse({"error": wrong}, 403)(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, protected)

    def _wrong(self, headers: Headers) -> str | None:
        """Why a request is refused; None: it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            asked_from = origin and urlsplit(origin).netloc
        except ValueError:
            return "the headers Host and Origin of the request cannot be read"
        if self._hosts is not None and name not in self._hosts:
            return (
                f"this server is not called {name!r}: ask it as one of "
                f"{', '.join(self._hosts)}"
            )
        if origin is not None and asked_from != host:
            return f"pages of {origin} may not ask this server"
        return None


def names_of(host: str) -> Collection[str] | None:
    """The names of a server that listens on `host`: those of this machine alone if it
    is a loopback address; None, any, if others are to reach it."""
    return LOOPBACK if host in LOOPBACK else None
