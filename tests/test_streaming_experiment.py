"""Images of any size, streamed from a folder, go through the same loop and pictures."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.tiny_imagenet_resnet18 import Config, build
from jaxvision.runs import run


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


def options(folder, workdir):
    return [
        *("--dataset", f"folder:{folder}", "--crop", "32", "--width", "4"),
        *("--validation", "0.2", "--epochs", "6", "--batch-size", "16"),
        *("--workdir", str(workdir), "--devices", "1"),
    ]


@pytest.fixture(scope="module")
def quiet(folder, tmp_path_factory):
    """The result of a run that nothing disturbed, and where it is."""
    workdir = tmp_path_factory.mktemp("quiet") / "run"
    return run(build, Config, smoke={}, arguments=options(folder, workdir)), workdir


@pytest.mark.slow
def test_an_experiment_can_stream(quiet):
    result, workdir = quiet
    correct = result["test_accuracy"] * 18
    assert correct == pytest.approx(round(correct))
    assert result["test_accuracy"] > 0.8
    assert "as declared" in result["tested_on"]
    assert {"curves.png", "confusion.png", "predictions.png"} <= {
        path.name for path in workdir.iterdir()
    }


@pytest.mark.slow
def test_a_stream_that_was_killed_ends_with_the_same_bits(folder, quiet, tmp_path):
    workdir = tmp_path / "run"
    command = [sys.executable, "-m", "experiments.tiny_imagenet_resnet18"]
    process = subprocess.Popen(
        [*command, *options(folder, workdir)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        steps = [p for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()]
        if len(steps) >= 2:  # the older one is complete
            process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before its second checkpoint"
    result = run(build, Config, smoke={}, arguments=options(folder, workdir))
    assert result["params_digest"] == quiet[0]["params_digest"]
    assert result["test_loss"] == quiet[0]["test_loss"]
