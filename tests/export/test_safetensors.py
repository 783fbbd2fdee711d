"""The folder for the hub: strict names, a card that says what is known, and back."""

import json

import jax
import numpy as np
import pytest
import yaml
from PIL import Image

import jaxvision
from jaxvision import pretrained
from jaxvision.commands.main import main
from jaxvision.errors import UsageError
from jaxvision.export import card, safetensors
from tests import predictors

RESULT = {
    "experiment": "tiny",
    "dataset": "synthetic",
    "evaluations": ["test"],
    "measures": {
        "accuracy": {"name": "accuracy", "unit": "%", "better": "higher", "decimals": 2}
    },
    "test_accuracy": 0.9876,
    "git_commit": "0123abc",
    "parameters": 1234,
    "tested_on": "drawn apart",
    "validated_on": "a tenth",
    "command": "python -m experiments.tiny --seed 1",
}


@pytest.fixture(scope="module")
def made():
    return predictors.make("resnet")


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "net"
    safetensors.write(folder, made, RESULT)
    return folder


def test_what_is_read_predicts_the_same(made, folder):
    again = jaxvision.load(folder)
    pictures = predictors.pictures(3)
    expected = made.predict(pictures)["probabilities"]
    found = again.predict(pictures)["probabilities"]
    np.testing.assert_array_equal(found, expected)
    assert again.classes == predictors.CLASSES
    words = again.show.words({"probabilities": found[0]})
    assert words[0].startswith(predictors.CLASSES[expected[0].argmax()])
    renamed = jaxvision.load(folder, classes=["a", "b", "c", "d"])
    assert renamed.show.words({"probabilities": found[0]})[0][0] in "abcd"
    with pytest.raises(UsageError, match="no last one"):
        jaxvision.load(folder, which="last")


def test_the_commands_take_the_folder_in_place_of_a_run(folder, made, tmp_path, capsys):
    pixels = predictors.pictures(1)[0]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = str(tmp_path / "a.png")
    main(["predict", picture, "--run", str(folder), "--json-lines", "--output", "None"])
    said = json.loads(capsys.readouterr().out)["classes"][0]
    expected = made.predict([pixels])["probabilities"][0]
    assert said["number"] == expected.argmax()


def test_the_weights_have_the_names_of_the_reference(made, folder):
    options = dict(blocks=1, width=8, num_classes=4)
    found = pretrained.load("resnet20", folder / "model.safetensors", **options)
    assert jax.tree.structure(found) == jax.tree.structure(made.variables)
    for a, b in zip(
        jax.tree.leaves(found), jax.tree.leaves(made.variables), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert "layer1.0.conv1.weight" in pretrained.read(folder / "model.safetensors")


def test_the_config_says_what_others_ask_for(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["architecture"] == "resnet20" and config["num_classes"] == 4
    assert config["library_name"] == "jaxvision"


def test_the_card_has_numbers_and_origin(folder):
    text = (folder / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "jaxvision",
        "tags": ["jax", "jaxvision", "resnet20"],
        "datasets": ["synthetic"],
    }
    assert "| test accuracy | 98.76 % |" in body
    assert "on validation (a tenth), tested once (drawn apart)." in body
    assert "| commit | `0123abc` |" in body
    assert "0: ant, 1: bee, 2: cat, 3: dog" in body


def test_the_card_says_no_more_than_is_known():
    text = card.text({"experiment": "resnet50"}, (), "use()", "resnet50")
    assert "Results" not in text and "Origin" not in text and "trained" not in text
    assert "datasets" not in text and "Classes" not in text


def test_paths_of_this_machine_are_not_told():
    secret = "python -m experiments.tiny --workdir /home/me/runs/x --seed 1"
    assert "/home" not in card.text(RESULT | {"command": secret}, (), "use()")


def test_a_network_that_has_no_name_is_refused(made, tmp_path):
    own = made.model._replace(apply=lambda *a, **k: made.model.apply(*a, **k))
    with pytest.raises(UsageError, match=r"not one of models\.create.*stablehlo"):
        safetensors.write(tmp_path / "x", predictors.make(model=own), RESULT)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("config.json", lambda c: c.replace(b"resnet20", b"resnet32"), "damaged"),
        ("config.json", lambda c: b'{"format": 9, "model": 1, "preparation": 1}', "9"),
        ("config.json", lambda c: b"", "damaged"),
        ("model.safetensors", lambda c: c[:-1] + b"x", "not the file that was written"),
    ],
)
def test_what_was_changed_is_refused(file, change, message, folder, tmp_path):
    for each in folder.iterdir():
        content = each.read_bytes()
        if each.name == file:
            content = change(content)
        (tmp_path / each.name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        jaxvision.load(tmp_path)


def test_what_is_no_export_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"there is no config\.json in it"):
        jaxvision.load(tmp_path)
