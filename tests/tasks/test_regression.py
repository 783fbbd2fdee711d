"""Regression: losses written out, metrics against scikit-learn, and its pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from experiments import counting_resnet
from jaxvision import losses, tasks, visualise
from jaxvision.errors import UsageError
from jaxvision.types import Forward, Galleries, Gallery

FORWARD = Forward(lambda images, **_: ({"logits": images}, {}), jnp.int32(0), {})
"""Of a model that returns its input."""
MEAN, STD = (20.0, -3.0), (4.0, 0.5)
TASK = tasks.regression("size", mean=MEAN, std=STD, unit="mm")


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    outputs = random.normal(size=(50, 2)).astype(np.float32)
    true = outputs * np.float32(STD) + np.float32(MEAN)
    true += random.normal(size=true.shape).astype(np.float32)
    # Far from zero, where sums of squares in float32 would lose the variance.
    return {"image": jnp.asarray(outputs), "size": jnp.asarray(true)}


def measured(task, batch, size):
    """The metrics, from batches of `size`."""
    parts = [
        task.update(
            FORWARD, {k: array[i : i + size] for k, array in batch.items()}, keys=None
        )
        for i in range(0, len(batch["image"]), size)
    ]
    sums = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *(s for s, _ in parts))
    rows = {
        name: np.concatenate([rows[name] for _, rows in parts])
        for name in ("predicted", "true")
    }
    return task.compute(sums, rows)


def test_metrics_agree_with_scikit_learn_for_any_batch(batch):
    got, other = (measured(TASK, batch, size) for size in (50, 7))
    true = np.asarray(batch["size"], np.float64)
    found = np.asarray(batch["image"] * np.float32([STD]) + np.float32([MEAN]))
    found = found.astype(np.float64)
    expected = {
        "mae": sklearn_metrics.mean_absolute_error(true, found),
        "rmse": sklearn_metrics.mean_squared_error(true, found) ** 0.5,
        "r2": sklearn_metrics.r2_score(true, found),
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=1e-6)
        assert got[name] == other[name]
    assert got["points"].shape == (2, 50, 2)
    assert {measure.name for measure in TASK.measures} <= got.keys()


def test_a_number_that_never_changes_has_no_r2(batch):
    batch = batch | {"size": batch["size"].at[:, 1].set(2.0)}
    got = measured(TASK, batch, 50)
    assert np.isnan(got["per_number_r2"][1])
    assert got["r2"] == got["per_number_r2"][0]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.squared_error, (9 + 0.25) / 2),
        (losses.absolute_error, (3 + 0.5) / 2),
        (losses.huber, ((3 - 0.5) + 0.125) / 2),
    ],
)
def test_losses_are_of_standardised_targets_and_count_no_padding(loss, expected):
    task = tasks.regression(lambda b: b["size"], mean=MEAN, std=STD, loss=loss)
    true = np.array([[20 + 3 * 4, -3 - 0.5 * 0.5], [1e9, 1e9]], np.float32)
    batch = {
        "image": jnp.zeros((2, 2)), "size": jnp.asarray(true),
        "mask": jnp.array([True, False]),
    }  # fmt: skip
    (total, weight), (_, sums) = task.loss(FORWARD, batch, key=None)
    assert float(total) == pytest.approx(expected) and int(weight) == 1
    assert task.compute(sums, {})["mae"] == pytest.approx((12 + 0.25) / 2)


def test_predictions_are_in_the_unit_of_the_targets(batch):
    found = TASK.predict(FORWARD, {"image": batch["image"]}, keys=None)["numbers"]
    np.testing.assert_allclose(
        found, batch["image"] * np.float32([STD]) + np.float32([MEAN])
    )
    worst = np.abs((found - batch["size"]) / np.float32([STD])).max(axis=1)
    np.testing.assert_allclose(TASK.difficulty(batch, {"numbers": found}), worst)


def test_what_does_not_fit_is_named(batch):
    def update(task):
        task.update(FORWARD, batch, keys=None)

    with pytest.raises(UsageError, match="no array 'age' to learn, only image, size"):
        update(tasks.regression("age"))
    with pytest.raises(UsageError, match="create the model with num_classes=1"):
        update(tasks.regression(lambda b: b["size"][:, 0]))
    with pytest.raises(UsageError, match="mean and std must be one number or 2"):
        update(tasks.regression("size", std=(1, 2, 3)))
    assert tasks.regression("age").reads == ("age",)
    with pytest.raises(UsageError, match="std must be positive"):
        tasks.regression("size", std=0)


def test_data_without_the_target_are_refused_before_any_work():
    config = counting_resnet.Config(dataset="synthetic:24x24x3")
    counting = counting_resnet.build(config)
    with pytest.raises(UsageError, match="the task reads classes, crowd"):
        counting.check()
    counting_resnet.build(counting_resnet.Config(dataset="scenes:24x24x3:96")).check()


def test_pictures_show_truth_beside_prediction(batch):
    gallery = Gallery(
        indices=np.array([4, 1]),
        difficulty=np.array([2.0, 1.0]),
        example={"image": np.zeros((2, 8, 8, 3), np.uint8)},
        input={"size": np.array([[1.0, 2.0], [3.0, 4.0]])},
        prediction={"numbers": np.array([[1.5, 2.5], [3.5, 4.5]])},
    )
    show = visualise.regression(("width", "height"), target="size", unit="mm")
    assert show.words({"numbers": np.array([1.0, 2.25])}) == [
        "width  1.00 mm", "height  2.25 mm"
    ]  # fmt: skip
    metrics = measured(TASK, batch, 50)
    figures = show.figures(Galleries(gallery, gallery), metrics)
    assert set(figures) == {"agreement.png", "predictions.png"}
    width, height = figures["agreement.png"].axes
    assert width.get_title(loc="left") == "width" and "mm" in width.get_xlabel()
    points = height.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], batch["size"][:, 1], rtol=1e-6)
    with pytest.raises(UsageError, match=r"must be \[N,1\]"):
        visualise.agreement(np.zeros((3, 2)), np.zeros((3, 2)), ["one"])
