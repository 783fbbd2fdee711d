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

from jaxvision import recipes, tasks
from jaxvision.errors import UsageError
from jaxvision.ops import matching
from jaxvision.ops.boxes import area
from jaxvision.tasks.detectors import Objects, Regions, keypoints
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
# The nine regions with an object are looked at in blocks, of which the last is padded.
MASKS = tasks.mask_rcnn(masks=10, block=4, **OPTIONS)
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


@pytest.mark.slow
def test_losses_are_those_of_torchvision(everything):
    slopes, means, _ = everything
    losses = {TORCHVISION[name]: value for name, value in means.items()}
    assert losses == pytest.approx(REFERENCE["losses"], rel=1e-5)
    for name, value in REFERENCE["gradients"].items():
        assert difference(slopes[name], value) < 1e-5, name


@pytest.mark.slow
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


def test_regions_that_teach_nothing_have_no_area():
    """So that the network can tell them from others."""

    def call(first, *maps, entry, **options):
        said, _ = forward_to(SAID).call(first, *maps, entry=entry)
        return said, {"empty": jnp.sum(area(first) == 0) if entry == "masks" else 0}

    detector = tasks.mask_rcnn(masks=10, block=0, **OPTIONS)
    task = tasks.detection(inputs.CLASSES, detector)
    forward = Forward(call, jnp.int32(0), {})
    _, (state, _) = task.loss(forward, BATCH, key=jax.random.key(0))
    assert int(state["empty"]) == 3 * 10 - (9 + 0 + 3)


def refused(task, said=SAID, **other):
    """What is said of a task that does not belong to the model or to the batch."""
    batch = {**BATCH, **other}
    with pytest.raises(UsageError) as caught:
        jax.eval_shape(
            lambda b: task.loss(forward_to(said), b, key=jax.random.key(0)), batch
        )
    return str(caught.value)


def test_what_does_not_belong_together_is_refused():
    more = tasks.detection(inputs.CLASSES + 1, MASKS)
    assert "5 classes want 6: create the model with num_classes=6" in refused(more)
    assert "unknown output of the model 'p3'" in refused(
        tasks.detection(inputs.CLASSES, tasks.retinanet())
    )
    wrong = tasks.detection(inputs.CLASSES, tasks.keypoint_rcnn(ratios=(1.0,)))
    assert "3072 boxes for an image of 96×128, and there are 1024 anchors" in refused(
        wrong
    )
    points = np.ones((*BATCH["classes"].shape, 5, 3), np.float32)
    five = refused(tasks.detection(inputs.CLASSES, KEYPOINTS), keypoints=points)
    assert "has 3 keypoints and the objects have 5: create" in five
    assert TASK.reads == ("boxes", "classes", "instances", "keypoints")
    with pytest.raises(UsageError, match="fits must be an IoU above 0"):
        tasks.mask_rcnn(fits=0.0)
    with pytest.raises(UsageError, match="regions must be at least 1, got 0"):
        tasks.faster_rcnn(regions=0)


def test_more_proposals_may_be_asked_for_than_there_are():
    task = tasks.detection(inputs.CLASSES, tasks.faster_rcnn(proposals=4000))
    found = jax.eval_shape(
        lambda b: task.predict(forward_to(SAID), b, keys=None), BATCH
    )
    assert found["boxes"].shape == (3, 100, 4)


def test_masks_of_no_pixel_teach_none():
    (_, head) = MASKS.heads
    batch = jax.tree.map(jnp.asarray, BATCH)
    valid = batch["classes"][0] >= 0
    masks = batch["instances"][0].at[1].set(0)
    objects = Objects(batch["boxes"][0], batch["classes"][0], valid, instances=masks)
    regions = Regions(batch["boxes"][0][:4], jnp.int32([0, 1, 2, matching.BACKGROUND]))
    chosen = head.choose(jax.random.key(0), regions, objects)
    assert chosen.matches.tolist() == [0, matching.IGNORED, 2, matching.IGNORED]
    without = {**BATCH, "instances": BATCH["instances"].copy()}
    without["instances"][0, 1] = 0
    assert head.taught(BATCH)[BATCH["classes"] >= 0].all()
    shapes = jax.eval_shape(lambda b: forward_to(SAID)(b["image"])[0], BATCH)
    (*_, said) = tasks.detection(inputs.CLASSES, MASKS).advice(shapes, [without])
    assert said.startswith("1 of 8 objects in 3 training images have no masks")


@pytest.mark.parametrize("aligned", [True, False])
def test_masks_that_are_aligned_are_those_of_the_pixels(aligned):
    (_, head) = tasks.mask_rcnn(aligned=aligned).heads
    mask = np.random.default_rng(0).integers(0, 2, (1, 20, 24))
    box = jnp.float32([[5, 3, 19, 17]])
    objects = Objects(box, jnp.int32([0]), jnp.bool([True]), instances=jnp.uint8(mask))
    logits = 8.0 * (2 * mask[0, 3:17, 5:19] - 1)
    said = {"mask_logits": jnp.float32(logits)[None, :, :, None].repeat(2, axis=-1)}
    totals, pixels = head.losses(said, Regions(box, jnp.int32([0]), box), objects)
    assert int(pixels) == 14 * 14
    mean = float(totals["masks"] / pixels)
    assert mean < 1e-3 if aligned else mean > 1


def test_a_keypoint_lies_in_a_cell_of_its_box():
    boxes = jnp.float32([[10, 20, 66, 76], [0, 0, 112, 28]])
    points = jnp.float32(
        [
            [[10.5, 20.5, 2], [66, 76, 1], [9.9, 30, 2], [30, 40, 0]],
            [[3, 1, 2], [112, 0, 2], [112.5, 3, 2], [2, 28, 2]],
        ]
    )
    cells, inside = keypoints.places_of(points, boxes, 56)
    assert inside.tolist() == [[True, True, False, False], [True, True, False, True]]
    assert cells.tolist() == [[0, 55 * 56 + 55, 0, 0], [2 * 56 + 1, 55, 0, 55 * 56 + 1]]


def test_the_likeliest_pixel_is_found_in_blocks():
    """Of maps that are enlarged to more than one block, and of a box of no area."""
    boxes = np.float32([[3, 5, 150.5, 75.25], [7, 7, 7, 7]])
    logits = inputs.uniform("places", (2, 8, 8, 2))
    found, values = keypoints.most_likely(jnp.asarray(logits), jnp.asarray(boxes))
    rows, columns = (
        keypoints.enlarging(jnp.arange(size), jnp.int32(size), 8) for size in (71, 148)
    )
    whole = np.einsum("yp,pqk,xq->kyx", rows, logits[0], columns)
    for k, one in enumerate(whole):
        y, x = np.unravel_index(one.argmax(), one.shape)
        assert values[0, k] == pytest.approx(one.max(), abs=1e-6)
        place = 3 + (x + 0.5) * 147.5 / 148, 5 + (y + 0.5) * 70.25 / 71
        np.testing.assert_allclose(found[0, k], place, rtol=1e-5)
    np.testing.assert_allclose(found[1], 7.5)


def test_detectors_are_made_again_from_their_recipes():
    for detector in (MASKS, KEYPOINTS, tasks.faster_rcnn_mobile(small=True)):
        recipe = json.loads(json.dumps(recipes.recipe_of(detector)))
        again = recipes.DETECTORS.make(recipe)
        assert recipes.recipe_of(again) == recipes.recipe_of(detector)
        assert len(again.heads) == len(detector.heads)


def test_proposals_may_be_given():
    """Fast R-CNN: what the network says of them is as of proposals of its own."""
    detector = tasks.fast_rcnn(regions=16, most=8)
    task = tasks.detection(inputs.CLASSES, detector)
    assert task.reads == ("boxes", "classes", "proposals")
    around = BATCH["boxes"] + np.float32([-1, -1, 1, 1])
    none = np.zeros_like(around)
    batch = {**BATCH, "proposals": np.concatenate([around, none], axis=1)}

    @jax.jit
    def compute(batch):
        forward = forward_to({})
        (total, weight), _ = task.loss(forward, batch, key=jax.random.key(0))
        return total, weight, task.predict(forward, batch, keys=None)

    total, weight, found = compute(batch)
    assert set(total) == {"classification", "boxes"}
    # Of 16, a quarter with an object; of the empty image those that are proposed.
    assert 0 < weight["boxes"] <= 16 * len(inputs.OBJECTS)
    assert found["valid"].any() and found["boxes"].shape == (3, 8, 4)
    empty = compute({**batch, "proposals": np.zeros_like(batch["proposals"])})[2]
    assert not empty["valid"].any() and not empty["scores"].any()
    again = recipes.DETECTORS.make(recipes.recipe_of(detector))
    assert again.given == "proposals"
