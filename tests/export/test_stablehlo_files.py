"""One file that predicts without the code of the experiment or of the model."""

import json
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.export import stablehlo
from tests import predictors


@pytest.fixture(scope="module")
def made():
    return predictors.make()


@pytest.fixture(scope="module")
def file(made, tmp_path_factory):
    file = tmp_path_factory.mktemp("export") / "net.zip"
    stablehlo.write(file, made, {"experiment": "tiny", "test_accuracy": 0.5})
    return file


def test_an_export_predicts_what_its_original_does(made, file):
    exported = stablehlo.read(file)
    # Larger than the crop, so that the preparation counts.
    images = predictors.pictures(5, 20)
    expected = made.predict(images, batch_size=2)["probabilities"]
    found = exported.prediction.predict(images, batch_size=3)["probabilities"]
    np.testing.assert_allclose(found, expected, 1e-5, 1e-6)
    assert np.ptp(expected, axis=0).max() > 0.01
    assert exported.prediction.classes == predictors.CLASSES
    words = exported.prediction.show.words({"probabilities": found[0]})
    assert words == made.show.words({"probabilities": expected[0]})
    assert exported.about["test_accuracy"] == 0.5
    assert exported.about["versions"]["version_jax"] == jax.__version__
    assert exported.measures == tuple(made.task.measures)


def test_the_network_gives_its_activations(made, file):
    exported = stablehlo.read(file)
    batch = made.preparation.images(predictors.pictures(3))
    images = made.preparation.transform(jax.random.key(0), {"image": batch})["image"]
    expected, _ = made.model.apply(made.variables, images)
    found, _ = exported.network.apply(exported.prediction.variables, images)
    np.testing.assert_allclose(found["stage1"], expected["stage1"], 1e-5, 1e-5)


class Own(nn.Module):
    """A network whose code is gone when its export is read."""

    there = True

    @nn.compact
    def __call__(self, images):
        if not Own.there:
            raise AssertionError("the code of the network was called")
        low = dict(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
        x = nn.relu(nn.Conv(4, (3, 3), **low)(images.astype(jnp.bfloat16)))
        return nn.Dense(4)(x.mean((1, 2)).astype(jnp.float32))


def test_neither_the_code_of_the_model_nor_of_the_task_is_needed(tmp_path, monkeypatch):
    def predict(forward, batch, *, keys):
        # Draws, so that the keys of the examples have to be the same.
        outputs, _ = forward(batch["image"])
        noise = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
        return {"scores": outputs["logits"] + forward.frozen["scale"][0] * noise}

    made = predictors.make(model=models.from_linen(Own()))
    task = made.task._replace(
        predict=predict, frozen=lambda: {"scale": [np.float32(3.0)]}
    )
    made = predictors.make(model=made.model, task=task, show=None)
    images = predictors.pictures(5)
    expected = made.predict(images, batch_size=2)["scores"]
    stablehlo.write(tmp_path / "own.zip", made)
    monkeypatch.setattr(Own, "there", False)
    exported = stablehlo.read(tmp_path / "own.zip")
    assert (
        exported.prediction.variables["params"]["Conv_0"]["kernel"].dtype == "bfloat16"
    )
    found = exported.prediction.predict(images, batch_size=2)["scores"]
    np.testing.assert_allclose(found, expected, 1e-3, 1e-2)
    assert exported.prediction.show is None


def test_equal_exports_are_equal_files(made, file, tmp_path):
    again = tmp_path / "again.zip"
    stablehlo.write(again, made, {"experiment": "tiny", "test_accuracy": 0.5})
    assert again.read_bytes() == file.read_bytes()


def test_a_preparation_that_cannot_be_saved_is_refused_and_nothing_written(tmp_path):
    made = predictors.make()
    own = made.preparation._replace(
        transform=lambda key, batch: {"image": batch["image"].astype(jnp.float32)}
    )
    with pytest.raises(UsageError, match=r"the transform .* cannot be saved"):
        stablehlo.write(tmp_path / "x.zip", predictors.make(preparation=own))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("where", np.linspace(0, 1, 12, endpoint=False))
def test_a_damaged_file_is_refused(where, file, tmp_path):
    content = bytearray(file.read_bytes())
    damaged = tmp_path / "damaged.zip"
    at = int(where * len(content))
    content[at] ^= 0xFF
    damaged.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged\.zip"):
        stablehlo.read(damaged)
    damaged.write_bytes(file.read_bytes()[:at])
    with pytest.raises(UsageError, match="no export of jaxvision, or a damaged one"):
        stablehlo.read(damaged)


def changed(file, path, member, content):
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))


def test_what_does_not_belong_together_is_refused(file, tmp_path):
    path = tmp_path / "mixed.zip"
    changed(file, path, "arrays.safetensors", b"of another network")
    with pytest.raises(
        UsageError, match=r"arrays\.safetensors is not what was written"
    ):
        stablehlo.read(path)
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    changed(file, path, "manifest.json", json.dumps(manifest | {"format": 99}))
    with pytest.raises(UsageError, match=r"has format 99, .* reads format 1"):
        stablehlo.read(path)
    with pytest.raises(UsageError, match=r"cannot be read \(No such file"):
        stablehlo.read(tmp_path / "missing.zip")
