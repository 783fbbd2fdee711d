"""Both sides of `benchmarks.detection` have the same losses, and find the same.

What PyTorch's make of given weights was written by tools/make_peer_references.py.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import detection
from jaxvision.errors import UsageError
from tools import parity_inputs as inputs

PEERS = json.loads(Path(__file__).with_name("detection.json").read_text())

SHAPE = (2, 128, 160, 3)
"""Of the images of `make_peer_references`."""

SLOWER = (pytest.mark.slow, pytest.mark.exhaustive)


def test_rows_are_those_that_are_compared(tmp_path):
    assert PEERS.keys() == detection.ROWS.keys()
    with pytest.raises(UsageError, match="unknown row 'nothing'"):
        detection.main(detection.Config(tmp_path, rows=("nothing",)))


def difference(ours, reference):
    values = np.ascontiguousarray(ours).reshape(-1)[inputs.probe(ours.shape)]
    assert list(ours.shape) == reference["shape"]
    return np.abs(values - np.array(reference["values"])).max() / reference["scale"]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=pytest.mark.slow if row == "yolox_nano" else SLOWER)
        for row in PEERS
    ],
)
def test_the_peer_has_the_same_loss_and_boxes(row):
    made = detection.make(row, SHAPE)

    @jax.jit
    def both(variables, batch):
        value, _ = detection.loss(made, variables, batch, jax.random.key(0))
        return value, detection.found(made, variables, batch)

    value, found = both(made.variables, made.batch)
    assert float(value) == pytest.approx(PEERS[row]["loss"], rel=1e-4)
    for i, wanted in enumerate(PEERS[row]["found"]):
        count = wanted["boxes"]["shape"][0]
        assert count > 5 and int(found["valid"][i].sum()) == count
        classes = np.asarray(found["classes"][i, :count])
        assert "".join(map(str, classes)) == wanted["classes"]
        assert difference(np.asarray(found["boxes"][i, :count]), wanted["boxes"]) < 1e-4
        scores = np.asarray(found["scores"][i, :count])
        assert difference(scores, wanted["scores"]) < 1e-4
