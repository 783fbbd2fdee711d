"""Segmentation from end to end, with pixels that do not count."""

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from jaxvision import data, models, optim, tasks
from jaxvision.engine import sharding
from jaxvision.engine.evaluate import Evaluator
from jaxvision.engine.loop import Interrupted, fit
from jaxvision.engine.state import digest
from jaxvision.ops.augment import compose, normalise, random_shift
from jaxvision.types import Experiment
from tests.engine.test_loop import interrupting, rows

PREPARE = normalise(0.5, 0.25)


def build() -> Experiment:
    splits = data.load("scenes:24x24x3:96:40")
    train, validation = data.carve(splits.train, 32)
    # What a shift moves in from outside is unknown, and so does not count.
    augment = compose(random_shift(8), PREPARE)
    train_data = data.train(train, 16, transform=augment, seed=0)
    classes = train.class_names
    return Experiment(
        model=models.create("unet_small", num_classes=len(classes), width=4, depth=3),
        task=tasks.segmentation(len(classes)),
        optimizer=optim.adam(optim.constant(1e-2)),
        train=train_data,
        validation=data.evaluation(validation, 32, transform=PREPARE),
        test=data.evaluation(splits.test, 40, transform=PREPARE),
        steps=train_data.steps(3),
        steps_per_dispatch=2,
    )


def train(workdir, experiment=None, devices=1):
    workdir.mkdir(exist_ok=True)
    return fit(
        experiment or build(),
        workdir,
        mesh=sharding.make_mesh(devices),
        console=Console(quiet=True),
    )


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("quiet")
    return workdir, train(workdir)


@pytest.mark.slow
def test_training_sees_unknown_pixels_and_learns(quiet):
    experiment = build()
    item = next(experiment.train.items())
    batch = experiment.train.fetch(experiment.train.resident(), item, jax.random.key(0))
    assert 0 < (batch["segmentation"] == 255).mean() < 0.9
    history = rows(quiet[0])
    assert history[-1]["train/loss"] < 0.8 * history[0]["train/loss"]


@pytest.mark.slow
def test_stop_and_resume_gives_the_same_bits(quiet, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(), 5))
    assert digest(train(tmp_path).last) == digest(quiet[1].last)
    assert rows(tmp_path) == rows(quiet[0])


@pytest.mark.slow
def test_numbers_are_the_same_on_eight_devices(quiet, tmp_path):
    train(tmp_path, devices=8)
    for one, eight in zip(rows(quiet[0]), rows(tmp_path), strict=True):
        for name in ("train/loss", "validation/loss"):
            assert one[name] == pytest.approx(eight[name], rel=1e-3), name


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "devices"), [(7, 1), (16, 8), (40, 3)])
def test_metrics_are_exact_for_any_batch_and_devices(quiet, batch_size, devices):
    experiment, state = build(), quiet[1].last
    test = data.load("scenes:24x24x3:96:40").test
    expected = _evaluated(experiment, experiment.test, state, 1)
    pipeline = data.evaluation(test, batch_size, transform=PREPARE)
    found = _evaluated(experiment, pipeline, state, devices)
    assert (found["confusion"] == expected["confusion"]).all()
    assert found["mean_iou"] == expected["mean_iou"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert int(jnp.sum(found["confusion"])) == 40 * 24 * 24


def _evaluated(experiment, pipeline, state, devices):
    mesh = sharding.make_mesh(devices)
    state = jax.device_put(
        jax.tree.map(jax.device_get, state), sharding.replicated(mesh)
    )
    return Evaluator(
        experiment.model, experiment.task, pipeline, mesh, frozen={}, seed=0
    )(state).metrics
