"""The classification task and its metrics against definitions and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import calibration as sklearn_calibration
from sklearn import metrics as sklearn_metrics

from jaxvision import losses, tasks
from jaxvision.errors import UsageError
from jaxvision.types import Forward

CLASSES = 7


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    logits = jnp.asarray(random.normal(size=(101, CLASSES)) * 2, jnp.float32)
    labels = jnp.asarray(random.integers(0, CLASSES, 101), jnp.int32)
    return {"image": logits, "label": labels}


def as_forward(function):
    """A function of images as what tasks get."""
    return Forward(lambda images, **_: (function(images), {}), jnp.int32(0), {})


forward = as_forward(lambda images: {"logits": images})
"""Of a model that returns its input."""
KEY = jax.random.key(0)


def sums_of(task, batch, forward=forward):
    sums, rows = task.update(forward, batch, keys=None)
    assert rows == {}
    return sums


def measure(task, batch, forward=forward):
    return task.compute(sums_of(task, batch, forward), {})


def loss_of(task, batch, forward=forward):
    (total, weight), (_, sums) = task.loss(forward, batch, key=KEY)
    return float(total) / float(weight), sums


def test_metrics_agree_with_scikit_learn(batch):
    got = measure(tasks.classification(CLASSES, top_k=3), batch)
    labels = np.asarray(batch["label"])
    scores = np.asarray(jax.nn.softmax(batch["image"]), np.float64)
    predicted = scores.argmax(axis=1)
    scores /= scores.sum(axis=1, keepdims=True)
    every = range(CLASSES)
    assert got["accuracy"] == sklearn_metrics.accuracy_score(labels, predicted)
    assert got["top3_accuracy"] == sklearn_metrics.top_k_accuracy_score(
        labels, scores, k=3, labels=every
    )
    np.testing.assert_allclose(
        got["loss"], sklearn_metrics.log_loss(labels, scores, labels=every), rtol=1e-6
    )
    expected = sklearn_metrics.confusion_matrix(labels, predicted, labels=every)
    np.testing.assert_array_equal(got["confusion"], expected)


@pytest.mark.parametrize("absent", [(), (2,), (2, 5)], ids=str)
def test_scores_of_classes_agree_with_scikit_learn(batch, absent):
    """Also without examples of a class, and where it is not predicted either."""
    labels = np.asarray(batch["label"])
    labels = np.where(np.isin(labels, absent), 0, labels)
    logits = batch["image"]
    if len(absent) == 2:
        logits = logits.at[:, 5].set(-np.inf)
    got = measure(
        tasks.classification(CLASSES), {"image": logits, "label": jnp.asarray(labels)}
    )
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels,
        np.asarray(logits).argmax(axis=1),
        labels=range(CLASSES),
        zero_division=np.nan,
    )
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        np.testing.assert_allclose(got[f"per_class_{name}"], values)


def test_calibration_error_is_that_of_guo_et_al(batch):
    bins = 10
    got = measure(tasks.classification(CLASSES, calibration_bins=bins), batch)
    scores = np.asarray(jax.nn.softmax(batch["image"]))
    confidence, correct = scores.max(1), scores.argmax(1) == np.asarray(batch["label"])
    error = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            error += inside.mean() * gap
    np.testing.assert_allclose(got["calibration_error"], error, rtol=1e-5)


def test_bins_of_confidence_agree_with_scikit_learn():
    """scikit-learn bins what a binary classifier says, open on the left as well."""
    random = np.random.default_rng(0)
    positive = random.uniform(0.5, 1, 500)
    logits = np.log(np.stack([1 - positive, positive], axis=1)).astype(np.float32)
    correct = random.uniform(size=500) < positive**2
    task = tasks.classification(2, calibration_bins=10)
    labels = jnp.asarray(correct.astype(np.int32))
    got = measure(task, {"image": jnp.asarray(logits), "label": labels})
    accuracy, confidence = sklearn_calibration.calibration_curve(
        correct, positive, n_bins=10
    )
    filled = got["bin_count"] > 0
    assert filled.tolist() == [False] * 5 + [True] * 5
    assert got["bin_count"].sum() == 500 and np.isnan(got["bin_accuracy"][:5]).all()
    np.testing.assert_allclose(got["bin_accuracy"][filled], accuracy)
    np.testing.assert_allclose(got["bin_confidence"][filled], confidence, rtol=1e-5)


def test_padding_never_counts_and_sums_add_up_exactly(batch):
    task = tasks.classification(CLASSES)
    whole = sums_of(task, batch)
    size, parts = 16, None
    for start in range(0, 101, size):
        index = np.arange(start, start + size)
        part = {name: array[np.minimum(index, 100)] for name, array in batch.items()}
        part["mask"] = jnp.asarray(index < 101)
        sums = sums_of(task, part)
        parts = sums if parts is None else jax.tree.map(jnp.add, parts, sums)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        if jnp.issubdtype(one.dtype, jnp.integer):
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-5)
    assert task.compute(parts, {})["accuracy"] * 101 == int(whole["correct"])


def test_ties_count_against_the_model():
    logits = jnp.zeros((4, CLASSES))
    batch = {"image": logits, "label": jnp.array([1, 2, 3, 6])}
    got = measure(tasks.classification(CLASSES, top_k=3), batch)
    assert got["top3_accuracy"] == 0


def test_loss_is_the_mean_of_smoothed_cross_entropy_over_the_unmasked(batch):
    task = tasks.classification(CLASSES, label_smoothing=0.1)
    mask = jnp.arange(101) < 50
    loss, sums = loss_of(task, batch | {"mask": mask})
    targets = optax.smooth_labels(jax.nn.one_hot(batch["label"], CLASSES), 0.1)
    expected = optax.softmax_cross_entropy(batch["image"], targets)[:50].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert int(sums["count"]) == 50
    # The loss of an evaluation is that of the true labels.
    plain = measure(tasks.classification(CLASSES), batch)["loss"]
    assert measure(task, batch)["loss"] == plain


def test_mixed_examples_are_learned_by_their_targets(batch):
    task = tasks.classification(CLASSES, label_smoothing=0.1)
    target = jax.nn.softmax(batch["image"] * 3)[::-1]
    mixed = batch | {"target": target}
    loss, sums = loss_of(task, mixed)
    targets = optax.smooth_labels(target, 0.1)
    expected = optax.softmax_cross_entropy(batch["image"], targets).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    # The log has the accuracy of the labels, and an evaluation knows no targets.
    for one, other in zip(
        *(measure(task, each).values() for each in (mixed, batch)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert int(sums["correct"]) == round(measure(task, batch)["accuracy"] * 101)
    with pytest.raises(UsageError, match="num_classes"):
        loss_of(task, batch | {"target": target[:, 1:]})


def test_views_are_averaged_as_probabilities(batch):
    """Of images whose pixels are their logits, the model shows the first ones."""
    random = np.random.default_rng(1)
    images = jnp.asarray(random.normal(size=(101, 4, 5, CLASSES)), jnp.float32)

    first_pixel = as_forward(lambda images: {"logits": images[:, 0, 0]})

    task = tasks.classification(CLASSES, label_smoothing=0.1)
    seen = {"image": images, "label": batch["label"]}
    for views, pixels in (
        (tasks.mirrored, [(0, 0), (0, 4)]),
        (tasks.five_crops(3), [(0, 0), (0, 2), (1, 0), (1, 2), (0, 1)]),
        (
            tasks.ten_crops(4),
            [(0, x) for x in (0, 3, 1, 4, 0, 3, 1, 4, 0, 3)],
        ),
    ):
        averaged = tasks.with_views(task, views)
        each = [jax.nn.softmax(images[:, y, x]) for y, x in pixels]
        expected = np.mean(each, axis=0)
        got = averaged.predict(first_pixel, seen, keys=None)["probabilities"]
        np.testing.assert_allclose(got, expected, atol=1e-6)
        accuracy = (expected.argmax(1) == np.asarray(batch["label"])).mean()
        found = measure(averaged, seen, first_pixel)
        np.testing.assert_allclose(found["accuracy"], accuracy)
        # What is learned is what was learned.
        got = loss_of(averaged, seen, first_pixel)[0]
        assert got == loss_of(task, seen, first_pixel)[0]
    with pytest.raises(UsageError, match="do not fit into images of 4×5"):
        tasks.with_views(task, tasks.ten_crops(5)).predict(first_pixel, seen, keys=None)


def test_sum_of_squares_is_half_the_squared_distance_of_logistic_outputs():
    logits = jnp.array([[0.0, 2.0, -1.0]])
    targets = jnp.array([[0.0, 1.0, 0.0]])
    outputs = 1 / (1 + np.exp(-np.asarray(logits)))
    expected = 0.5 * ((outputs - np.asarray(targets)) ** 2).sum()
    np.testing.assert_allclose(
        losses.sum_of_squares(logits, targets)[0], expected, rtol=1e-6
    )
    # Its gradient is the delta rule (y - t) y (1 - y).
    gradient = jax.grad(lambda z: losses.sum_of_squares(z, targets)[0])(logits)
    np.testing.assert_allclose(
        gradient, (outputs - targets) * outputs * (1 - outputs), rtol=1e-5
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_classes=1), "num_classes"),
        (dict(num_classes=3, label_smoothing=1.0), "label_smoothing"),
        (dict(num_classes=3, top_k=0), "top_k"),
        (dict(num_classes=3, calibration_bins=0), "calibration_bins"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        tasks.classification(**options)


def test_the_surest_mistakes_are_the_most_difficult():
    task = tasks.classification(2)
    shares = jnp.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    batch = {"image": shares, "label": jnp.array([0, 1, 0, 0])}
    difficulty = task.difficulty(batch, {"probabilities": shares})
    assert np.argsort(-np.asarray(difficulty)).tolist() == [3, 2, 1, 0]
