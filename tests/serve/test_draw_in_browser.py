"""The page as a person uses it, in a real browser: drawn upon, clicked, resized.

Runs where Playwright (the extra `browser`) and a Chromium are installed, such as
Debian's package; else it says what is missing.
"""

import contextlib
import shutil

import numpy as np
import pytest

import jaxvision
from experiments import mnist_lenet5
from jaxvision import data
from jaxvision.runs import run
from jaxvision.serve import drawing
from tests.serve import digits
from tests.serve.serving import drawing_page, serving

playwright = pytest.importorskip(
    "playwright.sync_api",
    reason="needs Playwright (the extra browser, which make setup installs where "
    "there is a Chromium)",
)
pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
STROKE_TO_GUESS = 100
"""Milliseconds, at most."""


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with playwright.sync_playwright() as runner:
        try:
            # Root, as in containers, has no sandbox.
            found = runner.chromium.launch(
                executable_path=program, args=["--no-sandbox"]
            )
        except playwright.Error as error:
            pytest.skip(f"needs Chromium, such as Debian's package: {error.message}")
        yield found
        found.close()


@contextlib.contextmanager
def opened(browser, address, **options):
    """A page whose errors, and requests to elsewhere, fail the test."""
    wrong = []
    page = browser.new_page(**{"viewport": {"width": 1400, "height": 1000}, **options})
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((address.rpartition("/")[0], "data:", "blob:"))
            or wrong.append(request.url)
        ),
    )
    page.goto(address)
    try:
        yield page
        assert not wrong
    finally:
        page.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """LeNet-5 after a short training on the embedded digits."""
    workdir = tmp_path_factory.mktemp("run")
    run(
        mnist_lenet5.build,
        mnist_lenet5.Config,
        smoke={},
        arguments=[
            *("--dataset", "mnist_5k", "--epochs", "4", "--devices", "1"),
            *("--workdir", str(workdir)),
        ],
    )
    return jaxvision.load(workdir)


@pytest.fixture(scope="module")
def address(trained):
    with serving(drawing_page(trained)) as ask:
        yield f"http://127.0.0.1:{ask.port}/"


def thinned(ink):
    """The middle lines of strokes, bool [H,W].  Zhang and Suen 1984."""
    ink = np.pad(ink, 1)
    while True:
        before = ink.copy()
        for turn in (0, 1):
            around = [
                np.roll(ink, shift, (0, 1))
                for shift in (
                    *((1, 0), (1, -1), (0, -1), (-1, -1)),
                    *((-1, 0), (-1, 1), (0, 1), (1, 1)),
                )
            ]
            count = sum(each.astype(int) for each in around)
            rises = sum(
                (~a & b).astype(int)
                for a, b in zip(around, around[1:] + around[:1], strict=True)
            )
            north, east, south, west = around[0], around[2], around[4], around[6]
            if turn == 0:
                keeps = (north & east & south) | (east & south & west)
            else:
                keeps = (north & east & west) | (north & south & west)
            ink = ink & ~((count >= 2) & (count <= 6) & (rises == 1) & ~keeps)
        if (ink == before).all():
            return ink[1:-1, 1:-1]


def strokes(image):
    """Lines of points (x, y) in pixels along which a digit [28,28,1] can be drawn."""
    left = {(int(r), int(c)) for r, c in np.argwhere(thinned(image[..., 0] > 90))}

    def beside(point):
        return [
            (point[0] + down, point[1] + across)
            for down, across in (
                *((0, 1), (1, 0), (0, -1), (-1, 0)),
                *((1, 1), (1, -1), (-1, 1), (-1, -1)),
            )
            if (point[0] + down, point[1] + across) in left
        ]

    lines = []
    while left:
        at = min(left, key=lambda point: (len(beside(point)) != 1, point))
        line = [at]
        left.discard(at)
        while near := beside(at):
            at = near[0]
            left.discard(at)
            line.append(at)
        lines.append([(column + 0.5, row + 0.5) for row, column in line])
    return lines


def settle(page):
    """Waits until the page shows what was done, which it does in its next frame."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


def draw(page, image):
    """The digit by the mouse, stroke by stroke."""
    page.click("#clear")
    settle(page)
    box = page.locator("#pad").bounding_box()
    scale = box["width"] / 28
    for line in strokes(image):
        places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in line]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:] or places:
            page.mouse.move(*place)
        page.mouse.up()
    settle(page)


def test_ten_digits_of_the_test_set_are_recognised(browser, address):
    source = data.load("mnist_5k").test
    examples = source.read()
    right, latencies = 0, []
    with opened(browser, address) as page:
        assert page.inner_text("#first") == "?"
        for digit in range(10):
            image = examples["image"][examples["label"] == digit][3]
            draw(page, image)
            right += page.inner_text("#first") == str(digit)
            assert page.inner_text("#first") == page.evaluate(
                "document.body.dataset.first"
            )
            shares = page.inner_text("#first-share"), page.inner_text("#second")
            assert shares[0].startswith("with ") and shares[1].startswith(
                "second guess"
            )
            latencies.append(float(page.evaluate("document.body.dataset.latency")))
            # The run itself, by JAX, on the same pixels.
            page.get_by_text("The run itself computes the same").wait_for()
            assert float(page.evaluate("document.body.dataset.apart")) < 1e-4
    assert right >= 9
    assert np.median(latencies) < STROKE_TO_GUESS, latencies


def test_a_unit_shows_the_sum_that_made_it(browser, address):
    image = data.load("mnist_5k").test.read()["image"][0]
    with opened(browser, address) as page:
        draw(page, image)
        for layer, name in ((1, "c1"), (2, "s2"), (3, "c3"), (5, "c5"), (7, "logits")):
            canvas = page.locator(f"#layer-{layer} canvas")
            size = canvas.bounding_box()
            canvas.click(position={"x": size["width"] / 2, "y": size["height"] / 2})
            assert page.inner_text("#unit").startswith(name)
            found = page.evaluate(
                "[document.body.dataset.value, document.body.dataset.sum]"
            )
            value, total = map(float, found)
            assert value == pytest.approx(total, abs=1e-4)
            assert page.locator("#sum table").count() >= 1
            assert page.locator("#lines path").count() >= 2
        before = page.inner_text("#unit")
        page.locator("#layer-7 canvas").press("ArrowUp")
        assert page.inner_text("#unit") != before
        # The pad by keyboard: a line downwards is a one, or at least something.
        page.click("#clear")
        pad = page.locator("#pad")
        pad.press("ArrowUp"), pad.press(" ")
        for _ in range(8):
            pad.press("ArrowDown")
        pad.press(" ")
        settle(page)
        assert page.inner_text("#first") in map(str, range(10))
        page.keyboard.press("Backspace")
        settle(page)
        assert page.inner_text("#first") == "?"


def test_layers_are_switched_and_the_page_fits_any_window(browser, address):
    with opened(browser, address) as page:
        switches = page.locator("#switches input")
        assert switches.count() == 8
        for n in (1, 4):
            switches.nth(n).click()
            assert page.locator(f"#layer-{n}").is_hidden()
        switches.nth(1).click()
        assert page.locator("#layer-1").is_visible()
        for width, height in ((1600, 1000), (820, 1100), (360, 740)):
            page.set_viewport_size({"width": width, "height": height})
            beyond = page.evaluate(
                "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)"
                "(document.documentElement)"
            )
            assert beyond <= 0, width
        unnamed = page.evaluate(
            """[...document.querySelectorAll("button, input, canvas")].filter((each) =>
            !(each.textContent || each.ariaLabel || each.closest("label")?.textContent)
            ).length"""
        )
        assert unnamed == 0


def test_by_touch(browser, address):
    options = {"has_touch": True, "viewport": {"width": 390, "height": 800}}
    with opened(browser, address, **options) as page:
        box = page.locator("#pad").bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        settle(page)
        assert page.inner_text("#first") in map(str, range(10))


@pytest.mark.parametrize("name", digits.NETWORKS)
def test_the_export_computes_in_the_browser_what_the_run_does(browser, tmp_path, name):
    predictor = digits.predictor(name)
    drawing.export(predictor, name, tmp_path)
    images = digits.pictures(3)
    expected = predictor.predict(images)["probabilities"]
    with opened(browser, (tmp_path / "index.html").as_uri()) as page:
        for image, probabilities in zip(images, expected, strict=True):
            found = page.evaluate(
                "pixels => Layers.softmax(Layers.run(network, pixels).at(-1))",
                image.ravel().tolist(),
            )
            np.testing.assert_allclose(found, probabilities, atol=1e-4)
        # Each unit is the sum that explains it.
        worst = page.evaluate(
            """pixels => {
              const values = Layers.run(network, pixels);
              let worst = 0;
              network.layers.forEach((layer, n) => {
                if (["pad", "scale"].includes(layer.kind)) return;
                const shape = n ? network.layers[n - 1].shape : network.size;
                for (let unit = 0; unit < values[n + 1].length; unit += 97) {
                  const { value } = Layers.explained(layer, values[n], shape, unit);
                  worst = Math.max(worst, Math.abs(value - values[n + 1][unit]));
                }
              });
              return worst;
            }""",
            images[0].ravel().tolist(),
        )
        assert worst < 1e-4
