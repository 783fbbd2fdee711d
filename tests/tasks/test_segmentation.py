"""The segmentation task against scikit-learn, with pixels that do not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as sklearn_metrics

from jaxvision import tasks
from jaxvision.errors import UsageError
from jaxvision.types import UNKNOWN, Forward

CLASSES = 5
TASK = tasks.segmentation(CLASSES)
KEY = jax.random.key(0)
FORWARD = Forward(lambda images, **_: ({"logits": images}, {}), jnp.int32(0), {})
"""Of a model that returns its input."""


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES - 1, (9, 6, 7)).astype(np.uint8)
    labels[random.uniform(size=labels.shape) < 0.3] = UNKNOWN
    labels[4] = UNKNOWN  # an image without any pixel that counts
    logits = random.normal(size=(9, 6, 7, CLASSES)).astype(np.float32)
    logits[..., CLASSES - 1] = -9  # a class that is neither there nor predicted
    return {"image": jnp.asarray(logits), "segmentation": jnp.asarray(labels)}


def measured(batch):
    sums, rows = TASK.update(FORWARD, batch, keys=None)
    assert rows == {}
    return TASK.compute(jax.tree.map(np.asarray, sums), {})


def test_metrics_agree_with_scikit_learn(batch):
    got = measured(batch)
    labels = np.asarray(batch["segmentation"])
    counts = labels != UNKNOWN
    true = labels[counts]
    predicted = np.asarray(batch["image"]).argmax(-1)[counts]
    iou = sklearn_metrics.jaccard_score(
        true, predicted, average=None, labels=range(CLASSES - 1)
    )
    np.testing.assert_allclose(got["per_class_iou"][:-1], iou)
    assert np.isnan(got["per_class_iou"][-1])
    np.testing.assert_allclose(got["mean_iou"], iou.mean())
    assert got["pixel_accuracy"] == sklearn_metrics.accuracy_score(true, predicted)
    np.testing.assert_allclose(
        got["mean_accuracy"], sklearn_metrics.balanced_accuracy_score(true, predicted)
    )
    dice = sklearn_metrics.f1_score(
        true, predicted, average=None, labels=range(CLASSES - 1)
    )
    np.testing.assert_allclose(got["per_class_dice"][:-1], dice)
    np.testing.assert_allclose(got["mean_dice"], dice.mean())
    recall = sklearn_metrics.recall_score(
        true, predicted, average=None, labels=range(CLASSES - 1)
    )
    np.testing.assert_allclose(got["per_class_accuracy"][:-1], recall)
    np.testing.assert_array_equal(
        got["confusion"],
        sklearn_metrics.confusion_matrix(true, predicted, labels=range(CLASSES)),
    )
    shares = np.asarray(jax.nn.softmax(batch["image"]), np.float64)[counts]
    np.testing.assert_allclose(
        got["loss"], -np.log(shares[np.arange(len(true)), true]).mean(), rtol=1e-5
    )


def test_unknown_pixels_and_padding_change_nothing(batch):
    before = measured(batch)
    classes = jnp.arange(CLASSES, dtype=jnp.float32)[None, None, None, :]
    noise = jnp.where(batch["segmentation"][..., None] == UNKNOWN, 5.0, 0.0)
    other = {**batch, "image": batch["image"] + noise * classes}
    padded = {name: jnp.concatenate([a, a[:3]]) for name, a in batch.items()}
    padded["mask"] = jnp.arange(12) < 9
    for found in (measured(other), measured(padded)):
        np.testing.assert_array_equal(found["confusion"], before["confusion"])
        assert found["loss"] == pytest.approx(before["loss"], rel=1e-6)


def test_the_loss_is_a_total_over_the_pixels_that_count(batch):
    (total, weight), (_, sums) = TASK.loss(FORWARD, batch, key=KEY)
    assert int(weight) == int((batch["segmentation"] != UNKNOWN).sum())
    np.testing.assert_allclose(total / weight, measured(batch)["loss"], rtol=1e-6)
    assert TASK.compute(sums, {})["loss"] == pytest.approx(float(total / weight))

    def loss(images):
        (total, _), _ = TASK.loss(FORWARD, batch | {"image": images}, key=KEY)
        return total

    gradient = np.asarray(jax.grad(loss)(batch["image"]))
    counts = np.asarray(batch["segmentation"]) != UNKNOWN
    assert (gradient[~counts] == 0).all() and (gradient[counts] != 0).any()


def boundary_f1(predicted, labels, tolerance):
    """Csurka et al. 2013 in SciPy, [C]: distances from each boundary to the other."""
    scores = [[] for _ in range(CLASSES)]
    for found, true in zip(predicted, labels, strict=True):
        known = true != UNKNOWN
        for k in range(CLASSES):
            edges = []
            for each in (found, true):
                edge = np.zeros(each.shape, bool)
                for y, x in np.argwhere(known & (each == k)):
                    for i, j in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                        inside = 0 <= i < each.shape[0] and 0 <= j < each.shape[1]
                        edge[y, x] |= inside and known[i, j] and each[i, j] != k
                edges.append(edge)
            if not (edges[0].any() or edges[1].any()):
                continue
            shares = [
                (ndimage.distance_transform_edt(~other)[own] <= tolerance).mean()
                if own.any() and other.any()
                else 0.0
                for own, other in (edges, edges[::-1])
            ]
            both = sum(shares)
            scores[k].append(2 * shares[0] * shares[1] / both if both else 0.0)
    return np.array([np.mean(each) if each else np.nan for each in scores])


@pytest.mark.parametrize("tolerance", [1, 2.5, 0.2])
def test_boundaries_agree_with_distances_by_scipy(tolerance):
    random = np.random.default_rng(1)
    labels, predicted = (
        np.repeat(np.repeat(random.integers(0, 4, (6, 4, 5)), 3, 1), 4, 2)
        for _ in range(2)
    )
    predicted = np.where(random.uniform(size=labels.shape) < 0.8, labels, predicted)
    labels[random.uniform(size=labels.shape) < 0.1] = UNKNOWN
    labels[2] = 1  # no boundary
    task = tasks.segmentation(CLASSES, boundary_tolerance=tolerance)
    batch = {
        "image": jax.nn.one_hot(predicted, CLASSES),
        "segmentation": jnp.asarray(labels, jnp.uint8),
    }
    sums, rows = task.update(FORWARD, batch, keys=None)
    got = task.compute(*jax.tree.map(np.asarray, (sums, rows)))
    pixels = tolerance if tolerance >= 1 else tolerance * np.hypot(12, 20)
    expected = boundary_f1(predicted, labels, pixels)
    np.testing.assert_allclose(got["per_class_boundary_f1"], expected, rtol=1e-12)
    assert np.isnan(expected[-1]) and 0.2 < got["boundary_f1"] < 0.98
    np.testing.assert_allclose(got["boundary_f1"], np.nanmean(expected), rtol=1e-12)


def test_predictions_and_difficulty(batch):
    found = TASK.predict(FORWARD, batch, keys=None)["segmentation"]
    assert found.dtype == jnp.uint8
    labels = np.asarray(batch["segmentation"])
    wrong = (labels != UNKNOWN) & (np.asarray(found) != labels)
    share = wrong.sum((1, 2)) / np.maximum((labels != UNKNOWN).sum((1, 2)), 1)
    got = TASK.difficulty(batch, {"segmentation": found})
    np.testing.assert_allclose(got, share, rtol=1e-6)
    assert got[4] == 0


def test_scores_of_another_shape_are_refused(batch):
    with pytest.raises(UsageError, match="5 classes for each pixel"):
        TASK.loss(FORWARD, batch | {"image": batch["image"][:, :3]}, key=KEY)
    with pytest.raises(UsageError, match="num_classes must be in 2 … 255, got 256"):
        tasks.segmentation(256)
    empty = jnp.full_like(batch["segmentation"], UNKNOWN)
    with pytest.raises(UsageError, match="all of its pixels are unknown"):
        measured(batch | {"segmentation": empty})


def test_maps_of_mirrored_views_are_moved_back(batch):
    def moved_back(outputs):
        first, mirrored = (each["logits"] for each in outputs)
        return {"logits": (first + mirrored[:, :, ::-1]) / 2}

    task = tasks.with_views(TASK, tasks.mirrored, merge=moved_back)
    sums, _ = task.update(FORWARD, batch, keys=None)
    found = task.compute(jax.tree.map(np.asarray, sums), {})
    # The model returns its input, so both views agree once they are moved back.
    np.testing.assert_array_equal(found["confusion"], measured(batch)["confusion"])
