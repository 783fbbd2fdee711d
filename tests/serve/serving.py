"""An application on a socket of its own, for as long as a test needs it."""

import contextlib
import http.client
import json
import threading
import time


@contextlib.contextmanager
def serving(application):
    """A function that sends a request, and returns status, headers and answer.

    `ask.port` is where the application listens.
    """
    import uvicorn

    config = uvicorn.Config(application, port=0, lifespan="on", log_level="critical")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]

    def ask(method, path, body=None, headers=None):
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        ) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
        kind = answer.getheader("content-type")
        read = {"application/json": json.loads, "image/png": bytes}
        found = read.get(kind, bytes.decode)(content)
        return answer.status, dict(answer.getheaders()), found

    ask.port = port
    try:
        yield ask
    finally:
        running.should_exit = True
        thread.join()


def drawing_page(predictor):
    """The application of `draw`, as on a loopback address."""
    from jaxvision.serve import app, drawing, guard

    return app.make(
        predictor.prediction(),
        "mine",
        batch_size=8,
        max_bytes=10_000,
        max_pixels=2_000,
        pages=drawing.pages(predictor, "mine"),
        hosts=guard.LOOPBACK,
    )
