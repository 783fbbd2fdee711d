"""`python -m jaxvision export`: every format, compared with the original."""

import sys

import numpy as np
import pytest

import jaxvision
from jaxvision.commands import main as cli
from jaxvision.export import onnx, stablehlo
from jaxvision.runs import weights_folder
from tests import predictors


def run(capsys, *arguments):
    """Exit code, output and error output of a command, in this process."""
    code = 0
    try:
        cli.main([*map(str, arguments)])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, with one published network, which is called `net`."""
    made = predictors.make("mlp")

    def load(name, *, weights, **others):
        assert (name, weights) == ("net", "w.safetensors")
        return made

    monkeypatch.setattr(jaxvision, "load", load, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


NET = ("--model", "net", "--weights", "w.safetensors")


@pytest.mark.parametrize("to", ["stablehlo", "onnx", "safetensors"])
def test_a_network_is_exported_and_compared(to, folder, capsys):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra export")
    code, out, err = run(capsys, "export", "net.x", "--to", to, *NET)
    assert (code, err) == (0, "")
    assert "probabilities: differs by " in out and "net.x: written" in out
    pictures = predictors.pictures(2)
    images = predictors.make("mlp").preparation.images(pictures)
    found = {
        "stablehlo": lambda: stablehlo.read("net.x").prediction.predict(pictures),
        "onnx": lambda: onnx.run("net.x", images),
        "safetensors": lambda: weights_folder.read("net.x").predict(pictures),
    }[to]()["probabilities"]
    expected = predictors.make("mlp").predict(pictures)["probabilities"]
    np.testing.assert_allclose(found, expected, 1e-4, 1e-6)


def test_an_export_that_computes_something_else_is_not_left(
    folder, capsys, monkeypatch
):
    write = stablehlo.write

    def wrong(file, predictor, record):
        variables = dict(predictor.variables)
        variables["params"] = {**variables["params"]}
        layer = variables["params"]["Dense_0"]
        variables["params"]["Dense_0"] = layer | {"bias": layer["bias"] + 1}
        write(file, predictors.make("mlp", variables=variables), record)

    monkeypatch.setattr(stablehlo, "write", wrong)
    code, out, err = run(capsys, "export", "net.zip", "--to", "stablehlo", *NET)
    assert code == 2 and "computes another" in err and not out
    assert not [*folder.iterdir()]
    assert (
        run(capsys, "export", "net.zip", "--to", "stablehlo", "--tolerance", 1e9, *NET)[
            0
        ]
        == 0
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (["x.zip", "--to", "stablehlo"], "give --run DIR, or --model"),
        (["x.zip", "--to", "stablehlo", "--run", "r", *NET], "give --run DIR, or"),
        (["x.zip", "--to", "stablehlo", "--model", "net"], "needs --weights"),
        (["x.zip", "--to", "stablehlo", "--run", "r", *NET[2:]], "a run has its own"),
        (["x.zip", "--to", "stablehlo", "--which", "last", *NET], "--which is for"),
        (["no/x.zip", "--to", "stablehlo", *NET], "there is no folder no"),
        ([".", "--to", "stablehlo", *NET], "is a folder: name a file"),
        (["full", "--to", "safetensors", *NET], "full is there already"),
        (["x.zip", "--to", "stablehlo", "--tolerance", "0", *NET], "must be positive"),
        (
            ["x.zip", "--to", "stablehlo", "--activations", "logits", *NET],
            "are for --to onnx",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(options, message, folder, capsys):
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    code, _, err = run(capsys, "export", *options)
    assert code == 2 and message in err
    assert [path.name for path in folder.iterdir()] == ["full"]


def test_serve_asks_for_one_network_and_its_packages(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = run(capsys, "serve", *NET)
    assert code == 2 and "jaxvision-research[serve]" in err
