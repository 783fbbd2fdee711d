"""The page to draw on: the network in it, its files, its server."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.commands.main import main
from jaxvision.errors import UsageError
from jaxvision.explain.chain import chain
from jaxvision.serve import drawing
from tests import predictors
from tests.serve import digits
from tests.serve.serving import drawing_page, serving

ACTIVATIONS = {
    "": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def computed(layers, image):
    """What the chain makes of an image, by the definitions of its layers."""
    x = np.asarray(image, np.float32)
    found = {}
    for layer in layers:
        kernel, bias = (layer.arrays.get(name) for name in ("kernel", "bias"))
        match layer.kind:
            case "scale":
                x = x * kernel + bias
            case "pad":
                value = layer.options["value"]
                x = np.pad(x, (*layer.options["pads"], (0, 0)), constant_values=value)
            case "dense":
                x = x.reshape(-1) @ kernel + bias
            case "conv":
                x = jax.lax.conv_general_dilated(
                    x[None],
                    kernel,
                    layer.options["strides"],
                    layer.options["pads"],
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )[0]
                x = np.asarray(x) + bias
            case "max_pool" | "avg_pool":
                tall, wide = layer.options["window"]
                rows, columns, channels = layer.shape
                windows = x[: rows * tall, : columns * wide]
                windows = windows.reshape(rows, tall, columns, wide, channels)
                together = np.max if layer.kind == "max_pool" else np.mean
                x = together(windows, (1, 3))
        x = ACTIVATIONS[layer.activation](x)
        assert x.shape == layer.shape
        found[layer.name] = x
    return found


@pytest.mark.parametrize("name", digits.NETWORKS)
def test_a_chain_computes_what_the_network_does(name):
    predictor = digits.predictor(name)
    layers = chain(predictor)
    images = digits.pictures()
    expected = predictor.features(images, "logits")
    for image, logits in zip(images, expected, strict=True):
        found = computed(layers, image)
        np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-4)
    assert len({layer.name for layer in layers}) == len(layers)


def test_layers_have_the_names_of_the_activations():
    layers = chain(digits.predictor("lenet5"))
    linear = [layer for layer in layers if layer.kind not in ("pad", "scale")]
    assert [layer.name for layer in linear] == [
        *("c1", "s2", "c3", "s4", "c5", "pre_logits", "logits")
    ]
    kinds = [f"{layer.kind} {layer.activation}" for layer in linear]
    assert kinds[:3] == ["conv tanh", "avg_pool ", "conv tanh"]
    assert linear[-1].activation == "" and linear[2].shape == (10, 10, 16)


def test_networks_that_are_no_chain_are_refused():
    for kind in ("resnet", "vit"):
        with pytest.raises(UsageError, match="this network is no chain of"):
            chain(predictors.make(kind))


def network_of(script):
    text = script.partition("const NETWORK = ")[2].rstrip().removesuffix(";")
    return json.loads(text)


def test_the_script_holds_the_numbers_of_the_network():
    predictor = digits.predictor("mlp")
    found = network_of(drawing.script(predictor, "</script> 'x'", served=True))
    assert found["served"] and found["title"] == "</script> 'x'"
    assert found["size"] == [28, 28, 1] and found["classes"] == list(digits.CLASSES)
    assert found["parameters"] == sum(
        leaf.size for leaf in jax.tree.leaves(predictor.variables)
    )
    first = next(layer for layer in found["layers"] if layer["kind"] == "dense")
    kernel = first["arrays"]["kernel"]
    numbers = np.frombuffer(base64.b64decode(kernel["data"]), "<f4")
    np.testing.assert_array_equal(
        numbers.reshape(kernel["shape"]),
        predictor.variables["params"]["Dense_0"]["kernel"],
    )
    assert "</script>" not in drawing.script(predictor, "</script>", served=True)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(classes=tuple("abcdefghij")), "this network tells a, b, c"),
        (dict(classes=()), "this network tells no classes apart"),
    ],
)
def test_what_tells_no_digits_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        drawing.script(digits.predictor(**changes), "x", served=False)
    colourful = predictors.make("mlp", classes=digits.CLASSES)
    with pytest.raises(UsageError, match="this network takes images of 8×8×3"):
        drawing.script(colourful, "x", served=False)


def test_an_export_is_a_folder_that_needs_nothing_else(tmp_path):
    folder = tmp_path / "a" / "page"
    for _ in range(2):  # an earlier export gives way
        drawing.export(digits.predictor("mlp"), "mine", folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {*drawing.FILES, drawing.SCRIPT}
    for name in drawing.FILES:
        text = (folder / name).read_text(encoding="utf-8")
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
    assert not network_of((folder / drawing.SCRIPT).read_text())["served"]
    (folder / "thesis.tex").write_text("all of it")
    with pytest.raises(UsageError, match=r"holds something else \(thesis.tex\)"):
        drawing.export(digits.predictor("mlp"), "mine", folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another --export"):
        drawing.export(digits.predictor("mlp"), "mine", tmp_path / "file" / "page")


@pytest.fixture(scope="module")
def ask():
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    pytest.importorskip("starlette", reason="needs the extra serve")
    pytest.importorskip("python_multipart", reason="needs the extra serve")
    with serving(drawing_page(digits.predictor("mlp"))) as ask:
        yield ask


def encoded(pixels):
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(stream, "PNG")
    return stream.getvalue()


def test_the_page_is_served_beside_the_run(ask):
    for path, kind in (
        ("/", "text/html"),
        ("/draw.js", "text/javascript"),
        ("/layers.js", "text/javascript"),
        ("/draw.css", "text/css"),
        ("/network.js", "text/javascript"),
    ):
        status, headers, found = ask("GET", path)
        assert status == 200 and headers["content-type"].startswith(kind) and found
        assert "default-src 'self'" in headers["content-security-policy"]
    status, _, found = ask("GET", "/../../etc/passwd")
    assert status == 404 and "root:" not in str(found)


def test_two_hundred_at_once_are_all_answered(ask):
    images = digits.pictures(200)
    expected = digits.predictor("mlp").predict(images)["probabilities"]

    def answer(pixels):
        status, _, found = ask("POST", "/predict?arrays", encoded(pixels))
        assert status == 200, found
        return found["predictions"]["probabilities"]

    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(answer, images))
    np.testing.assert_allclose(found, expected, 1e-4, 1e-6)


GOOD = encoded(digits.pictures(1)[0])


@pytest.mark.parametrize(
    "headers, message",
    [
        ({"Host": "evil.example"}, "this server is not called 'evil.example'"),
        ({"Host": "127.0.0.1.evil.example:80"}, "is not called"),
        ({"Host": ""}, "is not called ''"),
        ({"Origin": "https://evil.example"}, "pages of https://evil.example may not"),
        ({"Origin": "null"}, "pages of null may not ask"),
        ({"Origin": "http://127.0.0.1:1"}, "may not ask this server"),
        ({"Origin": "http://[::1"}, "cannot be read"),
    ],
)
def test_other_sites_may_not_ask(ask, headers, message):
    for method, path in (("POST", "/predict"), ("GET", "/"), ("GET", "/network.js")):
        status, _, found = ask(method, path, GOOD, headers)
        assert status == 403 and message in found["error"]
    own = {"Origin": f"http://127.0.0.1:{ask.port}"}
    for good in (own, {}, {"Host": f"localhost:{ask.port}"}):
        assert ask("POST", "/predict", GOOD, good)[0] == 200


def test_a_server_for_others_has_any_name():
    guard = pytest.importorskip("jaxvision.serve.guard")
    assert guard.names_of("0.0.0.0") is None
    assert "localhost" in guard.names_of("127.0.0.1")


@pytest.mark.parametrize(
    "body, status, message",
    [
        (b"", 400, "the request is empty"),
        (b"no image", 400, "not an image"),
        (b"x" * 10_001, 413, "larger than the 10,000 bytes"),
        (encoded(np.zeros((50, 50, 1), np.uint8)), 413, "50×50 pixels"),
        (encoded(np.zeros((20, 28, 1), np.uint8)), 400, "the image cannot be read"),
    ],
)
def test_what_is_no_digit_is_refused_and_the_server_goes_on(ask, body, status, message):
    got, _, found = ask("POST", "/predict", body)
    assert got == status and message in found["error"]
    assert ask("POST", "/predict", GOOD)[0] == 200


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--run", "."], "there is no config.json in it"),
        (["--run", "nowhere"], "nowhere is no run directory"),
    ],
)
def test_bad_input_of_the_command_is_named(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["draw", *arguments])
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_shapes_are_those_of_jax():
    layers = chain(digits.predictor("convnet"))
    image = jnp.zeros((28, 28, 1))
    assert [x.shape for x in computed(layers, image).values()] == [
        layer.shape for layer in layers
    ]
