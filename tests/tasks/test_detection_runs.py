"""Detection from end to end, on drawn scenes."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from rich.console import Console

from jaxvision import data, models, optim, tasks
from jaxvision.engine import sharding
from jaxvision.engine.evaluate import Evaluator
from jaxvision.engine.loop import Interrupted, fit
from jaxvision.engine.state import digest
from jaxvision.layers.conv import Conv
from jaxvision.ops.activation import relu
from jaxvision.ops.augment import normalise
from jaxvision.types import Experiment
from tests.engine.test_loop import interrupting, rows

pytestmark = pytest.mark.slow

PREPARE = normalise(0.5, 0.25)
SCENES = "scenes:64x64x3:64:24"


class Encoder(nn.Module):
    """Maps at strides 8, 16 and 32."""

    @nn.compact
    def __call__(self, images, *, train):
        del train
        x, maps = images, {}
        for i, width in enumerate((8, 16, 32, 32, 32), 1):
            x = relu(Conv(width, 3, 2, 1, name=f"conv{i}")(x))
            maps[f"stage{i}"] = x
        return maps


def build() -> Experiment:
    splits = data.load(SCENES)
    train, validation = data.carve(splits.train, 16)
    train_data = data.train(train, 16, transform=PREPARE, seed=0)
    classes = train.class_names
    return Experiment(
        model=models.create(
            "fcos_resnet50_fpn",
            encoder=Encoder,
            pyramid_channels=32,
            num_classes=len(classes),
        ),
        task=tasks.detection(len(classes), tasks.fcos(least_score=0.001)),
        optimizer=optim.adam(optim.constant(3e-3)),
        train=train_data,
        validation=data.evaluation(validation, 16, transform=PREPARE),
        test=data.evaluation(splits.test, 24, transform=PREPARE),
        steps=train_data.steps(4),
    )


def train(workdir, experiment):
    workdir.mkdir(exist_ok=True)
    return fit(
        experiment, workdir, mesh=sharding.make_mesh(1), console=Console(quiet=True)
    )


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("quiet")
    return workdir, train(workdir, build())


def test_it_learns(quiet):
    history = rows(quiet[0])
    assert history[-1]["train/loss"] < 0.8 * history[0]["train/loss"]
    parts = ("classification", "boxes", "centredness")
    sum_of_parts = sum(history[0][f"train/{name}_loss"] for name in parts)
    assert history[0]["train/loss"] == pytest.approx(sum_of_parts)
    assert np.isfinite(history[-1]["validation/ap"])


def test_stop_and_resume_gives_the_same_bits(quiet, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(), 5))
    assert digest(train(tmp_path, build()).last) == digest(quiet[1].last)
    assert rows(tmp_path) == rows(quiet[0])


def test_parts_of_a_batch_add_up_to_it(quiet, tmp_path):
    """The number of places that have an object differs from part to part."""
    train(tmp_path, build()._replace(accumulate=4))
    whole, parts = rows(quiet[0])[0], rows(tmp_path)[0]
    for name in ("train/loss", "train/gradient_norm"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-3), name


@pytest.mark.parametrize(("batch_size", "devices"), [(7, 1), (16, 8)])
def test_metrics_are_the_same_for_any_batch_and_devices(quiet, batch_size, devices):
    experiment, state = build(), quiet[1].last
    test = data.load(SCENES).test
    expected = evaluated(experiment, experiment.test, state, 1)
    pipeline = data.evaluation(test, batch_size, transform=PREPARE)
    found = evaluated(experiment, pipeline, state, devices)
    assert expected["ar_100"] > 0
    for name in ("ap", "ap50", "ar_100", "loss"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name


def evaluated(experiment, pipeline, state, devices):
    mesh = sharding.make_mesh(devices)
    state = jax.device_put(
        jax.tree.map(jax.device_get, state), sharding.replicated(mesh)
    )
    return Evaluator(
        experiment.model, experiment.task, pipeline, mesh, frozen={}, seed=0
    )(state).metrics
