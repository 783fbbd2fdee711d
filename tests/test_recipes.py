"""What the package makes can be saved as data, and made again."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import losses, models, tasks, visualise
from jaxvision.errors import UsageError
from jaxvision.recipes import MODELS, SHOWS, TASKS, recipe_of
from jaxvision.types import Forward

CLASSES = ("ant", "bee", "cat")
MADE = {
    "classification": tasks.classification(3, label_smoothing=0.1),
    "own loss": tasks.classification(3, loss=losses.sum_of_squares),
    "multilabel": tasks.multilabel(3, threshold=0.4),
    "regression": tasks.regression("age", mean=[3.0], std=2.0, unit="years"),
    "segmentation": tasks.segmentation(3),
    "losses of maps": tasks.segmentation(
        3,
        loss=losses.weighted_sum(
            (1, losses.cross_entropy),
            (0.5, losses.dice(smooth=0.1)),
            (1, losses.ohem()),
        ),
        outputs={"logits": 1.0, "aux": 0.4},
        boundary_tolerance=0.01,
    ),
    "losses of answers": tasks.multilabel(
        3,
        loss=losses.positive_weighted((1.0, 2.0, 3.0)),
        class_weights=np.array([1.0, 2.0, 1.0]),
        threshold=[0.2, 0.3, 0.4],
    ),
    "chosen later": tasks.multilabel(3, loss=losses.asymmetric(), threshold="each"),
    "windows": tasks.with_windows(tasks.with_scales(tasks.segmentation(3)), 16),
    "mirrored": tasks.with_views(tasks.classification(3), tasks.mirrored),
    "crops": tasks.with_views(tasks.classification(3), tasks.ten_crops(24)),
}
SHOWN = {
    "classification": visualise.classification(CLASSES),
    "multilabel": visualise.multilabel(CLASSES),
    "regression": visualise.regression(("age",), target="age", unit="years"),
    "segmentation": visualise.segmentation(CLASSES),
    "detection": visualise.detection(CLASSES, least=0.5),
}


def again(kind, value):
    saved = json.loads(json.dumps(recipe_of(value), allow_nan=False))
    made = kind.make(saved)
    assert recipe_of(made) == recipe_of(value) != None  # noqa: E711
    return made, json.dumps(saved)


@pytest.mark.parametrize("name", MADE)
def test_a_task_is_made_again(name):
    task = MADE[name]
    made, saved = again(TASKS, task)
    assert "elsewhere" not in saved
    assert made.measures == task.measures and made.reads == task.reads
    of_maps = name in ("segmentation", "losses of maps", "windows")
    sizes = (2, 24, 24, 3) if of_maps else (2, 3)
    logits = jax.random.normal(jax.random.key(0), sizes)
    logits = logits[..., :1] if name == "regression" else logits
    images = jnp.ones((2, 24, 24, 1))

    def predicted(task):
        def forward(images, **options):
            cut = slice(None, images.shape[1])
            return {"logits": logits[:, cut, cut] if of_maps else logits}, {}

        whole = Forward(forward, jnp.int32(0), {})
        return task.predict(whole, {"image": images}, keys=None)

    jax.tree.map(np.testing.assert_array_equal, predicted(made), predicted(task))


@pytest.mark.parametrize("name", SHOWN)
def test_a_show_is_made_again(name):
    made, _ = again(SHOWS, SHOWN[name])
    predictions = {
        "probabilities": np.float32([0.1, 0.7, 0.2]),
        "numbers": np.float32([31.5]),
        "segmentation": np.uint8([[0, 1], [1, 2]]),
        "classes": np.int32([2, 1, -1]),
        "scores": np.float32([0.9, 0.4, 0.0]),
    }
    assert made.words(predictions) == SHOWN[name].words(predictions)


@pytest.mark.parametrize(
    "name, options",
    [
        ("mlp", dict(hidden=(4, 5), num_classes=3)),
        ("resnet18", dict(num_classes=2, width=8)),
        ("resnet18", dict(num_classes=2, width=8, dtype=jnp.bfloat16)),
    ],
)
def test_a_model_is_made_again(name, options):
    model = models.create(name, **options)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    key = jax.random.key(0)
    for value in (model, model.rebuild(remat=True) if name != "mlp" else model):
        made, _ = again(MODELS, value)
        shapes = jax.eval_shape(made.init, key, images)
        assert shapes == jax.eval_shape(value.init, key, images)
        outputs, _ = jax.eval_shape(made.apply, shapes, images)
        assert outputs == jax.eval_shape(value.apply, shapes, images)[0]


def test_what_was_changed_has_no_recipe_any_more():
    task = tasks.classification(3)
    assert recipe_of(task) is not None
    assert recipe_of(task._replace(difficulty=None)) is None
    viewed = tasks.with_views(task, tasks.mirrored)
    assert recipe_of(task)["name"] == "classification"
    assert recipe_of(viewed)["name"] == "with_views"
    assert recipe_of(models.from_linen(nn.Dense(3))) is None


def test_functions_of_ones_own_are_left_out_of_tasks_alone():
    def count(batch):
        return batch["label"]

    task = tasks.regression(count, reads=("label",))
    made, saved = again(TASKS, task)
    assert "count" in saved
    with pytest.raises(UsageError, match=r"needs .*count, the user's own function"):
        batch = {"image": np.zeros((1, 2)), "label": np.zeros(1)}
        made.loss(lambda x: ({"logits": x}, {}), batch, key=None)
    show = functools.partial(visualise.regression, target=count)(("n",))
    made, _ = again(SHOWS, show)
    assert made.words({"numbers": np.float32([2])}) == ["n  2.00"]


@pytest.mark.parametrize(
    "recipe, message",
    [
        ({"name": "clasification", "arguments": {}}, "did you mean 'classification'"),
        ({"name": "segmentation", "arguments": {}}, "needs num_classes"),
        ("text", "a recipe must be"),
        (
            {
                "name": "segmentation",
                "arguments": {"num_classes": 3, "loss": {"function": "losses:gone"}},
            },
            "no function losses:gone",
        ),
        (
            {
                "name": "segmentation",
                "arguments": {"num_classes": 3, "loss": {"function": "files:Path"}},
            },
            "no function files:Path",
        ),
    ],
)
def test_a_recipe_of_another_version_is_named(recipe, message):
    with pytest.raises(UsageError, match=message):
        TASKS.make(recipe)
