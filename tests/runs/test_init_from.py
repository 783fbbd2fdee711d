"""`--init-from`: what fits of other weights is taken, and the rest is named."""

import json

import jax
import numpy as np
import pytest

from jaxvision import models, pretrained
from jaxvision.engine.checkpoint import Checkpoints
from jaxvision.engine.state import digest
from jaxvision.errors import UsageError
from jaxvision.paths import named_leaves
from jaxvision.runs import initial, load_variables, run
from tests.tiny import Config, build

pytestmark = pytest.mark.slow

TINY = ["--epochs", "1", "--devices", "1"]


def execute(workdir, *arguments, make=build):
    words = [*TINY, "--workdir", workdir, *arguments]
    return run(make, Config, smoke={}, arguments=[str(word) for word in words])


def refused(capsys, *arguments, make=build):
    with pytest.raises(SystemExit) as end:
        execute(*arguments, make=make)
    out, err = capsys.readouterr()
    assert end.value.code == 2
    return " ".join((out + err).split())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A finished run of a residual network."""
    workdir = tmp_path_factory.mktemp("source")
    return workdir, execute(workdir, "--model", "resnet")


def widened(config):
    """The network with other classes, and a layer that the other one has not."""
    experiment = build(config)
    model = models.create("resnet20", blocks=2, width=8, num_classes=3)
    return experiment._replace(model=model)


def test_a_run_begins_with_the_best_weights_of_another(source, tmp_path, capsys):
    result = execute(
        tmp_path, "--model", "resnet", "--init-from", source[0],
        "--learning-rate", "1e-9",
    )  # fmt: skip
    begun = named_leaves(load_variables(tmp_path, "last")["params"])
    for path, leaf in named_leaves(load_variables(source[0])["params"]).items():
        np.testing.assert_allclose(begun[path], leaf, atol=1e-6)
    words = " ".join(capsys.readouterr().out.split())
    digits = source[1]["best_params_digest"]
    assert f"of {source[0]}, sha256 {digits[:16]}" in words
    assert "left out: nothing; drawn anew: nothing" in words
    assert result["initial_digest"] == digits
    assert result["initial_left_out"] == result["initial_drawn"] == ""
    assert result["numerics_init_from"] == str(source[0])
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["initial_digest"] == digits


def test_what_does_not_fit_is_named(source):
    start = initial.of_run(widened(Config(model="resnet")), source[0])
    assert start.left_out == ["params/linear/bias 4", "params/linear/kernel 32×4"]
    assert {path.split("/")[1] for path in start.drawn} == {
        "layer1.1", "layer2.1", "layer3.1", "linear",
    }  # fmt: skip
    assert (
        named_leaves(start.variables).keys()
        < named_leaves(load_variables(source[0])).keys()
    )
    assert "left out: params/linear/bias 4, params/linear/kernel 32×4" in start.words()
    assert " more" in start.words() and len(start.words()) < 600
    assert start.record()["initial_drawn"].count(", ") == len(start.drawn) - 1
    assert start.digest == digest(load_variables(source[0])["params"])


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_of_weights_serves_as_well(source, tmp_path, suffix):
    variables = load_variables(source[0])
    file = tmp_path / f"weights.{suffix}"
    pretrained.save(file, "resnet20", variables)
    start = initial.of_run(build(Config(model="resnet")), file)
    assert not start.left_out and not start.drawn
    found, expected = named_leaves(start.variables), named_leaves(variables)
    assert found.keys() == expected.keys()
    for path in found:
        np.testing.assert_array_equal(found[path], expected[path])
    start = initial.of_run(widened(Config(model="resnet")), file)
    assert "params/linear/kernel 32×4" in start.left_out


def test_names_of_other_publishers_are_understood(tmp_path):
    options = dict(depth=1, heads=2, features=8, hidden=8, num_classes=4, patch=4)
    name = "vit_tiny_patch16_224"  # timm's names, unlike ours
    model = models.create(name, **options)
    images = np.zeros((1, 8, 8, 3), np.float32)
    variables = jax.jit(model.init)(jax.random.key(3), images)
    file = tmp_path / "weights.safetensors"
    pretrained.save(file, name, variables)
    experiment = build(Config())._replace(model=model)
    start = initial.of_run(experiment, file)
    assert not start.left_out and not start.drawn
    assert digest(start.variables["params"]) == digest(variables["params"])


ON_ENCODER = dict(
    encoder="resnet20", encoder_options={"blocks": 1, "width": 8}, stride=4,
    num_classes=3,
)  # fmt: skip
"""A larger network whose encoder the finished run has trained."""


@pytest.mark.parametrize("suffix", ["run", "safetensors"])
def test_a_classifier_serves_a_larger_network_as_its_encoder(source, tmp_path, suffix):
    model = models.create("pspnet", **ON_ENCODER)
    weights = source[0]
    if suffix != "run":
        weights = tmp_path / f"weights.{suffix}"
        pretrained.save(weights, "resnet20", load_variables(source[0]))
    experiment = build(Config(model="resnet"))._replace(model=model)
    start = initial.of_run(experiment, weights)
    given = named_leaves(load_variables(source[0]))
    for path, array in named_leaves(start.variables).items():
        np.testing.assert_array_equal(array, given[path.replace("backbone/", "")])
    assert len(start.left_out) == 2
    assert all("params/linear" in path for path in start.left_out)
    assert not any("backbone" in path for path in start.drawn)
    assert {path.split("/")[1].split(".")[0] for path in start.drawn} == {
        "decoder", "segmentation_head",
    }  # fmt: skip


def test_the_weights_of_an_encoder_are_part_of_a_larger_network(source):
    options = {**ON_ENCODER, "encoder_options": dict(blocks=1, width=8)}
    found = initial.backbone("pspnet", source[0], **options)
    experiment = build(Config(model="resnet"))._replace(
        model=models.create("pspnet", **options), initial=lambda: found
    )
    start = initial.of_experiment(experiment)
    assert not any("backbone" in path for path in start.drawn)
    assert found["params"]["backbone"].keys() == {
        name for name in load_variables(source[0])["params"] if name != "linear"
    }


def test_published_weights_of_an_encoder_serve_grey_images(source, tmp_path):
    file = tmp_path / "weights.safetensors"
    pretrained.save(file, "resnet20", load_variables(source[0]))
    found = initial.backbone("pspnet", file, (8, 8, 1), **ON_ENCODER)
    kernel = load_variables(source[0])["params"]["conv1"]["kernel"]
    np.testing.assert_allclose(
        found["params"]["backbone"]["conv1"]["kernel"],
        kernel.sum(2, keepdims=True),
        rtol=1e-6, atol=1e-6,
    )  # fmt: skip
    with pytest.raises(UsageError, match="another params/conv1/kernel"):
        initial.backbone("pspnet", source[0], (8, 8, 1), **ON_ENCODER)


def test_a_continued_run_needs_its_source_no_more(source, tmp_path, monkeypatch):
    file, workdir = tmp_path / "weights.safetensors", tmp_path / "run"
    pretrained.save(file, "resnet20", load_variables(source[0]))
    options = [workdir, "--model", "resnet", "--init-from", file]
    before = execute(*options)
    (workdir / "result.json").unlink()
    file.unlink()
    after = execute(*options)
    for key in ("params_digest", "initial_digest", "numerics_init_from"):
        assert after[key] == before[key]


def test_another_source_is_another_run(source, tmp_path, capsys):
    execute(tmp_path, "--model", "resnet", "--init-from", source[0])
    words = refused(capsys, tmp_path, "--model", "resnet")
    assert f"numerics_init_from: was '{source[0]}', now None" in words


def test_without_it_nothing_is_recorded(source):
    assert not any(key.startswith("initial_") for key in source[1])


def test_weights_that_do_not_serve_are_refused_before_any_work(
    source, tmp_path, capsys, monkeypatch
):
    def never(*_, **__):
        raise AssertionError("data were read")

    workdir = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    monkeypatch.setattr(Checkpoints, "__init__", never)
    for given, message in (
        (source[0], "fits this model: it has params/"),
        (tmp_path / "gone", "there is no"),
        (tmp_path / "empty", "holds no checkpoints"),
        (tmp_path / "notes.txt", "a file of weights ends in .safetensors"),
    ):
        words = refused(capsys, workdir, "--model", "mlp", "--init-from", given)
        assert message in words and not workdir.exists()


def test_initial_weights_of_the_experiment_are_checked_and_recorded_too(
    source, tmp_path, capsys
):
    def with_initial(config):
        weights = models.without(load_variables(source[0]), ("linear/bias",))
        return build(config)._replace(initial=lambda: weights)

    words = refused(capsys, tmp_path / "a", "--model", "mlp", make=with_initial)
    assert "the initial weights have batch_stats/" in words
    assert "more arrays that do not fit" in words
    given = ["--model", "resnet", "--init-from", source[0]]
    words = refused(capsys, tmp_path / "b", *given, make=with_initial)
    assert "was given initial weights already" in words
    result = execute(tmp_path / "c", "--model", "resnet", make=with_initial)
    assert result["initial_drawn"] == "params/linear/bias"


def test_weights_of_another_model_do_not_begin_a_backbone(source, tmp_path):
    found = initial.backbone("resnet20", source[0])
    assert found["params"].keys() == load_variables(source[0])["params"].keys() - {
        "linear"
    }
    file = tmp_path / "weights.safetensors"
    pretrained.save(file, "resnet20", load_variables(source[0]))
    found = initial.backbone("resnet20", file, (8, 8, 3), blocks=1, width=8)
    assert "linear" not in found["params"]
    with pytest.raises(UsageError, match="not the weights of resnet18"):
        initial.backbone("resnet18", file)
    with pytest.raises(UsageError, match="holds no checkpoints"):
        initial.backbone("resnet18", tmp_path)
    with pytest.raises(UsageError, match="unknown model"):
        initial.backbone("resnet19", file)
