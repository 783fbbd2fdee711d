"""Detectors of two stages against torchvision, with heads that say the same of boxes.

The reference values were made by tools/make_detector_references.py with PyTorch.  So
many anchors and regions are drawn that no chance is left.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import tasks
from jaxvision.types import Forward
from tests.tasks.test_detectors import difference, padded
from tools import detector_inputs as inputs

REFERENCE = json.loads((Path(__file__).parent / "detectors.json").read_text())["rcnn"]

TORCHVISION = {
    "objectness": "loss_objectness",
    "proposals": "loss_rpn_box_reg",
    "classification": "loss_classifier",
    "boxes": "loss_box_reg",
    "masks": "loss_mask",
    "keypoints": "loss_keypoint",
}
"""Our names of losses, and torchvision's."""

OPTIONS = dict(
    drawn=inputs.DRAWN,
    regions=inputs.DRAWN,
    candidates=inputs.PROPOSALS[0],
    proposals=inputs.PROPOSALS[1],
    candidates_in_training=inputs.IN_TRAINING[0],
    proposals_in_training=inputs.IN_TRAINING[1],
)
MASKS = tasks.mask_rcnn(**OPTIONS)
KEYPOINTS = tasks.keypoint_rcnn(**OPTIONS)
BOTH = MASKS._replace(heads=(*MASKS.heads, KEYPOINTS.heads[-1]))
TASK = tasks.detection(inputs.CLASSES, BOTH)

OUTPUTS = {
    "boxes": ("class_logits", "box_codes"),
    "masks": ("mask_logits",),
    "keypoints": ("keypoint_logits",),
}
SIZE, MAPS, _ = inputs.SHAPES["rcnn"]
SAID = inputs.said("rcnn", 0)


def of_regions(entry, boxes):
    """What the boxes [B,R,4] decide."""
    found = {}
    for output in OUTPUTS[entry]:
        matrix, factor, shape = inputs.of_regions(output)
        numbers = factor * jnp.sin(jnp.matmul(boxes, matrix, precision="highest"))
        found[output] = numbers.reshape(*boxes.shape[:2], *shape)
    return found


def forward_to(said):
    def call(first, *maps, entry, **_):
        if entry is not None:
            assert [each.shape[1:3] for each in maps] == [*MAPS]
            return of_regions(entry, first), {}
        levels = {
            f"level{i}": jnp.zeros((len(first), *size, 1))
            for i, size in enumerate(MAPS, 1)
        }
        return {**said, **levels}, {}

    return Forward(call, jnp.int32(0), {})


def make_batch():
    objects = padded("rcnn")
    images, most = objects.classes.shape
    masks = np.ones((images, most, *SIZE), np.uint8)
    keypoints = np.ones((images, most, inputs.KEYPOINTS, 3), np.float32)
    for i, (of_image, places) in enumerate(inputs.annotations("rcnn")):
        masks[i, : len(of_image)] = of_image
        keypoints[i, : len(places)] = places
    return {
        "image": jnp.zeros((images, *SIZE, 3)),
        "boxes": objects.boxes,
        "classes": np.where(objects.valid, objects.classes, -1).astype(np.int32),
        "instances": masks,
        "keypoints": keypoints,
    }


BATCH = make_batch()


@pytest.fixture(scope="module")
def everything():
    @jax.jit
    def compute(said, batch):
        def loss(said):
            forward = forward_to(said)
            terms, _ = TASK.loss(forward, batch, key=jax.random.key(0))
            means = {k: terms[0][k] / terms[1][k] for k in terms[0]}
            return sum(means.values()), means

        slopes, means = jax.grad(loss, has_aux=True)(said)
        return slopes, means, TASK.predict(forward_to(said), batch, keys=None)

    return jax.tree.map(np.asarray, compute(SAID, BATCH))


def test_losses_are_those_of_torchvision(everything):
    slopes, means, _ = everything
    losses = {TORCHVISION[name]: value for name, value in means.items()}
    assert losses == pytest.approx(REFERENCE["losses"], rel=1e-5)
    for name, value in REFERENCE["gradients"].items():
        assert difference(slopes[name], value) < 1e-5, name


def test_boxes_masks_and_keypoints_are_those_of_torchvision(everything):
    predicted = everything[2]
    for i, wanted in enumerate(REFERENCE["found"]):
        count = len(wanted["classes"])
        found = {name: array[i, :count] for name, array in predicted.items()}
        assert 0 < count < len(predicted["valid"][i])
        assert found["valid"].all() and not predicted["valid"][i, count:].any()
        assert "".join(map(str, found["classes"].tolist())) == wanted["classes"]
        for name in ("boxes", "scores", "masks", "keypoints", "keypoint_scores"):
            assert difference(found[name], wanted[name]) < 1e-4, name
            assert not predicted[name][i, count:].any()
