"""The HTTP side: what is asked, what is answered, and what is refused.

    GET  /         a page that lets one choose a photograph, or other pages
    GET  /health   {"status": "ok", "name": …, "classes": […], "predictions": {…}}
    POST /predict  an image file as the body, or as the one file of a multipart form
                   -> {"words": ["7  99.1 %", …], "classes": [{"class": "7", …}, …],
                       "seen": {"of": [480, 640], "taken": […], "size": [224, 224]}}
                   what the task says of it, as `predict` does; with `?arrays` also
                   {"predictions": {"probabilities": […]}}, all arrays of the task
    POST /picture  the same -> a PNG with what is predicted drawn upon it

`seen` says which part of the image the network was given, as a box in its pixels, and
the size that it was given it at, whose pixels boxes and maps refer to.

Errors are {"error": message} with 400 for what is no image, 403 for who may not ask
(see `guard`), 404, 405, 413 for what is too large, and 500, of which the client learns
no more.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jaxvision.data.feed.preparation import Preparation, prepare
from jaxvision.data.files import decoding
from jaxvision.data.files.decoding import DecodeError
from jaxvision.errors import check
from jaxvision.files import plain
from jaxvision.runs.predictor import Prediction, described
from jaxvision.serve.batching import Batcher, compiled
from jaxvision.serve.guard import Guard
from jaxvision.types import Show


class Page(NamedTuple):
    """A file that is served as it is."""

    content: bytes
    kind: str
    """Such as `"text/html"`."""


def page(path: Path) -> Page:
    """The page in a file of this package, or of its parts."""
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    return Page(path.read_bytes(), kinds[path.suffix])


PAGES = {"/": page(Path(__file__).with_name("page.html"))}
"""By default: one that lets one choose a photograph."""


def make(
    prediction: Prediction,
    name: str,
    *,
    batch_size: int,
    max_bytes: int,
    max_pixels: int,
    pages: Mapping[str, Page] = PAGES,
    hosts: Collection[str] | None = None,
) -> Starlette:
    """The application; it compiles before it returns.

    Args:
      name: what the page and `/health` call the network.
      batch_size: requests that are computed together, at most.
      max_bytes: of the body of a request.
      max_pixels: of an image, by its header, before it is decoded.
      pages: what is answered at other paths.
      hosts: the names under which it may be asked; None: any.
    """
    channels = prediction.preparation.channels
    check(
        (
            channels in (1, 3),
            f"the network takes images of {channels} channels, and image files hold 1 "
            "or 3: it cannot be served",
        ),
        (max_bytes >= 1, f"max_bytes must be positive, got {max_bytes}"),
        (max_pixels >= 1, f"max_pixels must be positive, got {max_pixels}"),
    )
    show = prediction.show
    batcher = Batcher(compiled(prediction, batch_size), batch_size)
    outputs = jax.eval_shape(
        prediction.call,
        prediction.variables,
        prediction.frozen,
        prediction.images(1),
        np.int32(0),
    )
    about = {
        "status": "ok",
        "name": name,
        "classes": list(prediction.classes),
        "predictions": {
            output: {"shape": list(each.shape[1:]), "dtype": str(each.dtype)}
            for output, each in outputs.items()
        },
    }

    async def file(request: Request) -> Response:
        content, kind = pages[request.url.path]
        return Response(content, media_type=kind)

    async def health(request: Request) -> JSONResponse:
        return JSONResponse(about)

    async def predicted(request: Request) -> tuple[_Prepared, Mapping]:
        encoded = await _image_of(request, max_bytes)
        try:
            given = await asyncio.to_thread(
                _prepared, prediction.preparation, encoded, max_pixels
            )
        except DecodeError as error:
            raise HTTPException(400, f"the image cannot be read: {error}") from error
        return given, await batcher.predict(given.image)

    async def predict(request: Request) -> JSONResponse:
        given, found = await predicted(request)
        answer = {
            "words": list(show.words(found)) if show else [],
            **described(show, found),
            "seen": given.seen,
        }
        if "arrays" in request.query_params:
            answer["predictions"] = found
        return JSONResponse(plain(answer))

    async def picture(request: Request) -> Response:
        assert show is not None  # or there is no such path
        given, found = await predicted(request)
        drawn = await asyncio.to_thread(_drawn, show, given.image, found)
        return Response(drawn, media_type="image/png")

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        running.cancel()

    return Starlette(
        routes=[
            *(Route(path, file) for path in pages),
            Route("/health", health),
            Route("/predict", predict, methods=["POST"]),
            *([Route("/picture", picture, methods=["POST"])] if show else []),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
        middleware=[Middleware(Guard, hosts=hosts)],
        lifespan=lifespan,
    )


async def _image_of(request: Request, max_bytes: int) -> bytes:
    """The image file that a request holds, of which no more is read than is allowed."""

    async def body() -> AsyncGenerator[bytes, None]:
        count = 0
        async for chunk in request.stream():
            count += len(chunk)
            if count > max_bytes:
                raise HTTPException(
                    413, f"the request is larger than the {max_bytes:,} bytes allowed"
                )
            yield chunk

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return b"".join([chunk async for chunk in body()])
    try:
        form = await MultiPartParser(request.headers, body(), max_files=1).parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    files = [each for each in form.values() if not isinstance(each, str)]
    if not files:
        raise HTTPException(400, "the form holds no file: send one image")
    content = await files[0].read()
    await form.close()
    return content


class _Prepared(NamedTuple):
    """An image as the network takes it."""

    image: np.ndarray
    """uint8 [S,T,C]."""
    seen: Mapping[str, Any]
    """Which part of the image that is, see above."""


def _prepared(preparation: Preparation, encoded: bytes, max_pixels: int) -> _Prepared:
    if not encoded:
        raise DecodeError("the request is empty: send the content of an image file")
    height, width = decoding.size(encoded)
    if height * width > max_pixels:
        raise HTTPException(
            413,
            f"the image has {height}×{width} pixels, more than the {max_pixels:,} "
            "allowed",
        )
    out = np.zeros((*preparation.crop.size, preparation.channels), np.uint8)
    box, height, width = prepare(encoded, preparation.crop, (), out)
    taken = list(map(float, box.corners()))
    return _Prepared(
        out,
        {"of": [height, width], "taken": taken, "size": list(preparation.crop.size)},
    )


def _drawn(show: Show, image: np.ndarray, found: Mapping[str, np.ndarray]) -> bytes:
    from jaxvision import visualise

    return visualise.encoded(show.draw({"image": image}, found))


async def _refused(request: Request, error: Any) -> JSONResponse:
    return JSONResponse(
        {"error": error.detail}, error.status_code, headers=error.headers
    )


async def _failed(request: Request, error: Exception) -> JSONResponse:
    # The server's log has the traceback.
    return JSONResponse({"error": "the server failed, and its log says why"}, 500)
