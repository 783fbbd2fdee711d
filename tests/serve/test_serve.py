"""The HTTP server, over sockets: answers, batches, refusals, the end."""

import contextlib
import http.client
import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jaxvision import data, tasks, visualise
from jaxvision.errors import UsageError
from jaxvision.export import stablehlo
from jaxvision.serve import batching, server
from tests import predictors
from tests.serve.serving import serving

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")
app = pytest.importorskip("jaxvision.serve.app")

LIMITS = dict(batch_size=4, max_bytes=20_000, max_pixels=10_000)


@pytest.fixture(scope="module")
def made():
    return predictors.make("mlp", crop=data.central_crop(8))


@pytest.fixture(scope="module")
def ask(made):
    with serving(app.make(made.prediction(), "tiny net", **LIMITS)) as ask:
        yield ask


def encoded(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def form(*files):
    """The body of a multipart form, and its header."""
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
        + content
        + b"\r\n"
        for content in files
    ]
    body = b"".join(parts) + b"--edge--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


def test_an_answer_is_the_prediction(made, ask):
    (pixels,) = predictors.pictures(1, 30)
    expected = made.predict([pixels])["probabilities"][0]
    content = encoded(pixels)
    for body, headers in ((content, {}), form(content)):
        status, _, found = ask("POST", "/predict?arrays", body, headers)
        assert status == 200
        np.testing.assert_allclose(
            found["predictions"]["probabilities"], expected, 1e-4, 1e-6
        )
        assert found["words"] == made.show.words({"probabilities": expected})
        # As `predict --json-lines` says it.
        best = made.show.values({"probabilities": expected})["classes"][0]
        assert found["classes"][0]["class"] == best["class"]
        # Seven eighths of the shorter side are taken.
        assert found["seen"] == {
            "of": [30, 30],
            "taken": [2, 2, 28, 28],
            "size": [8, 8],
        }
    assert "predictions" not in ask("POST", "/predict", content)[2]


def test_requests_at_the_same_time_get_the_answers_of_their_own_images(made, ask):
    pictures = predictors.pictures(40, 12)
    expected = made.predict(pictures)["probabilities"]

    def answer(pixels):
        status, _, found = ask("POST", "/predict?arrays", encoded(pixels))
        assert status == 200
        return found["predictions"]["probabilities"]

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(answer, pictures))
    np.testing.assert_allclose(found, expected, 1e-4, 1e-6)
    assert len(np.unique(expected.argmax(-1))) > 1


GOOD = encoded(predictors.pictures(1, 12)[0])


@pytest.mark.parametrize(
    "method, path, body, headers, status, message",
    [
        ("POST", "/predict", b"", {}, 400, "the request is empty"),
        ("POST", "/predict", b"no image", {}, 400, "not an image of the formats"),
        ("POST", "/predict", GOOD[:200], {}, 400, "the image cannot be read"),
        ("POST", "/predict", os.urandom(20_001), {}, 413, "larger than the 20,000"),
        ("POST", "/predict", *form(b"x" * 20_001), 413, "larger than the 20,000"),
        ("POST", "/predict", *form(GOOD, GOOD), 400, "Too many files"),
        ("POST", "/predict", *form(), 400, "holds no file"),
        (
            "POST",
            "/predict",
            GOOD,
            {"Content-Type": "multipart/form-data"},
            400,
            "the form cannot be read",
        ),
        (
            "POST",
            "/predict",
            encoded(np.zeros((101, 100), np.uint8)),
            {},
            413,
            "101×100 pixels, more than the 10,000 allowed",
        ),
        ("GET", "/predict", None, {}, 405, "Method Not Allowed"),
        ("PUT", "/", GOOD, {}, 405, "Method Not Allowed"),
        ("GET", "/../secret", None, {}, 404, "Not Found"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_no_good_request_is_refused(
    method, path, body, headers, status, message, ask
):
    got, answered, found = ask(method, path, body, headers)
    assert got == status and message in found["error"]
    assert status != 405 or answered["allow"]
    assert ask("POST", "/predict", GOOD)[0] == 200


def test_health_says_what_is_served(ask):
    status, _, found = ask("GET", "/health")
    assert status == 200 and found == {
        "status": "ok",
        "name": "tiny net",
        "classes": list(predictors.CLASSES),
        "predictions": {"probabilities": {"shape": [4], "dtype": "float32"}},
    }


def test_the_page_asks_for_a_photograph(ask):
    status, headers, found = ask("GET", "/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert 'type="file"' in found and 'fetch("predict"' in found


def test_a_number_that_json_has_none_for_is_null():
    show = visualise.regression(["a", "b", "c", "d"], target="size")
    made = predictors.make("mlp", task=tasks.regression("size"), show=show)
    found = made.prediction()

    def call(*arguments):
        numbers = found.call(*arguments)["numbers"]
        return {"numbers": numbers.at[:, 0].set(np.inf)}

    with serving(app.make(found._replace(call=call), "x", **LIMITS)) as ask:
        status, _, answer = ask("POST", "/predict", GOOD)
    assert status == 200 and answer["words"][0] == "a  inf"
    assert answer["numbers"]["a"] is None and answer["numbers"]["b"] is not None


MASK = np.zeros((1, 8, 8), np.uint8)
MASK[:, :2] = 3
SHOWN = {
    "multilabel": (
        {"probabilities": np.float32([[0.1, 0.7, 0.2, 0.6]])},
        {"classes": [{"class": "bee", "number": 1}, {"class": "dog", "number": 3}]},
    ),
    "segmentation": (
        {"segmentation": MASK},
        {
            "size": [8, 8],
            "classes": [{"class": "ant"}, {"class": "dog", "share": 0.25}],
        },
    ),
    "detection": (
        {
            "boxes": np.float32([[[1, 2, 5, 6], [0, 0, 0, 0]]]),
            "scores": np.float32([[0.75, 0]]),
            "classes": np.int32([[2, -1]]),
        },
        {"objects": [{"class": "cat", "score": 0.75, "box": [1, 2, 5, 6]}]},
    ),
}


def within(answer, expected):
    """Whether JSON has all that is expected, and lists as long."""
    if isinstance(expected, dict):
        return all(within(answer[key], each) for key, each in expected.items())
    if isinstance(expected, list):
        pairs = zip(answer, expected, strict=True)
        return all(within(*pair) for pair in pairs)
    return answer == expected


@pytest.mark.parametrize("kind", SHOWN)
def test_what_each_task_says_is_answered_and_drawn(kind):
    predicted, expected = SHOWN[kind]
    show = getattr(visualise, kind)(predictors.CLASSES)
    found = predictors.make("mlp").prediction()._replace(show=show)

    def call(variables, frozen, images, first):
        return {
            name: np.repeat(each, len(images), 0) for name, each in predicted.items()
        }

    served = found._replace(call=call)
    with serving(app.make(served, "x", **LIMITS | dict(batch_size=1))) as ask:
        image = encoded(predictors.pictures(1)[0])
        status, _, answer = ask("POST", "/predict", image)
        assert status == 200 and answer["words"] and within(answer, expected)
        status, headers, picture = ask("POST", "/picture", image)
        assert status == 200 and headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(picture)) as drawn:
            assert np.asarray(drawn.convert("RGB")).std() > 0


def test_a_failure_tells_the_client_nothing_and_is_not_the_end(made):
    broken = made.show._replace(words=lambda found: 1 / 0)
    found = made.prediction()._replace(show=broken)
    with serving(app.make(found, "x", **LIMITS)) as ask:
        for _ in range(2):
            status, _, answer = ask("POST", "/predict", GOOD)
            assert status == 500 and answer == {
                "error": "the server failed, and its log says why"
            }


@pytest.mark.parametrize("failing", [False, True])
def test_what_waits_together_is_computed_together(failing):
    import asyncio

    sizes = []

    def compute(images):
        sizes.append(len(images))
        time.sleep(0.05)
        if failing and len(images) > 1:
            raise ArithmeticError("this batch")
        return {"sum": images.sum((1, 2, 3))}

    async def all_of(count):
        batcher = batching.Batcher(compute, 4)
        running = asyncio.create_task(batcher.run())
        images = [np.full((2, 2, 1), number) for number in range(count)]
        first = asyncio.create_task(batcher.predict(images[0]))
        await asyncio.sleep(0.01)  # it is being computed when the others arrive
        others = [batcher.predict(image) for image in images[1:]]
        found = await asyncio.gather(first, *others, return_exceptions=True)
        running.cancel()
        return found

    found = asyncio.run(all_of(7))
    assert sizes == [1, 4, 2]
    if failing:
        assert found[0] == {"sum": 0}
        assert all(isinstance(each, ArithmeticError) for each in found[1:])
    else:
        assert [each["sum"] for each in found] == [4 * n for n in range(7)]


def test_a_network_of_other_channels_is_refused(made):
    two = made.preparation._replace(channels=2)
    with pytest.raises(UsageError, match="takes images of 2 channels"):
        app.make(made.prediction()._replace(preparation=two), "x", **LIMITS)


def test_an_address_that_is_taken_is_refused_before_anything_is_compiled(made):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on port {port}"):
            server.run(None, "x", host="127.0.0.1", port=port, **LIMITS)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"jaxvision-research\[serve\]"):
        server.check_installed()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_end(made, end, tmp_path):
    stablehlo.write(tmp_path / "net.zip", made, {"experiment": "tiny"})
    command = [sys.executable, "-m", "jaxvision", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--export", tmp_path / "net.zip"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("tiny is served at http://127.0.0.1:")
        port = int(line.rpartition(":")[2])
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        ) as connection:
            connection.request("POST", "/predict", GOOD)
            assert connection.getresponse().status == 200
        process.send_signal(end)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and not out and not err
