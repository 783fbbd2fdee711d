"""The benchmark of operations: both sides compute the same, and rows are measured."""

import json

import jax
import numpy as np
import pytest

from benchmarks import ops
from jaxvision.errors import UsageError


@pytest.mark.slow
def test_both_sides_of_every_operation_are_the_same_function():
    for name, op in ops.OPS.items():
        shapes = [op.images] if op.kernel is None else [op.images, op.kernel]
        operands = [jax.ShapeDtypeStruct(s, np.float32) for s in shapes]
        ours, xla = (jax.eval_shape(side, *operands) for side in (op.ours, op.xla))
        assert ours == xla, name
    draw = np.random.default_rng(0).standard_normal
    for op in (
        ops.transposed((1, 3, 4, 5), 2),
        ops.transposed_4x4((1, 3, 4, 5), 2),
        ops.doubling((1, 3, 4, 5), "bilinear"),
        ops.resizing((1, 3, 4, 5), 3, False),
        ops.resizing((1, 3, 4, 5), 3, True),
        ops.pooling((1, 8, 8, 2), 3, 2, 1),
        ops.unpooling((1, 4, 6, 2), 2),
    ):
        shapes = [op.images] if op.kernel is None else [op.images, op.kernel]
        operands = [draw(shape).astype(np.float32) for shape in shapes]
        np.testing.assert_allclose(
            op.ours(*operands), op.xla(*operands), rtol=1e-5, atol=1e-5
        )


def test_operations_are_measured_and_written(tmp_path):
    name = "2×2 max-pool 32 at 28²"
    output = tmp_path / "ops.json"
    config = ops.Config(ops=(name,), rounds=1, output=output)
    assert ops.main(config) == 0
    numbers = json.loads(output.read_text())
    assert numbers[f"{name} output_ms"] > 0 < numbers[f"{name} by_images_xla_ratio"]
    assert numbers["command"].startswith("python -m benchmarks.ops")
    with pytest.raises(UsageError, match="operation"):
        ops.main(ops.Config(ops=("5×5",)))
