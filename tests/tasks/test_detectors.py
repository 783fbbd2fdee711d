"""Detectors around their networks against their references, on the same outputs.

The reference values were made by tools/make_detector_references.py with PyTorch.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import recipes, tasks
from jaxvision.tasks.detectors import Objects
from tools import detector_inputs as inputs
from tools.parity_inputs import probe

REFERENCES = json.loads((Path(__file__).parent / "detectors.json").read_text())

DETECTORS = {
    "retinanet_resnet50_fpn": tasks.retinanet(),
    "retinanet_resnet50_fpn_v2": tasks.retinanet(box_loss="giou"),
    "fcos_resnet50_fpn": tasks.fcos(),
    "ssd300_vgg16": tasks.ssd(),
    "ssdlite320_mobilenet_v3_large": tasks.ssdlite(),
    "yolox_s": tasks.yolox(l1_from=3),
    "detr_resnet50": tasks.detr(queries=20, layers=inputs.LAYERS),
}

TORCHVISION = {"boxes": "bbox_regression", "centredness": "bbox_ctrness"}
"""Our names of losses, and torchvision's where they differ."""

FASTEST = ("fcos_resnet50_fpn", "yolox_s")
"""To compile; `make test-all` compares every one."""

MOST = 8
"""Objects of an image, so that some are padding."""


def difference(ours, reference):
    ours = np.asarray(ours)
    assert list(ours.shape) == reference["shape"]
    values = np.ascontiguousarray(ours).reshape(-1)[probe(ours.shape)]
    return np.abs(values - np.array(reference["values"])).max() / reference["scale"]


def padded(name):
    """The objects of three images, whose padding holds what must not matter."""
    images = len(inputs.OBJECTS)
    boxes = np.full((images, MOST, 4), 7.0, np.float32)
    classes = np.full((images, MOST), 2, np.int32)
    valid = np.arange(MOST) < np.array(inputs.OBJECTS)[:, None]
    for i, (of_image, numbers) in enumerate(inputs.objects(name)):
        boxes[i, : len(numbers)] = of_image
        classes[i, : len(numbers)] = numbers
    return Objects(boxes, classes, valid)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FASTEST else pytest.mark.slow)
        for name in DETECTORS
    ],
)
def test_losses_and_boxes_are_those_of_the_reference(name):
    detector, reference = DETECTORS[name], REFERENCES[name]
    size, maps, _ = inputs.SHAPES[name]
    said = inputs.said(name, detector.background)
    images = len(inputs.OBJECTS)
    shapes = {
        key: jax.ShapeDtypeStruct((images, *of_map, 1), jnp.float32)
        for key, of_map in zip(detector.maps, maps, strict=True)
    }
    levels = detector.levels({**said, **shapes}, size)
    objects = padded(name)
    frame = jnp.float32([0, 0, size[1], size[0]])

    def of_image(said, objects):
        matches = detector.match(said, levels, objects)
        return detector.losses(said, levels, objects, matches, jnp.int32(3))

    def loss(said):
        totals, weights = jax.vmap(of_image)(said, objects)
        if not isinstance(weights, dict):
            weights = dict.fromkeys(totals, weights)
        means = {
            key: jnp.sum(each) / jnp.sum(weights[key]) for key, each in totals.items()
        }
        return sum(means.values()), means

    @jax.jit
    def everything(said):
        gradients, means = jax.grad(loss, has_aux=True)(said)
        found = jax.vmap(lambda one: detector.decode(one, levels, frame))(said)
        return gradients, means, found

    gradients, means, found = everything(said)
    losses = {TORCHVISION.get(key, key): value for key, value in means.items()}
    assert losses == pytest.approx(reference["losses"], rel=1e-5)
    for key, value in reference["gradients"].items():
        assert difference(gradients[key], value) < 1e-5, key
    for i, wanted in enumerate(reference["found"]):
        count = wanted["boxes"]["shape"][0]
        assert 0 < count <= found.classes.shape[1]
        assert (np.asarray(found.classes[i, count:]) == -1).all()
        classes = found.classes[i, :count].tolist()
        assert "".join(map(str, classes)) == wanted["classes"]
        assert difference(found.boxes[i, :count], wanted["boxes"]) < 1e-5
        assert difference(found.scores[i, :count], wanted["scores"]) < 1e-5


def test_detectors_are_made_again_from_their_recipes():
    for detector in DETECTORS.values():
        recipe = json.loads(json.dumps(recipes.recipe_of(detector)))
        again = recipes.DETECTORS.make(recipe)
        assert recipes.recipe_of(again) == recipes.recipe_of(detector)
