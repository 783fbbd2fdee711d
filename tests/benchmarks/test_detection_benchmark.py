"""Both sides of `benchmarks.detection` have the same losses, and find the same.

What PyTorch's make of given weights was written by tools/make_peer_references.py.
"""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import detection
from benchmarks.peers.memory import peak
from experiments import (
    bccd_retinanet,
    bccd_yolox,
    detection_recipe,
    rcnn_recipe,
    scenes_maskrcnn,
    yolox_recipe,
)
from jaxvision import tasks
from jaxvision.errors import UsageError
from tools import parity_inputs as inputs

PEERS = json.loads(Path(__file__).with_name("detection.json").read_text())

SHAPE = (2, 128, 160, 3)
"""Of the images of `make_peer_references`."""

EVERY, PROPOSALS = 20_000, 100
"""Anchors and regions that teach, and proposals: of `make_peer_references`, which
leaves nothing to chance."""

NOTHING_DRAWN = {
    "maskrcnn_resnet18": tasks.mask_rcnn(
        drawn=EVERY,
        regions=EVERY,
        masks=200,
        proposals=PROPOSALS,
        proposals_in_training=PROPOSALS,
    )
}

SLOWER = (pytest.mark.slow, pytest.mark.exhaustive)


def test_rows_are_those_that_are_compared(tmp_path):
    assert PEERS.keys() == detection.ROWS.keys()
    with pytest.raises(UsageError, match="unknown row 'nothing'"):
        detection.main(detection.Config(tmp_path, rows=("nothing",)))
    with pytest.raises(UsageError, match="unknown kind of step 'nothing'"):
        detection.main(detection.Config(tmp_path, kinds=("nothing",)))


@pytest.mark.parametrize(
    "experiment, recipe",
    [
        (bccd_retinanet, detection_recipe),
        (bccd_yolox, yolox_recipe),
        (scenes_maskrcnn, rcnn_recipe),
    ],
)
def test_a_dispatch_is_as_long_as_in_the_experiments(experiment, recipe):
    config = dataclasses.replace(experiment.Config(), **recipe.SMOKE)
    steps = detection.IN_DISPATCH["training"]
    assert experiment.build(config).steps_per_dispatch == steps


def difference(ours, reference):
    values = np.ascontiguousarray(ours).reshape(-1)[inputs.probe(ours.shape)]
    assert list(ours.shape) == reference["shape"]
    return np.abs(values - np.array(reference["values"])).max() / reference["scale"]


def in_their_order(found, wanted):
    """What was found in an image, where scores that differ by rounding alone stand in
    the order of the peer."""
    order = np.arange(len(found["scores"]))

    def said(count):
        return "".join(map(str, found["classes"][order[:count]]))

    for i in np.flatnonzero(-np.diff(found["scores"]) < 1e-6):
        if not wanted["classes"].startswith(said(i + 1)):
            order[[i, i + 1]] = order[[i + 1, i]]
    return {name: each[order] for name, each in found.items()}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=pytest.mark.slow if row == "yolox_nano" else SLOWER)
        for row in PEERS
    ],
)
def test_the_peer_has_the_same_loss_and_boxes(row):
    made = detection.make(row, SHAPE, NOTHING_DRAWN.get(row))

    @jax.jit
    def both(variables, batch):
        value, _ = detection.loss(made, variables, batch, jax.random.key(0))
        return value, detection.found(made, variables, batch)

    value, found = both(made.variables, made.batch)
    assert float(value) == pytest.approx(PEERS[row]["loss"], rel=1e-4)
    for i, wanted in enumerate(PEERS[row]["found"]):
        count = wanted["boxes"]["shape"][0]
        assert count > 5 and int(found["valid"][i].sum()) == count
        of_image = {
            name: np.asarray(found[name][i, :count])
            for name in ("boxes", "scores", "classes")
        }
        of_image = in_their_order(of_image, wanted)
        assert "".join(map(str, of_image["classes"])) == wanted["classes"]
        assert difference(of_image["boxes"], wanted["boxes"]) < 1e-4
        # Of two stages the second repeats the rounding of the first's boxes.
        exact = 1e-3 if row in NOTHING_DRAWN else 1e-4
        assert difference(of_image["scores"], wanted["scores"]) < exact


def test_memory_that_was_freed_before_is_no_peak():
    def hold(megabytes):
        np.ones(megabytes * 2**17).sum()

    before = peak(hold, 300)
    if before is None:
        pytest.skip("this system does not tell how much memory a process held")
    less, more = peak(hold, 50), peak(hold, 150)
    assert less < more < before
    assert more - less == pytest.approx(100 * 2**20, rel=0.3)
