"""Detectors of two stages from end to end, on drawn scenes."""

import numpy as np
import pytest

from jaxvision import data, models, optim, tasks
from jaxvision.engine.loop import Interrupted
from jaxvision.engine.state import digest
from jaxvision.types import Experiment
from tests.engine.test_loop import interrupting, rows
from tests.tasks.test_detection_runs import PREPARE, SCENES, Encoder, evaluated, train

pytestmark = pytest.mark.slow


def build() -> Experiment:
    splits = data.load(SCENES)
    training, validation = data.carve(splits.train, 16)
    train_data = data.train(training, 16, transform=PREPARE, seed=0)
    classes = training.class_names
    return Experiment(
        model=models.create(
            "maskrcnn_resnet50_fpn",
            encoder=Encoder,
            maps=(8, 16, 32),
            pyramid_channels=32,
            box_units=32,
            mask_convs=1,
            num_classes=1 + len(classes),
        ),
        task=tasks.detection(
            len(classes),
            tasks.mask_rcnn(
                sizes=((12,), (20,), (32,), (64,)),
                proposals=24,
                proposals_in_training=24,
                regions=16,
                masks=4,
                block=3,
                least_score=0.001,
                most=12,
            ),
        ),
        optimizer=optim.adam(optim.constant(3e-3)),
        train=train_data,
        validation=data.evaluation(validation, 16, transform=PREPARE),
        test=data.evaluation(splits.test, 24, transform=PREPARE),
        steps=train_data.steps(4),
    )


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("quiet")
    return workdir, train(workdir, build())


def test_it_learns(quiet):
    history = rows(quiet[0])
    parts = ("objectness", "proposals", "classification", "boxes", "masks")
    for row in history[0], history[-1]:
        total = sum(row[f"train/{name}_loss"] for name in parts)
        assert row["train/loss"] == pytest.approx(total)
    for name in ("loss", "objectness_loss", "masks_loss"):
        assert history[-1][f"train/{name}"] < 0.9 * history[0][f"train/{name}"], name
    assert np.isfinite(history[-1]["validation/mask_ap"])


@pytest.mark.parametrize(("batch_size", "devices"), [(7, 1), (16, 8)])
def test_metrics_are_the_same_for_any_batch_and_devices(quiet, batch_size, devices):
    """What is drawn for the losses belongs to the examples."""
    experiment, state = build(), quiet[1].last
    expected = evaluated(experiment, experiment.test, state, 1)
    pipeline = data.evaluation(data.load(SCENES).test, batch_size, transform=PREPARE)
    found = evaluated(experiment, pipeline, state, devices)
    for name in ("mask_ap", "ap", "ar_100", "loss", "masks_loss"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name


@pytest.mark.exhaustive
def test_stop_and_resume_gives_the_same_bits(quiet, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(), 5))
    assert digest(train(tmp_path, build()).last) == digest(quiet[1].last)
    assert rows(tmp_path) == rows(quiet[0])
