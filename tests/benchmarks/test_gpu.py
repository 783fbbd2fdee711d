"""The session on an accelerator: parts that fail or last too long cost no other."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import device_parity, gpu, records
from benchmarks.gpu import Config, Part
from jaxvision.errors import UsageError


def done(session):
    Path(session.file("numbers.json")).write_text('{"images_per_second": 1}')


def fails(session):
    session("benchmarks.nosuch")


def lasts(session):
    Path(session.file("first.json")).write_text("{}")
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    session("timeit", "-n1", "-r1", "import time; time.sleep(100)")


def raises(session):
    raise KeyError("a mistake in a part")


def run(monkeypatch, folder, available, **options):
    monkeypatch.setattr(gpu, "PARTS", available)
    code = gpu.main(Config(output=folder, dataset="synthetic:32x32x3", **options))
    return code, json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
def test_each_part_ends_for_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "GRACE", 5.0)
    monkeypatch.setattr(gpu, "LEAST", 1.0)
    parts = {
        "fails": Part(fails, 60),
        "lasts": Part(lasts, 3),
        "raises": Part(raises, 60),
        "done": Part(done, 60),
    }
    started = time.monotonic()
    code, summary = run(monkeypatch, tmp_path, parts, budget=90)
    assert time.monotonic() - started < 80, "the part that lasts was ended"
    assert code == 1
    outcomes = {name: summary[name]["outcome"] for name in parts}
    assert outcomes["fails"].startswith("failed: ") and "nosuch" in outcomes["fails"]
    assert outcomes["lasts"].startswith("its time was up")
    assert outcomes["raises"] == "failed: 'a mistake in a part'"
    assert outcomes["done"] == "done"
    assert (tmp_path / "first.json").exists(), "what it had written stays"


def test_what_no_longer_fits_is_left_out(monkeypatch, tmp_path):
    def slow(session):
        later = time.monotonic() + 95
        monkeypatch.setattr(time, "monotonic", lambda: later)

    code, summary = run(
        monkeypatch, tmp_path, {"slow": Part(slow, 99), "next": Part(done, 60)},
        budget=100,
    )  # fmt: skip
    assert code == 1
    assert summary["slow"]["outcome"] == "done"
    assert summary["next"]["outcome"] == "left out: no time was left"


def test_only_the_parts_that_are_asked_for(monkeypatch, tmp_path):
    parts = {"fails": Part(fails, 60), "done": Part(done, 60)}
    code, summary = run(monkeypatch, tmp_path, parts, parts=("done",))
    assert code == 0 and "fails" not in summary
    with pytest.raises(UsageError, match="no part 'doen'"):
        run(monkeypatch, tmp_path, parts, parts=("doen",))


def test_what_was_written_becomes_records(monkeypatch, tmp_path):
    kept = tmp_path / "records"
    kept.mkdir()
    monkeypatch.setattr(records, "COMMITTED", kept)
    with pytest.raises(UsageError, match="holds no finished session"):
        gpu.main(Config(publish=tmp_path / "none"))
    run(monkeypatch, tmp_path / "tiny", {"done": Part(done, 60)}, rehearse=True)
    with pytest.raises(UsageError, match="of a rehearsal"):
        gpu.main(Config(publish=tmp_path / "tiny"))
    run(monkeypatch, tmp_path / "real", {"done": Part(done, 60)})
    assert gpu.main(Config(publish=tmp_path / "real")) == 0
    assert [file.name for file in kept.iterdir()] == ["gpu_numbers.json"]


def test_the_other_side_is_this_interpreter_if_it_has_pytorch(monkeypatch):
    session = gpu.Session(Config(), "synthetic")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert session.torch() == ()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert session.torch() == ("--torch-python", sys.executable)
    own = gpu.Session(Config(torch_python=Path("python-with-torch")), "synthetic")
    assert own.torch() == ("--torch-python", "python-with-torch")


@pytest.mark.slow
def test_differences_of_a_device(tmp_path):
    output = tmp_path / "numbers.json"
    device_parity.main(device_parity.Config(models=("resnet20",), output=output))
    numbers = json.loads(output.read_text())
    assert numbers["resnet20_float32"] < 1e-5
    assert numbers["resnet20_float32"] < numbers["resnet20_bfloat16"] < 0.1
    with pytest.raises(
        UsageError, match="unknown model with a reference 'resnet2': did you"
    ):
        device_parity.main(device_parity.Config(models=("resnet2",)))


@pytest.mark.slow
def test_a_rehearsal_runs_every_part(tmp_path, monkeypatch):
    for name in ("JAX_NUMPY_RANK_PROMOTION", "JAX_NUMPY_DTYPE_PROMOTION", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    assert gpu.main(Config(output=tmp_path, budget=900, rehearse=True)) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert all(summary[name]["outcome"] == "done" for name in gpu.PARTS)
    assert json.loads((tmp_path / "resumption.json").read_text())["same_bits"]
