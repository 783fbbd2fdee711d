"""The benchmarks on CPU: their other side, their rows, and what they call a slide."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import ops as bench_ops
from benchmarks import speed as bench_speed
from benchmarks.peers import peer
from jaxvision.errors import UsageError

SCRIPT = """
print("a library that talks")

def add(a, b):
    print("while it works")
    return a + b

def fail():
    raise SystemExit("no such library")
"""


def test_a_peer_answers_although_it_talks():
    with peer(Path(sys.executable), SCRIPT) as ask:
        assert ask("add", 1, 2) == 3
        assert ask("add", [1], [2]) == [1, 2]


def test_a_peer_that_ends_or_is_not_there_is_said():
    with (
        pytest.raises(UsageError, match="asked for fail"),
        peer(Path(sys.executable), SCRIPT) as ask,
    ):
        ask("fail")
    with pytest.raises(UsageError, match="no interpreter at nowhere"):
        peer(Path("nowhere"), SCRIPT).__enter__()


def test_a_ratio_that_falls_to_a_third_is_a_slide(tmp_path, capsys):
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"a_ratio": 3.0, "b_ratio": 3.0, "c_ms": 9.0}))
    assert (
        bench_speed.slides({"a_ratio": 1.1, "b_ratio": 8.0, "c_ms": 1.0}, record) == 0
    )
    assert bench_speed.slides({"a_ratio": 0.9, "new_ratio": 0.1}, record) == 1
    assert "a_ratio is 0.90 and was 3.00" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no record to compare with"):
        bench_speed.slides({}, tmp_path / "none.json")


def test_both_sides_of_every_operation_are_the_same_function():
    for name, op in bench_ops.OPS.items():
        shapes = [op.images] if op.kernel is None else [op.images, op.kernel]
        operands = [jax.ShapeDtypeStruct(s, np.float32) for s in shapes]
        ours, xla = (jax.eval_shape(side, *operands) for side in (op.ours, op.xla))
        assert ours == xla, name
    draw = np.random.default_rng(0).standard_normal
    for op in (
        bench_ops.transposed((1, 3, 4, 5), 2),
        bench_ops.doubling((1, 3, 4, 5), "bilinear"),
        bench_ops.pooling((1, 8, 8, 2), 3, 2, 1),
    ):
        shapes = [op.images] if op.kernel is None else [op.images, op.kernel]
        operands = [draw(shape).astype(np.float32) for shape in shapes]
        np.testing.assert_allclose(
            op.ours(*operands), op.xla(*operands), rtol=1e-5, atol=1e-5
        )


def test_operations_are_measured_and_written(tmp_path):
    name = "2×2 max-pool 32 at 28²"
    output = tmp_path / "ops.json"
    config = bench_ops.Config(ops=(name,), rounds=1, output=output)
    assert bench_ops.main(config) == 0
    numbers = json.loads(output.read_text())
    assert numbers[f"{name} output_ms"] > 0 < numbers[f"{name} by_images_xla_ratio"]
    with pytest.raises(UsageError, match="operation"):
        bench_ops.main(bench_ops.Config(ops=("5×5",)))
