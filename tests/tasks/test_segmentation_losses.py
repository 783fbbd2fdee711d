"""Losses of maps against their definitions, written plainly."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import losses, tasks
from jaxvision.engine.step import quotient
from jaxvision.errors import UsageError
from jaxvision.types import UNKNOWN, Forward

CLASSES = 4
FORWARD = Forward(lambda images, **_: ({"logits": images}, {}), jnp.int32(0), {})
WEIGHTS = (0.5, 2.0, 0.0, 3.0)
LOSSES = {
    "cross-entropy": losses.cross_entropy,
    "weighted": losses.weighted_cross_entropy(WEIGHTS),
    "focal": losses.focal(),
    "focal weighted": losses.focal(0.5, WEIGHTS),
    "ohem": losses.ohem(0.3, 0.25),
    "hardest": losses.ohem(0, 0.1, (1, 2, 3, 4)),
    "dice": losses.dice(),
    "lovasz": losses.lovasz_softmax(),
    "sum": losses.weighted_sum((1.0, losses.cross_entropy), (0.5, losses.dice())),
}
"""Each is exact in parts of a batch."""


@pytest.fixture(scope="module")
def maps():
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, (5, 7, 6))
    labels[random.uniform(size=labels.shape) < 0.3] = UNKNOWN
    labels[1][labels[1] == 2] = 0  # a class that an image does not show
    labels[3] = UNKNOWN
    logits = 2 * random.normal(size=(5, 7, 6, CLASSES)).astype(np.float32)
    return jnp.asarray(logits), jnp.asarray(labels, jnp.int32)


def value(loss, maps, rows=slice(None)):
    logits, labels = (each[rows] for each in maps)
    return quotient(*losses.of_maps(loss).terms(logits, labels, labels != UNKNOWN))


def shares_of(maps):
    """Probabilities and labels of each image's pixels that count, in float64."""
    for logits, labels in zip(*maps, strict=True):
        known = np.asarray(labels) != UNKNOWN
        if known.any():
            exponents = np.exp(np.asarray(logits, np.float64)[known])
            yield (
                exponents / exponents.sum(-1, keepdims=True),
                np.asarray(labels)[known],
            )


def of_true(maps):
    """The probability of its class for each pixel that counts, and the class."""
    parts = [(p[np.arange(len(y)), y], y) for p, y in shares_of(maps)]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def test_losses_of_pixels(maps):
    right, labels = of_true(maps)
    weights = np.array(WEIGHTS)[labels]
    entropies = -np.log(right)
    expected = {
        "cross-entropy": entropies.mean(),
        "weighted": (weights * entropies).sum() / weights.sum(),
        "focal": ((1 - right) ** 2 * entropies).mean(),
        "focal weighted": (weights * (1 - right) ** 0.5 * entropies).sum()
        / weights.sum(),
    }
    for name, number in expected.items():
        np.testing.assert_allclose(value(LOSSES[name], maps), number, rtol=2e-5)


def test_hard_pixels_are_those_below_the_threshold_and_the_hardest(maps):
    chosen, weighted = [], []
    for p, labels in shares_of(maps):
        right = p[np.arange(len(labels)), labels]
        order = np.argsort(right)
        least = order[: int(np.ceil(0.25 * len(right)))]
        hard = right < 0.3
        hard[least] = True
        chosen.append(-np.log(right[hard]))
        few = order[: int(np.ceil(0.1 * len(right)))]
        weighted.append((labels[few] + 1.0, -np.log(right[few])))
    expected = np.concatenate(chosen).mean()
    np.testing.assert_allclose(value(LOSSES["ohem"], maps), expected, rtol=2e-5)
    w, terms = (np.concatenate(each) for each in zip(*weighted, strict=True))
    expected = (w * terms).sum() / w.sum()
    np.testing.assert_allclose(value(LOSSES["hardest"], maps), expected, rtol=2e-5)


def dice(p, labels, smooth=1.0):
    shown = np.unique(labels)
    true = labels[:, None] == shown
    both, size = (p[:, shown] * true).sum(0), p[:, shown].sum(0) + true.sum(0)
    return (1 - (2 * both + smooth) / (size + smooth)).mean()


def lovasz(p, labels):
    """By its definition: errors times the falls of the Jaccard index, as the pixels
    join the wrong ones in falling order of their errors."""
    found = []
    for k in np.unique(labels):
        true = labels == k
        errors = np.abs(true - p[:, k])
        before, total = 1.0, 0.0
        wrong = np.zeros(len(true), bool)
        for i in np.argsort(-errors):
            wrong[i] = True
            index = (true & ~wrong).sum() / (true | wrong).sum()
            total += errors[i] * (before - index)
            before = index
        found.append(total)
    return np.mean(found)


@pytest.mark.parametrize(
    "loss, by_hand",
    [(losses.dice, dice), (losses.lovasz_softmax, lovasz)],
    ids=["dice", "lovasz"],
)
def test_losses_of_sets(loss, by_hand, maps):
    images = list(shares_of(maps))
    expected = np.mean([by_hand(*image) for image in images])
    np.testing.assert_allclose(value(loss(), maps), expected, rtol=2e-5)
    whole = [np.concatenate(each) for each in zip(*images, strict=True)]
    found = value(loss(per_image=False), maps)
    np.testing.assert_allclose(found, by_hand(*whole), rtol=2e-5)
    single = value(loss(per_image=False), maps, slice(3, 4))
    assert single == 0, "nothing counts"


def test_lovasz_is_one_minus_the_intersection_over_union_of_certain_answers(maps):
    predicted = np.asarray(maps[0]).argmax(-1)
    certain = jax.nn.one_hot(jnp.asarray(predicted), CLASSES) * 100
    labels = np.asarray(maps[1])
    known = labels != UNKNOWN
    expected = []
    for k in range(CLASSES):
        true, found = known & (labels == k), known & (predicted == k)
        expected.append(1 - (true & found).sum() / (true | found).sum())
    loss = losses.lovasz_softmax(per_image=False)
    np.testing.assert_allclose(
        value(loss, (certain, maps[1])), np.mean(expected), rtol=1e-5
    )


@pytest.mark.parametrize("name", LOSSES)
def test_parts_add_up_and_unknown_pixels_change_nothing(name, maps):
    logits, labels = maps
    terms = losses.of_maps(LOSSES[name]).terms

    def loss(logits):
        return quotient(*terms(logits, labels, labels != UNKNOWN))

    whole, gradient = jax.value_and_grad(loss)(logits)
    assert jnp.isfinite(gradient).all() and (gradient != 0).any()
    unknown = np.asarray(labels) == UNKNOWN
    assert (np.asarray(gradient)[unknown] == 0).all()
    other = jnp.where(labels[..., None] == UNKNOWN, 50.0, logits)
    assert loss(other) == pytest.approx(float(whole), rel=1e-6)

    parts = [
        terms(logits[i : i + 2], labels[i : i + 2], labels[i : i + 2] != UNKNOWN)
        for i in (0, 2, 4)
    ]
    total, weight = (
        jax.tree.map(lambda *each: sum(each), *side)
        for side in zip(*parts, strict=True)
    )
    assert quotient(total, weight) == pytest.approx(float(whole), rel=1e-6)


def test_named_outputs_are_trained_at_the_size_of_the_mask(maps):
    logits, labels = maps
    small = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3, 3, CLASSES)))
    small = small.astype(jnp.float32)
    outputs = {"logits": logits, "aux_logits": small}
    forward = FORWARD._replace(call=lambda images, **_: (outputs, {}))
    batch = {"image": logits, "segmentation": labels.astype(jnp.uint8)}
    large = jax.image.resize(small, logits.shape, "bilinear")
    for loss in (LOSSES["cross-entropy"], LOSSES["sum"]):
        task = tasks.segmentation(
            CLASSES, loss=loss, outputs={"logits": 1.0, "aux_logits": 0.4}
        )
        (total, weight), (_, sums) = task.loss(forward, batch, key=None)
        expected = value(loss, maps) + 0.4 * value(loss, (large, labels))
        np.testing.assert_allclose(quotient(total, weight), expected, rtol=1e-5)
        assert task.compute(sums, {})["loss"] == pytest.approx(float(expected), 1e-5)
    with pytest.raises(UsageError, match="unknown output of the model 'aux'"):
        tasks.segmentation(CLASSES, outputs={"aux": 1.0}).loss(forward, batch, key=None)


def test_the_default_is_to_the_bit_what_it_was(maps):
    logits, labels = maps
    batch = {"image": logits, "segmentation": labels.astype(jnp.uint8)}
    (total, weight), _ = tasks.segmentation(CLASSES).loss(FORWARD, batch, key=None)
    counts = labels != UNKNOWN
    entropies = losses.cross_entropy(logits, jax.nn.one_hot(labels, CLASSES))
    assert total == jnp.sum(jnp.where(counts, entropies, 0))
    assert weight == jnp.sum(counts, dtype=jnp.float32)


def test_class_weights_by_their_papers():
    counts = np.array([60, 30, 10, 0])
    around = np.array([100, 50, 100, 0])
    found = losses.median_frequency(counts, around)
    np.testing.assert_allclose(found, [1.0, 1.0, 6.0, 0])
    np.testing.assert_allclose(
        losses.inverse_frequency(counts), [100 / 180, 100 / 90, 100 / 30, 0]
    )
    effective = (1 - 0.9 ** counts[:3]) / 0.1
    expected = 3 / effective / (1 / effective).sum()
    np.testing.assert_allclose(losses.class_balanced(counts, 0.9)[:3], expected)
    np.testing.assert_allclose(
        losses.positive_weights([2, 5, 0], [10, 5, 5]), [4, 1, 1]
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.focal(-1), "gamma must not be negative, got -1"),
        (lambda: losses.ohem(1.5), r"threshold must be in \[0, 1\], got 1.5"),
        (lambda: losses.ohem(least=0), r"least must be a share .* got 0"),
        (lambda: losses.dice(smooth=-1), "smooth must not be negative"),
        (lambda: losses.weighted_sum(), "one or more pairs"),
        (lambda: losses.weighted_sum((0, losses.dice())), "positive, got 0"),
        (lambda: losses.weighted_cross_entropy([0, 0]), "not all 0"),
        (lambda: losses.weighted_cross_entropy([1, np.nan]), "not negative"),
        (lambda: losses.class_balanced([1, 2], 1.0), r"beta must be in \[0, 1\)"),
        (lambda: losses.inverse_frequency([0, 0]), "counts must be a number"),
        (
            lambda: losses.weighted_cross_entropy([1, 2]).terms(
                jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2), int), None
            ),
            "2 class weights for 3 classes",
        ),
        (lambda: tasks.segmentation(3, outputs={}), "outputs must name one"),
        (lambda: tasks.segmentation(3, outputs={"logits": 0}), "of logits must be"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_all_are_told_apart(maps):
    numbers = [float(value(loss, maps)) for loss in LOSSES.values()]
    for one, other in itertools.combinations(numbers, 2):
        assert one != other
