"""The task of detection, on outputs that are right or wrong on purpose."""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import recipes, tasks
from jaxvision.errors import UsageError
from jaxvision.metrics import tide
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.tasks import frames
from jaxvision.tasks.detectors import Objects
from jaxvision.types import Forward

CLASSES = 3
SIZE = (64, 96)
CANVAS = (64, 128)
MAPS = ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))
DETECTOR = tasks.retinanet(
    sizes=[[side] for side in (32, 64, 128, 256, 512)], ratios=(1.0,)
)
TASK = tasks.detection(CLASSES, DETECTOR, rule="11 points")
LEVELS = DETECTOR.anchors(SIZE, MAPS)
ANCHORS = np.concatenate(LEVELS)
SURE = 8.0
"""A logit."""


def make_batch():
    """Four images: of two objects, of one, of none, and of one beside a crowd.  The
    network sees the originals as they are."""
    boxes = np.zeros((4, 3, 4), np.float32)
    classes = np.full((4, 3), -1, np.int32)
    crowd = np.zeros((4, 3), np.uint8)
    boxes[0, :2] = (4, 10, 36, 42), (50, 12, 90, 52)
    classes[0, :2] = 0, 2
    boxes[1, 0] = (30, 9, 70, 50)
    classes[1, 0] = 1
    boxes[3, :2] = (2, 12, 34, 44), (40, 8, 96, 56)
    classes[3, :2] = 2, 1
    crowd[3, 1] = 1
    batch = {
        "image": np.zeros((4, *SIZE, 3), np.float32),
        "boxes": boxes,
        "classes": classes,
        "crowd": crowd,
        "mask": np.ones(4, bool),
        "taken": np.tile(np.float32([0, 0, SIZE[1], SIZE[0]]), (4, 1)),
        "canvas": canvas(*SIZE),
    }
    return jax.tree.map(jnp.asarray, batch)


def canvas(height, width):
    canvas = np.zeros((4, *CANVAS), np.uint8)
    canvas[:, :height, :width] = 1
    return canvas


BATCH = make_batch()


@jax.jit
def right(batch):
    """Outputs that say of every anchor what it is to find."""
    coder = box_ops.deltas()

    def of_image(boxes, classes, crowd):
        objects = Objects(boxes, classes, matching.findable(classes, crowd))
        matches = DETECTOR.match({}, LEVELS, objects)
        classes = matching.gather(classes, matches, -1)
        logits = SURE * (2 * jax.nn.one_hot(classes, CLASSES) - 1)
        boxes = matching.gather(boxes, matches)
        boxes = jnp.where((matches >= 0)[:, None], boxes, ANCHORS)
        return {"class_logits": logits, "box_codes": coder.encode(boxes, ANCHORS)}

    outputs = jax.vmap(of_image)(batch["boxes"], batch["classes"], batch["crowd"])
    return outputs | {
        name: jnp.zeros((len(batch["image"]), *size, 1))
        for name, size in zip(DETECTOR.maps, MAPS, strict=True)
    }


def forward_to(outputs):
    return Forward(lambda images, **_: (outputs, {}), jnp.int32(0), {})


class Everything(NamedTuple):
    """What the task makes of outputs and a batch."""

    loss: Any
    update: Any
    predicted: Any
    difficulty: Any
    slopes: Any
    """Of the classification's loss, by its logits."""


@jax.jit
def everything(outputs, batch):
    """One program for all tests."""

    def loss(logits):
        forward = forward_to({**outputs, "class_logits": logits})
        terms, _ = TASK.loss(forward, batch, key=None)
        return terms[0]["classification"], terms

    slopes, terms = jax.grad(loss, has_aux=True)(outputs["class_logits"])
    forward = forward_to(outputs)
    predicted = TASK.predict(forward, batch, keys=None)
    update = TASK.update(forward, batch, keys=None)
    difficulty = TASK.difficulty(batch, predicted)
    return Everything(terms, update, predicted, difficulty, slopes)


def measured(found):
    sums, rows = jax.tree.map(np.asarray, found.update)
    return TASK.compute(sums, rows)


@pytest.fixture(scope="module")
def found():
    return everything(right(BATCH), BATCH)


def test_what_is_right_has_full_marks(found):
    metrics = measured(found)
    for name in ("voc_ap", "ap", "ap50", "ar_100"):
        assert metrics[name] == pytest.approx(1)
    assert metrics["loss"] == pytest.approx(
        metrics["classification_loss"] + metrics["boxes_loss"]
    )
    assert metrics["loss"] < 1e-3
    assert not metrics["mistakes"].any() and not metrics["mistake_costs"].any()
    assert set(found.loss[0]) == set(found.loss[1]) == {"classification", "boxes"}
    predicted = jax.tree.map(np.asarray, found.predicted)
    assert predicted["valid"].sum(1).tolist() == [2, 1, 0, 1]
    assert (predicted["classes"][~predicted["valid"]] == -1).all()
    assert not predicted["boxes"][~predicted["valid"]].any()
    np.testing.assert_allclose(
        predicted["boxes"][1, 0], BATCH["boxes"][1, 0], atol=1e-3
    )
    assert found.difficulty.max() < 1e-2
    # The sums of a training log tell the loss alone.
    log = TASK.compute(jax.tree.map(np.asarray, found.update[0]), {})
    assert log == {k: v for k, v in metrics.items() if "loss" in k}


def test_mistakes_cost_loss_precision_and_are_difficult(found):
    outputs = right(BATCH)
    swapped = outputs["class_logits"].at[0].set(outputs["class_logits"][0][:, ::-1])
    wrong = everything({**outputs, "class_logits": swapped}, BATCH)
    metrics = measured(wrong)
    assert metrics["ap"] < 0.7 and metrics["loss"] > 1
    kind = tide.KINDS.index("class")
    assert metrics["mistakes"].tolist() == [2 * (k == kind) for k in range(6)]
    assert metrics["mistake_costs"][kind] > 0.3
    # Two objects are missed, and two boxes are false alarms.
    assert wrong.difficulty[0] == pytest.approx(4, abs=0.02)
    np.testing.assert_array_equal(wrong.difficulty[1:], found.difficulty[1:])


def test_padding_does_not_count(found):
    outputs = jax.tree.map(lambda x: x.at[2:].set(x[:2]), right(BATCH))
    masked = {**BATCH, "mask": jnp.arange(4) < 2}
    half = everything(outputs, masked).loss
    again = everything(right(BATCH), masked).loss
    jax.tree.map(np.testing.assert_array_equal, half, again)
    assert float(half[1]["boxes"]) == 2 and float(found.loss[1]["boxes"]) == 4
    # The parts of a batch add up to it.
    rest = everything(right(BATCH), {**BATCH, "mask": jnp.arange(4) >= 2}).loss
    added = jax.tree.map(jnp.add, again, rest)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), added, found.loss
    )


def test_in_a_crowd_nothing_is_learned():
    outputs = right(BATCH)
    logits = jnp.zeros_like(outputs["class_logits"])
    unsure = everything({**outputs, "class_logits": logits}, BATCH)
    slopes = np.asarray(unsure.slopes)
    crowd = BATCH["boxes"][3, 1][None]
    inside = np.asarray(box_ops.coverage(ANCHORS, crowd)) >= 0.5
    matched = np.asarray(outputs["class_logits"][3]).max(-1) > 0
    assert inside.any() and not slopes[3][inside & ~matched].any()
    assert slopes[3][~inside].any(-1).mean() > 0.9
    assert slopes[2].all()  # an image without objects is all background


def test_queries_in_an_image_of_a_crowd_learn_objects_alone():
    queries = 4
    task = tasks.detection(CLASSES, tasks.detr(queries=queries, layers=1))
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(4, queries, CLASSES + 1)).astype(np.float32)
    codes = draw.normal(size=(4, queries, 4)).astype(np.float32)

    @jax.jit
    @jax.grad
    def slopes(logits, batch):
        maps = {"memory": jnp.zeros((4, 1, 1, 8))}
        outputs = {"class_logits": logits, "box_codes": codes, **maps}
        (totals, _), _ = task.loss(forward_to(outputs), batch, key=None)
        return totals["classification"]

    for width, learning in ((40, queries), (56, 1)):  # of 96 pixels
        boxes = BATCH["boxes"].at[3, 1].set(jnp.float32([96 - width, 0, 96, 64]))
        of_queries = np.asarray(slopes(jnp.asarray(logits), {**BATCH, "boxes": boxes}))
        assert of_queries[:3].any(axis=-1).all()
        assert of_queries[3].any(axis=-1).sum() == learning


def test_boxes_are_those_of_the_original_images():
    """Of 50×100 pixels, of which the network sees 96 % below a border of 8 pixels."""
    scale = 0.96
    taken = np.tile(np.float32([0, -8 / scale, 100, 56 / scale]), (4, 1))
    seen = {
        **BATCH,
        "taken": jnp.asarray(taken),
        "canvas": jnp.asarray(canvas(50, 100)),
    }
    boxes = frames.boxes_in_original(BATCH["boxes"], seen)
    first = (4 / scale, 2 / scale, 36 / scale, 34 / scale)
    np.testing.assert_allclose(boxes[0, 0], first, rtol=1e-5)
    np.testing.assert_allclose(
        frames.original_as_seen(seen), [[0, 8, 96, 56]] * 4, atol=1e-4
    )
    original = {**seen, "boxes": boxes}
    np.testing.assert_allclose(
        frames.boxes_as_seen(boxes, original), BATCH["boxes"], atol=1e-4
    )
    moved = everything(right(BATCH), original)
    metrics = measured(moved)
    assert metrics["ap"] == pytest.approx(1) and metrics["loss"] < 1e-3
    np.testing.assert_allclose(moved.predicted["boxes"][1, 0], boxes[1, 0], atol=1e-3)
    assert moved.difficulty.max() < 1e-2
    assert (np.asarray(moved.predicted["boxes"]) <= (100, 50, 100, 50)).all()


def test_a_batch_need_not_say_more_than_what_there_is():
    least = {name: BATCH[name] for name in ("image", "boxes", "classes")}
    found = jax.eval_shape(everything, right(BATCH), least)
    full = jax.eval_shape(everything, right(BATCH), BATCH)
    assert found.predicted == full.predicted and found.loss == full.loss
    assert "crowd" not in found.update[1]


def test_the_task_is_made_again():
    recipe = json.loads(json.dumps(recipes.recipe_of(TASK)))
    made = recipes.TASKS.make(recipe)
    assert recipes.recipe_of(made) == recipes.recipe_of(TASK)
    assert made.reads == ("boxes", "classes")
    assert [task.measures[0].name for task in (made, tasks.detection(3, DETECTOR))] == [
        "voc_ap", "ap"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (tasks.detection(4, DETECTOR), r"scores of 3 classes.*num_classes=4"),
        (tasks.detection(3, tasks.ssd()), "unknown output of the model 'map1'"),
        (
            tasks.detection(3, tasks.retinanet()),
            "129 boxes for an image of 64×96, and there are 1161 anchors",
        ),
    ],
)
def test_a_detector_of_another_model_is_refused(task, message):
    with pytest.raises(UsageError, match=message):
        task.predict(forward_to(right(BATCH)), BATCH, keys=None)


def test_what_is_no_detector_is_refused():
    with pytest.raises(UsageError, match=r"such as tasks.retinanet\(\), got 'ssd'"):
        tasks.detection(3, "ssd")
    with pytest.raises(UsageError, match="unknown rule of average precision 'voc'"):
        tasks.detection(3, DETECTOR, rule="voc")
    with pytest.raises(UsageError, match="unknown loss of boxes 'l2'"):
        tasks.retinanet(box_loss="l2")
    with pytest.raises(UsageError, match=r"got low 0\.6 and high 0\.5"):
        tasks.retinanet(low=0.6)
    with pytest.raises(UsageError, match="least_score must be from 0 to less than 1"):
        tasks.fcos(least_score=1.5)
    with pytest.raises(UsageError, match=r"an IoU from 0 to 1, got 45"):
        tasks.ssd(overlap=45)
    with pytest.raises(UsageError, match="num_classes must be at least 1, got 0"):
        tasks.detection(0, DETECTOR)
    with pytest.raises(UsageError, match="no_object must be from 0 to 1, got 2"):
        tasks.detr(no_object=2)


def test_anchors_that_fit_no_object_are_named():
    outputs = jax.eval_shape(right, BATCH)
    said = TASK.advice(outputs, [jax.tree.map(np.asarray, BATCH)])
    (idle,) = said  # every object has an anchor
    assert idle == (
        "4 of 5 kinds of anchors match no object in 4 training images, those of 64×64, "
        "128×128, 256×256, 512×512 pixels (width × height): the sides of objects are "
        "32 to 41 pixels"
    )
    small = jax.tree.map(np.asarray, {**BATCH, "boxes": BATCH["boxes"] / 4})
    alone, idle = TASK.advice(outputs, [small, small])
    assert alone.startswith(
        "8 of 8 objects in 8 training images have no anchor with an IoU of 0.5: their "
        "sides are 8 to 10 pixels, those of the anchors 32 to 512."
    )
    assert "32×32" not in idle  # what overlaps nothing well has the nearest one
