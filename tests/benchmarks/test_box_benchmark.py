"""The benchmark of boxes: its cases are functions, and COCO's side says the same."""

import json

import jax
import pytest

from benchmarks import boxes
from jaxvision.errors import UsageError


def test_cases_are_functions_of_their_arrays():
    for name, make in boxes.CASES.items():
        case = make()
        operands = [
            jax.ShapeDtypeStruct(a.shape, a.dtype) for a in case.arrays.values()
        ]
        leaves = jax.tree.leaves(jax.eval_shape(case.ours, *operands))
        assert leaves, name
        json.dumps(case.options)  # as it travels


def test_average_precision_is_timed_and_compared(tmp_path):
    output = tmp_path / "boxes.json"
    config = boxes.Config(cases=("coco_ap",), images=40, rounds=1, output=output)
    assert boxes.main(config) == 0
    numbers = json.loads(output.read_text())
    assert numbers["coco_ap pycocotools_ratio"] > 1
    assert numbers["coco_ap difference"] < 1e-9
    with pytest.raises(UsageError, match="unknown case"):
        boxes.main(boxes.Config(cases=("nothing",)))
