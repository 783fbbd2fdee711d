"""The multi-label task against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from jaxvision import tasks
from jaxvision.errors import UsageError
from jaxvision.metrics.multilabel import average_precision
from jaxvision.types import Forward

CLASSES = 6
TASK = tasks.multilabel(CLASSES, threshold=0.4)
FORWARD = Forward(lambda images, **_: ({"logits": images}, {}), jnp.int32(0), {})
"""Of a model that returns its input."""


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    presence = (random.uniform(size=(83, CLASSES)) < 0.3).astype(np.uint8)
    presence[:, -1] = 0  # a class that no example has
    logits = np.round(random.normal(size=(83, CLASSES)) + presence, 1)  # many ties
    return {
        "image": jnp.asarray(logits, jnp.float32),
        "presence": jnp.asarray(presence),
    }


def measured(task, batch):
    sums, rows = task.update(FORWARD, batch, keys=None)
    arrays = {name: np.asarray(array) for name, array in rows.items()}
    return task.compute(jax.tree.map(np.asarray, sums), arrays)


def test_metrics_agree_with_scikit_learn(batch):
    got = measured(TASK, batch)
    presence = np.asarray(batch["presence"])
    scores = np.asarray(jax.nn.sigmoid(batch["image"]))
    each = sklearn_metrics.average_precision_score(
        presence[:, :-1], np.asarray(batch["image"])[:, :-1], average=None
    )
    np.testing.assert_allclose(got["per_class_ap"][:-1], each, rtol=1e-12)
    assert np.isnan(got["per_class_ap"][-1])
    assert got["mean_ap"] == pytest.approx(each.mean(), rel=1e-12)
    found = scores >= 0.4
    f1 = sklearn_metrics.f1_score
    assert got["f1_micro"] == pytest.approx(f1(presence, found, average="micro"))
    assert got["f1_macro"] == pytest.approx(
        f1(presence, found, average="macro", zero_division=np.nan)
    )
    assert got["exact_match"] == sklearn_metrics.accuracy_score(presence, found)
    np.testing.assert_allclose(
        got["loss"],
        np.mean(
            [
                sklearn_metrics.log_loss(presence[:, k], scores[:, k], labels=[0, 1])
                for k in range(CLASSES)
            ]
        ),
        rtol=1e-5,
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_average_precision_is_scikit_learns_with_any_ties(pairs):
    scores = np.array([score for score, _ in pairs], np.float32)
    relevant = np.array([there for _, there in pairs])
    got = average_precision(scores, relevant)
    if not relevant.any():
        assert np.isnan(got)
    else:
        expected = sklearn_metrics.average_precision_score(relevant, scores)
        assert got == pytest.approx(expected, rel=1e-12)


def test_loss_difficulty_and_predictions(batch):
    (total, count), (_, sums) = TASK.loss(FORWARD, batch, key=jax.random.key(0))
    whole = measured(TASK, batch)
    assert count == 83
    assert float(total) / int(count) == pytest.approx(whole["loss"], rel=1e-6)
    assert TASK.compute(sums, {}) == {"loss": pytest.approx(whole["loss"], rel=1e-6)}
    predictions = TASK.predict(FORWARD, batch, keys=None)
    off = np.abs(
        np.asarray(predictions["probabilities"]) - np.asarray(batch["presence"])
    )
    np.testing.assert_allclose(TASK.difficulty(batch, predictions), off.max(1))


def test_padding_counts_in_no_sum(batch):
    padded = {name: jnp.concatenate([a, a[:5]]) for name, a in batch.items()}
    padded["mask"] = jnp.arange(88) < 83
    (total, count), _ = TASK.loss(FORWARD, padded, key=jax.random.key(0))
    (expected, _), _ = TASK.loss(FORWARD, batch, key=jax.random.key(0))
    assert count == 83 and float(total) == pytest.approx(float(expected), rel=1e-6)


def test_bad_options_are_named(batch):
    with pytest.raises(UsageError, match=r"threshold must be in \(0, 1\), got 1"):
        tasks.multilabel(3, threshold=1)
    with pytest.raises(UsageError, match="num_classes=3"):
        tasks.multilabel(3).loss(
            FORWARD, batch | {"presence": batch["presence"][:, :3]}, key=None
        )
