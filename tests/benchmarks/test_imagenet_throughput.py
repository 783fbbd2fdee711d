"""The throughput benchmark: its choices, its profile, and its two sides, tiny."""

import io
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simplejpeg
from rich.console import Console

from benchmarks import imagenet_throughput as bench
from benchmarks import peers
from jaxvision import models
from jaxvision.errors import UsageError

TINY = dict(model="lenet5", batch_size=2, image_size=32, adamw=False)


def test_the_models_are_ours():
    assert set(bench.MODELS) <= set(models.names())


def test_cpu_is_tiny_and_accelerators_are_not():
    small, large = (bench.sized(bench.Config(), name) for name in ("cpu", "gpu"))
    assert (small.models, small.batch_sizes, small.image_size) == (
        ("resnet18",),
        (4,),
        32,
    )
    assert (large.models, large.image_size) == (bench.MODELS, 224)
    assert large.batch_sizes == (256, 512, 1024)
    asked = bench.Config(models=("vgg11",), batch_sizes=(8,), image_size=64, steps=5)
    for platform in ("cpu", "gpu"):
        found = bench.sized(asked, platform)
        assert (found.models, found.batch_sizes) == (("vgg11",), (8,))
        assert (found.image_size, found.steps) == (64, 5)


@pytest.mark.parametrize(
    "rates, best, asked",
    [
        ({1: 10, 2: 20, 4: 30}, 4, [1, 2, 4]),
        ({1: 10, 2: 10.1, 4: 30}, 2, [1, 2]),  # faster, but it did not pay
        ({1: 10, 2: 9, 4: 30}, 1, [1, 2]),
        ({1: 10, 2: 20}, 2, [1, 2, 4]),  # 4 does not fit
        ({}, None, [1]),
    ],
)
def test_the_batch_grows_while_it_pays_and_fits(rates, best, asked):
    seen = []

    def ask(request):
        seen.append(request["batch_size"])
        rate = rates.get(request["batch_size"])
        return None if rate is None else {"images_per_second": rate}

    found = bench.best_batch(ask, {"model": "m"}, (1, 2, 4))
    assert seen == asked
    assert found == (
        None if best is None else {"images_per_second": rates[best], "batch_size": best}
    )


def test_share_of_the_peak():
    # reference: 3079 images/s are 7.6 % of an H200, from 4.089 GMAC and 989 TFLOP/s
    found = bench.utilisation("resnet50", 224, 3079, "NVIDIA H200")
    assert found == pytest.approx(0.0764, abs=1e-4)
    assert bench.utilisation("resnet50", 160, 3079, "NVIDIA H200") is None
    assert bench.utilisation("resnet50", 224, 3079, "cpu") is None


def test_a_process_that_fails_or_takes_too_long_is_named(capsys):
    def ask(script, deadline=None):
        return bench.process([sys.executable, "-c", script], deadline)({"model": "m"})

    assert ask("print('noise'); print(input())") == {"model": "m"}
    assert ask("raise MemoryError('out of memory')") is None
    assert "out of memory" in capsys.readouterr().err
    assert ask("import time; time.sleep(60)", time.monotonic() + 0.2) is None
    assert ask("print(input())", time.monotonic() - 1) is None
    assert capsys.readouterr().err.count("no time for") == 2


@pytest.mark.slow
def test_steps_train(monkeypatch):
    training = bench.Training(**TINY)
    before = jax.tree.map(np.asarray, training.state[0])
    assert training.run(2) > 0 and training.compile_seconds > 0
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, training.state[0])
    assert max(jax.tree.leaves(moved)) > 0
    monkeypatch.setattr(bench, "Training", lambda **options: training)
    found = bench.train(steps=3, **TINY)
    assert found["images_per_second"] > 0 and found["peak_bytes"] > 0


@pytest.mark.slow
def test_photographs_are_streamed_into_the_step(tmp_path):
    draw = np.random.default_rng(0)
    for i in range(3):
        image = draw.integers(0, 256, (40, 50, 3), np.uint8)
        (tmp_path / f"{i}.JPEG").write_bytes(simplejpeg.encode_jpeg(image))
    found = bench.fed(photos=str(tmp_path), steps=2, **TINY)
    assert found["fed_images_per_second"] > 0
    assert found["loader_images_per_second"] > 0
    with pytest.raises(UsageError, match=r"no \.jpg"):
        bench.photographs.find(tmp_path / "nothing")


def test_the_costliest_operation_comes_first_with_its_origin(tmp_path):
    @jax.jit
    def program(x):
        for _ in range(20):
            x = jnp.tanh(x @ x)
        return x

    x = jnp.ones((300, 300))
    program(x).block_until_ready()
    with jax.profiler.trace(str(tmp_path)):
        program(x).block_until_ready()
    text = program.lower(x).compile().as_text()
    found = bench.top_costs(tmp_path, text)
    shares = [share for _, share in found]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert "jit(program)" in found[0][0]


def test_the_table_leaves_empty_what_was_not_measured():
    config = bench.sized(bench.Config(models=("resnet50",)), "gpu")
    numbers = {
        "hardware": "1 × NVIDIA H200",
        "resnet50_ours_images_per_second": 1234.5,
        "resnet50_ours_peak_bytes": 2e9,
    }
    console = Console(width=110, file=io.StringIO())
    console.print(bench.make_table(config, numbers))
    text = console.file.getvalue()
    assert "1,234" in text and "2.0 GB" in text and "None" not in text


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(models=("resnet51",)), "resnet50"),
        (dict(batch_sizes=(8, 4)), "must ascend"),
        (dict(photos=Path("/nowhere")), "no folder"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        bench.main(bench.Config(**options))


def test_pytorch_answers(tmp_path):
    python = os.environ.get("TORCH_PYTHON")
    if python is None:
        pytest.skip("TORCH_PYTHON names no interpreter with PyTorch")
    peer = peers.FOLDER / "imagenet_throughput_torch.py"
    for name in ("resnet18", "vit_small_patch16_224"):
        request = TINY | {"what": "train", "model": name, "steps": 1, "mode": "eager"}
        found = bench.process([python, str(peer)], None)(request)
        assert found is not None and found["images_per_second"] > 0
