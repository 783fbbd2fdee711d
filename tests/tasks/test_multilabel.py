"""The multi-label task against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from jaxvision import losses, tasks
from jaxvision.errors import UsageError
from jaxvision.metrics.multilabel import average_precision
from jaxvision.recipes import recipe_of
from jaxvision.types import UNKNOWN, Forward

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


def test_the_ranking_of_all_answers_is_scikit_learns(batch):
    got = measured(TASK, batch)
    presence, scores = np.asarray(batch["presence"]), np.asarray(batch["image"])
    expected = sklearn_metrics.average_precision_score(
        presence, scores, average="micro"
    )
    assert got["micro_ap"] == pytest.approx(expected, rel=1e-12)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(
        presence[:, 0], scores[:, 0]
    )
    levels = np.arange(1, 201) / 200
    highest = [precision[recall >= level - 1e-12].max() for level in levels]
    np.testing.assert_allclose(got["curves"][0], highest)
    assert np.isnan(got["curves"][-1]).all()


@pytest.fixture(scope="module")
def partly(batch):
    """Answers that are not known, and the indices of those that are."""
    random = np.random.default_rng(1)
    presence = np.asarray(batch["presence"]).copy()
    presence[random.uniform(size=presence.shape) < 0.4] = UNKNOWN
    presence[7] = UNKNOWN
    return batch | {"presence": jnp.asarray(presence)}, presence != UNKNOWN


def test_unknown_answers_count_nowhere(partly):
    batch, known = partly
    noise = jnp.where(jnp.asarray(known), 0.0, 9.0)
    got = measured(TASK, batch)
    other = measured(TASK, batch | {"image": batch["image"] + noise})
    for name, value in got.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-6)

    presence, logits = np.asarray(batch["presence"]), np.asarray(batch["image"])
    scores = np.asarray(jax.nn.sigmoid(batch["image"]), np.float64)
    found = scores >= 0.4
    each = [
        sklearn_metrics.average_precision_score(
            presence[known[:, k], k], logits[known[:, k], k]
        )
        for k in range(CLASSES - 1)
    ]
    np.testing.assert_allclose(got["per_class_ap"][:-1], each, rtol=1e-12)
    f1 = sklearn_metrics.f1_score
    assert got["f1_micro"] == pytest.approx(f1(presence[known], found[known]))
    macro = [
        f1(presence[known[:, k], k], found[known[:, k], k]) for k in range(CLASSES)
    ]
    assert got["f1_macro"] == pytest.approx(np.mean(macro))
    exact = [
        (presence[i][known[i]] == found[i][known[i]]).all()
        for i in range(83)
        if known[i].any()
    ]
    assert len(exact) == 82 and got["exact_match"] == np.mean(exact)
    entropies = -np.log(np.where(presence == 1, scores, 1 - scores))
    assert got["loss"] == pytest.approx(entropies[known].mean(), rel=1e-5)
    predictions = TASK.predict(FORWARD, batch, keys=None)
    off = np.abs(presence - scores)
    np.testing.assert_allclose(
        TASK.difficulty(batch, predictions), np.where(known, off, 0).max(1), rtol=1e-5
    )
    (_, weight), _ = TASK.loss(FORWARD, batch, key=None)
    assert weight == pytest.approx(known.sum() / CLASSES, rel=1e-6)
    nothing = batch | {"presence": jnp.full_like(batch["presence"], UNKNOWN)}
    assert all(np.isnan(measured(TASK, nothing)[k]) for k in ("loss", "mean_ap"))


@pytest.mark.parametrize("kind", ["one", "each"])
def test_a_threshold_is_chosen_on_one_set_and_measured_on_another(kind, partly):
    batch, known = partly
    presence, logits = np.asarray(batch["presence"]), np.asarray(batch["image"])
    task = tasks.multilabel(CLASSES, threshold=kind)
    rows = {"scores": logits, "presence": presence}
    chosen = task.tuned({}, rows)
    assert chosen.tuned is None
    thresholds = np.atleast_1d(recipe_of(chosen)["arguments"]["threshold"])
    assert thresholds.shape == ((CLASSES,) if kind == "each" else (1,))

    def f1(cut, k=slice(None)):
        which = known[:, k]
        return sklearn_metrics.f1_score(
            presence[:, k][which], logits[:, k][which] >= cut, zero_division=0.0
        )

    cuts = np.log(thresholds / (1 - thresholds))
    levels = np.arange(-6, 6, 0.05) + 0.025
    for k in range(CLASSES - 1) if kind == "each" else [slice(None)]:
        cut = cuts[k] if kind == "each" else cuts[0]
        assert f1(cut, k) == max(f1(level, k) for level in levels)
    if kind == "each":
        assert thresholds[-1] == 0.5, "a class that the set does not have"
    # As long as nothing is chosen, the best for the set itself.
    assert measured(task, batch)["f1_micro"] == measured(chosen, batch)["f1_micro"]
    np.testing.assert_allclose(measured(task, batch)["threshold"], chosen_of(chosen))

    other = batch | {"image": batch["image"] + 1}
    assert measured(chosen, other)["f1_micro"] != measured(task, other)["f1_micro"]
    found = chosen.predict(FORWARD, batch, keys=None)["found"]
    np.testing.assert_array_equal(found, logits >= cuts.astype(np.float32))
    wrapped = tasks.with_views(task, tasks.mirrored).tuned({}, rows)
    assert recipe_of(wrapped)["arguments"]["task"] == recipe_of(chosen)


def chosen_of(task):
    return recipe_of(task)["arguments"]["threshold"]


def test_losses_by_their_definitions(batch):
    logits = jnp.float32([[-30.0, -2.0, 0.0, 1.5, 30.0]])
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    for there in (0.0, 1.0):
        targets = jnp.full_like(logits, there)
        q = np.maximum(p - 0.05, 0)
        asymmetric = (1 - p) ** 1.0 * np.log(p) if there else q**4 * np.log1p(-q)
        np.testing.assert_allclose(
            losses.asymmetric(1.0)(logits, targets)[0, 1:4],
            -asymmetric[0, 1:4],
            rtol=1e-5,
        )
        found = losses.positive_weighted([3.0] * 5)(logits, targets)
        plain = losses.sigmoid_cross_entropy(logits, targets)
        np.testing.assert_allclose(found, plain * (3 if there else 1), rtol=1e-6)
        for loss in (losses.asymmetric(0.5, 0.5), losses.asymmetric(margin=0)):
            slope = jax.grad(lambda x, t, f=loss: jnp.sum(f(x, t)))(logits, targets)
            assert jnp.isfinite(slope).all()
    none = losses.asymmetric(0, 0, 0)(logits, jnp.ones_like(logits))
    np.testing.assert_allclose(
        none, losses.sigmoid_cross_entropy(logits, jnp.ones_like(logits)), rtol=1e-6
    )
    weights = (1.0, 2.0, 0.0, 1.0, 1.0, 4.0)
    task = tasks.multilabel(CLASSES, class_weights=weights)
    each = losses.sigmoid_cross_entropy(
        batch["image"], batch["presence"].astype(jnp.float32)
    )
    expected = np.average(np.asarray(each, np.float64), axis=1, weights=weights).mean()
    assert measured(task, batch)["loss"] == pytest.approx(expected, rel=1e-5)


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
    with pytest.raises(UsageError, match=r"threshold must be in \(0, 1\), or.*, got 1"):
        tasks.multilabel(3, threshold=1)
    for threshold in ((0.5, 0.5), "best"):
        with pytest.raises(UsageError, match="or 3 such numbers, or 'one' or 'each'"):
            tasks.multilabel(3, threshold=threshold)
    with pytest.raises(UsageError, match="class_weights must be 3 numbers"):
        tasks.multilabel(3, class_weights=(1, 1))
    with pytest.raises(UsageError, match="2 weights for 6 classes"):
        task = tasks.multilabel(CLASSES, loss=losses.positive_weighted((1, 2)))
        task.loss(FORWARD, batch, key=None)
    with pytest.raises(UsageError, match="num_classes=3"):
        tasks.multilabel(3).loss(
            FORWARD, batch | {"presence": batch["presence"][:, :3]}, key=None
        )
