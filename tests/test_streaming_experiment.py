"""Images of any size, streamed from a folder, go through the same loop and pictures."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import compose, normalise, random_flip
from jaxvision.run import run
from jaxvision.types import Experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Bright and dark photographs, no two of the same size."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 9)):
        for name, level in (("bright", 190), ("dark", 60)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                shape = (20 + i, 30 + 2 * i, 3)
                pixels = (level + random.normal(0, 20, shape)).clip(0, 255)
                path = root / split / name / f"{i}.jpg"
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


@dataclass(frozen=True)
class Config:
    dataset: str = ""
    """A folder of class folders."""
    epochs: int = 2
    """Passes over the training images."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.carve(splits.train, 16)
    prepare = normalise(0.5, 0.25)
    stream = data.stream_train(
        train, 16, image_size=16, transform=compose(random_flip, prepare), seed=0
    )
    return Experiment(
        model=models.create("mlp", num_classes=2),
        task=tasks.classification(2),
        optimizer=optim.adam(optim.constant(1e-3)),
        train=stream,
        validation=data.stream_eval(validation, 5, image_size=16, transform=prepare),
        test=data.stream_eval(splits.test, 5, image_size=16, transform=prepare),
        steps=stream.steps(config.epochs),
        pictures=visualise.classification(train.class_names),
    )


def test_an_experiment_can_stream(folder, tmp_path):
    workdir = tmp_path / "run"
    arguments = ["--dataset", f"folder:{folder}", "--workdir", str(workdir)]
    result = run(build, Config, smoke={}, arguments=[*arguments, "--devices", "1"])
    assert result["test_accuracy"] * 18 == pytest.approx(
        round(result["test_accuracy"] * 18)
    )
    assert result["test_accuracy"] > 0.8
    assert {"curves.png", "confusion.png", "predictions.png"} <= {
        path.name for path in workdir.iterdir()
    }
