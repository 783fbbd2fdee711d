"""The other interpreter of a benchmark: it answers, and its failures have a message.

With TORCH_PYTHON=PATH, an interpreter that has PyTorch, every PyTorch side is called.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from benchmarks import ops, speed
from benchmarks.mnist_99 import Recipe
from benchmarks.peers import data_pillow, peer
from jaxvision.errors import UsageError

TALKATIVE = """
print("a library that talks")

def add(a, b):
    print("while it works")
    return a + b

def fail():
    raise SystemExit("no such library")
"""


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "talkative.py"
    file.write_text(TALKATIVE)
    return file


def test_a_peer_answers_although_it_talks(script):
    with peer(Path(sys.executable), script) as ask:
        assert ask("add", 1, 2) == 3
        assert ask("add", [1], [2]) == [1, 2]


def test_a_peer_that_ends_or_is_not_there_is_named(script):
    with (
        pytest.raises(UsageError, match="asked for fail"),
        peer(Path(sys.executable), script) as ask,
    ):
        ask("fail")
    with pytest.raises(UsageError, match="no interpreter at nowhere"):
        peer(Path("nowhere"), script).__enter__()


@pytest.fixture
def photos(tmp_path):
    draw = np.random.default_rng(0)
    files = [tmp_path / f"{i}.jpg" for i in range(4)]
    for file in files:
        image = draw.integers(0, 256, (40, 50, 3), np.uint8)
        file.write_bytes(simplejpeg.encode_jpeg(image))
    return [str(file) for file in files]


def test_pillow_loads_crops(photos):
    load = data_pillow.make_load(24, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 0.5))
    pixels = load(photos[0])
    assert pixels.shape == (24, 24, 3) and pixels.dtype == np.float32
    assert 1 >= np.abs(pixels[..., 1]).max() > np.abs(pixels[..., 1]).min()
    assert np.abs(pixels[..., 0]).max() <= 2
    boxes = np.array([data_pillow.draw_box(50, 40) for _ in range(100)])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (50, 40)).all()
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) / (50 * 40)
    assert areas.min() < 0.3 and areas.max() > 0.7


@pytest.fixture
def torch_python():
    if (python := os.environ.get("TORCH_PYTHON")) is None:
        pytest.skip("TORCH_PYTHON names no interpreter with PyTorch")
    return Path(python)


def test_pytorch_runs_every_operation(torch_python):
    with peer(torch_python, "ops_torch.py") as ask:
        for op in ops.OPS.values():
            ask("make", op.torch, op.images, op.kernel, op.options)
            assert ask("seconds", 0, 1) > 0 and ask("seconds", 1, 1) > 0


@pytest.mark.slow
def test_pytorch_trains_every_network(torch_python):
    with peer(torch_python, "speed_torch.py") as ask:
        for row, (shape, classes, _) in speed.ROWS.items():
            seconds, layout = ask("make", row, [2, *shape[1:]], classes)
            assert seconds > 0 and layout.startswith("torch.")
            assert ask("steps", 1) > 0


def test_pytorch_times_models(torch_python):
    with peer(torch_python, "models_torch.py") as ask:
        rates = ask("rates", "resnet18", 2, 32, 1)
    assert min(rates.values()) > 0 and rates.keys() == {"forward", "training"}


def test_pytorch_loads_photographs(torch_python, photos):
    with peer(torch_python, "data_torch.py") as ask:
        ask("begin", photos, 2, 24, (0.5,) * 3, (0.25,) * 3)
        for workers in (0, 2):
            assert min(ask("rate", workers)) > 0


def test_pytorch_learns_digits(torch_python, tmp_path):
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, 2000).astype(np.int32)
    images = draw.integers(0, 60, (2000, 28, 28, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 3 : 2 * label + 6, 4:24] = 255
    file = tmp_path / "arrays.npz"
    np.savez(
        file,
        train_images=images[:1000],
        train_labels=labels[:1000],
        test_images=images[1000:],
        test_labels=labels[1000:],
    )
    with peer(torch_python, "mnist_99_torch.py") as ask:
        ask("begin", str(file), Recipe(steps=25, batch_size=64)._asdict())
        seconds, right = ask("timed", 0)
    assert seconds > 0 and right > 900
