"""A finished run, and a published network, as values that can be used."""

import functools
import json
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvision
from experiments import mnist_lenet5
from jaxvision import models, pretrained
from jaxvision.errors import UsageError
from jaxvision.files import read_object, replace_object
from jaxvision.runs import load_variables, run

SMOKE = dict(dataset="synthetic:28x28x1", epochs=1)
TEST = mnist_lenet5.build(mnist_lenet5.Config(**SMOKE)).test


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    result = run(
        mnist_lenet5.build,
        mnist_lenet5.Config,
        smoke=SMOKE,
        arguments=[
            "--smoke",
            "--devices",
            "1",
            "--ema",
            "0.5",
            "--workdir",
            str(workdir),
        ],
    )
    return workdir, result


def test_a_loaded_run_repeats_its_test(finished):
    workdir, result = finished
    predictor = jaxvision.load(workdir)
    found = predictor.evaluate(TEST)
    assert found["accuracy"] == result["test_accuracy"]
    by_name = predictor.evaluate("synthetic:28x28x1")
    assert by_name["loss"] == pytest.approx(found["loss"], rel=1e-6)
    average = jaxvision.load(workdir, which="average")
    found = average.evaluate(TEST)
    assert found["accuracy"] == result["test_average_accuracy"]


def test_pictures_are_predicted_as_in_the_pipeline(finished):
    predictor = jaxvision.load(finished[0])
    images = TEST.resident()["image"][:5]
    found = predictor.predict(list(images), batch_size=2)["probabilities"]
    assert found.shape == (5, 10)
    batch = TEST.transform(jax.random.key(0), {"image": images})
    outputs, _ = predictor.model.apply(predictor.variables, batch["image"])
    expected = jax.nn.softmax(outputs["logits"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    features = predictor.features(list(images), "pre_logits")
    np.testing.assert_allclose(features, outputs["pre_logits"], rtol=1e-4, atol=1e-5)
    words = predictor.show.words({"probabilities": found[0]})
    assert words[0].startswith(f"{predictor.classes[found[0].argmax()]}  ")
    with pytest.raises(UsageError, match="did you mean 'pre_logits'"):
        predictor.features(list(images), "prelogits")
    with pytest.raises(UsageError, match="there are no pictures"):
        predictor.predict([])


def test_what_prediction_needs_is_in_the_run_directory(finished):
    saved = json.loads((finished[0] / "prediction.json").read_text())
    assert saved["classes"] == list("0123456789") and saved["format"] == 3
    preparation = type(jaxvision.load(finished[0]).preparation).load(
        saved["preparation"]
    )
    picture = np.full((28, 28, 1), 128, np.uint8)
    batch = {"image": preparation.images([picture])}
    made = preparation.transform(jax.random.key(0), batch)["image"]
    assert made.shape == (1, 32, 32, 1)
    assert float(made[0, 16, 16, 0]) == pytest.approx((128 / 255 - 0.1) / 0.28)


def test_variables_need_nothing_but_the_checkpoints(finished):
    best = load_variables(finished[0])
    assert best["params"]["c1"]["kernel"].shape == (5, 5, 1, 6)
    average = load_variables(finished[0], "average")
    assert not np.allclose(
        best["params"]["c1"]["kernel"], average["params"]["c1"]["kernel"]
    )


def moved(finished, tmp_path, **config):
    """A copy of the run whose config says something else."""
    workdir = tmp_path / "moved"
    shutil.copytree(finished[0], workdir)
    changed = read_object(workdir / "config.json") | config
    replace_object(workdir / "config.json", changed)
    return workdir


def test_a_run_needs_no_code_of_its_experiment(finished, tmp_path):
    images = [*TEST.resident()["image"][:3]]
    expected = jaxvision.load(finished[0]).predict(images)["probabilities"]
    workdir = moved(finished, tmp_path, program="experiments.gone", config_colour=1)
    names = [f"class {k}" for k in range(10)]
    predictor = jaxvision.load(workdir, classes=names)
    found = predictor.predict(images)["probabilities"]
    np.testing.assert_array_equal(found, expected)
    assert predictor.show.words({"probabilities": found[0]})[0].startswith("class ")
    with pytest.raises(UsageError, match="class 0 is 'class 0' here and '0' there"):
        predictor.evaluate("synthetic:28x28x1")


class Own(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        pooled = jnp.mean(images, (1, 2))
        return {"pooled": pooled, "logits": nn.Dense(10, name="scores")(pooled)}


def build_own(config):
    return mnist_lenet5.build(config)._replace(model=models.from_linen(Own()))


@pytest.mark.slow
def test_a_model_of_ones_own_is_kept_as_a_program(tmp_path):
    workdir = tmp_path / "own"
    arguments = ["--smoke", "--devices", "1", "--workdir", str(workdir)]
    run(build_own, mnist_lenet5.Config, smoke=SMOKE, arguments=arguments)
    images = [*TEST.resident()["image"][:3]]
    predictor = jaxvision.load(workdir)
    found = predictor.predict(images)["probabilities"]
    batch = TEST.transform(jax.random.key(0), {"image": np.stack(images)})
    own = models.from_linen(Own()).apply(predictor.variables, batch["image"])[0]
    np.testing.assert_allclose(found, jax.nn.softmax(own["logits"]), rtol=1e-5)
    features = predictor.features(images, "pooled")
    np.testing.assert_allclose(features, own["pooled"], rtol=1e-5, atol=1e-6)
    assert "loss" in predictor.evaluate("synthetic:28x28x1")
    with pytest.raises(UsageError, match="exported program, which cannot be trained"):
        predictor.model.apply(predictor.variables, batch["image"], train=True)


def test_what_is_no_run_is_refused(finished, tmp_path):
    with pytest.raises(UsageError, match=r"no run directory: there is no config.json"):
        jaxvision.load(tmp_path)
    with pytest.raises(UsageError, match="holds no checkpoints"):
        load_variables(tmp_path)
    # Of an earlier version, which kept no recipes, the code is needed.
    for changes, message in (
        ({"format": 1}, "has format 1, and this code reads format 2"),
        ({"program": "experiments.gone"}, "cannot be imported"),
        ({"config_colour": "red"}, "has no option colour any more"),
    ):
        replace_object(
            tmp_path / "config.json", read_object(finished[0] / "config.json") | changes
        )
        with pytest.raises(UsageError, match=message):
            jaxvision.load(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"config\.json is damaged.* writes it anew"):
        jaxvision.load(tmp_path)
    saved = read_object(finished[0] / "prediction.json")
    task = {"name": "hearing", "arguments": {}}
    for changes, message in (
        ({"format": 9}, "has format 9, and this code reads format 3"),
        ({"task": task}, "another version of jaxvision: unknown task 'hearing'"),
        ({"classes": 7}, r"prediction\.json is damaged \(TypeError"),
    ):
        replace_object(tmp_path / "prediction.json", saved | changes)
        with pytest.raises(UsageError, match=message):
            jaxvision.load(tmp_path)


def test_a_published_network_is_loaded_by_name(tmp_path):
    shapes = models.shapes.variables("squeezenet1_1", num_classes=3)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.01, np.float32), shapes)
    file = tmp_path / "weights.safetensors"
    pretrained.save(file, "squeezenet1_1", variables)
    with pytest.raises(UsageError, match="is not known, and a guess would cost"):
        jaxvision.load("squeezenet1_1", weights=file, num_classes=3)
    preparation = pretrained.prepared("squeezenet1_1", size=64, resize=72)
    load = functools.partial(
        jaxvision.load,
        "squeezenet1_1",
        weights=file,
        preparation=preparation,
        num_classes=3,
    )
    predictor = load(classes=["ant", "bee", "cat"])
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    found = predictor.predict([picture], batch_size=1)["probabilities"]
    assert found.shape == (1, 3) and found.sum() == pytest.approx(1, abs=1e-5)
    assert predictor.preparation.images([picture]).shape == (1, 64, 64, 3)
    with pytest.raises(UsageError, match="2 class names for 3 classes"):
        load(classes=["a", "b"])


@pytest.mark.parametrize(
    "options, black", [({}, -1), ({"transform_input": True}, -0.485 / 0.229)]
)
def test_a_published_network_sees_images_as_its_weights_expect(
    monkeypatch, options, black
):
    def abstract(name, weights, **options):
        images = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
        init = models.create(name, **options).init
        return jax.eval_shape(init, jax.random.key(0), images)

    monkeypatch.setattr(pretrained, "load", abstract)
    predictor = jaxvision.load("googlenet", weights="default", **options)
    batch = {"image": np.zeros((1, 2, 2, 3), np.uint8)}
    found = predictor.preparation.transform(jax.random.key(0), batch)["image"]
    np.testing.assert_allclose(found[..., 0], black, rtol=1e-6)
