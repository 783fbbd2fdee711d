"""What a task chooses on validation is what the test measures and the run keeps."""

import dataclasses
import json

import numpy as np
import pytest

import jaxvision
from experiments import scenes_multilabel
from jaxvision import models, tasks
from jaxvision.files import read_object
from jaxvision.runs import run

pytestmark = pytest.mark.slow

DATASET = "scenes:24x24x3:96:40"


def build(config):
    experiment = scenes_multilabel.build(config)
    return experiment._replace(
        model=models.create("perceptron", num_classes=11),
        task=tasks.multilabel(11, threshold="each"),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("tuned")
    arguments = ["--smoke", "--devices", "1", "--workdir", str(workdir)]
    smoke = dict(dataset=DATASET, epochs=2, batch_size=32, max_shift=0)
    Config = scenes_multilabel.Config
    return workdir, run(build, Config, smoke=smoke, arguments=arguments), smoke


def test_thresholds_of_the_validation_set_are_tested_and_kept(finished):
    workdir, result, smoke = finished
    kept = read_object(workdir / "prediction.json")["task"]["arguments"]["threshold"]
    assert len(kept) == 11 and kept != [0.5] * 11
    metrics = read_object(workdir / "test_metrics.json")
    assert metrics["threshold"] == kept

    predictor = jaxvision.load(workdir)
    experiment = build(scenes_multilabel.Config(**smoke))
    found = predictor.evaluate(experiment.test)
    assert found["f1_micro"] == result["test_f1_micro"]
    chosen_here = dataclasses.replace(predictor, task=experiment.task)
    on_validation = chosen_here.evaluate(experiment.validation)["threshold"]
    np.testing.assert_array_equal(on_validation, kept)
    on_test = chosen_here.evaluate(experiment.test)
    assert on_test["threshold"].tolist() != kept
    assert on_test["f1_macro"] > found["f1_macro"], "chosen on test it flatters"


def test_pictures_are_drawn_again_by_the_same_thresholds(finished):
    workdir, _, smoke = finished
    before = json.loads((workdir / "result.json").read_text())
    (workdir / "undrawn.txt").write_text("predictions.png\n")
    (workdir / "precision_recall.png").unlink()
    arguments = ["--smoke", "--devices", "1", "--workdir", str(workdir)]
    run(build, scenes_multilabel.Config, smoke=smoke, arguments=arguments)
    assert (workdir / "precision_recall.png").exists()
    assert not (workdir / "undrawn.txt").exists()
    assert json.loads((workdir / "result.json").read_text()) == before
