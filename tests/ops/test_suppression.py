"""Non-maximum suppression against torchvision and against its definition."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.errors import UsageError
from jaxvision.ops.boxes import iou, nms, nms_of_classes, soft_nms
from jaxvision.ops.boxes.suppression import _rounded_down
from tools import box_inputs as inputs

REFERENCES = json.loads((Path(__file__).parent / "boxes.json").read_text())
COUNT = 60


def kept(found):
    return np.asarray(found.indices)[np.asarray(found.valid)].tolist()


def one_by_one(boxes, scores, threshold, classes, valid):
    """The rule, box by box; overlaps in 32 bits, compared in 64."""

    def share(a, b):
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        both = np.prod(np.maximum(high - low, 0))
        whole = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both
        return float(both / whole) if whole > 0 else 0

    stay = []
    for i in np.argsort(-scores, kind="stable"):
        if valid[i] and not np.isnan(scores[i]):
            rivals = [j for j in stay if classes[j] == classes[i]]
            if all(share(boxes[j], boxes[i]) <= threshold for j in rivals):
                stay.append(int(i))
    return stay


@jax.jit
def suppress(boxes, scores, classes, valid):
    return nms(boxes, scores, 0.4, outputs=COUNT, classes=classes, valid=valid)


def test_it_is_torchvisions():
    boxes, scores = inputs.boxes("a", COUNT), inputs.scores("a", COUNT)
    everywhere, anything = np.zeros(COUNT, int), np.ones(COUNT, bool)
    got = suppress(boxes, scores, everywhere, anything)
    assert kept(got) == REFERENCES["nms"]
    got = suppress(boxes, scores, np.arange(COUNT) % 3, anything)
    assert kept(got) == REFERENCES["batched_nms"]
    np.testing.assert_array_equal(got.scores[got.valid], scores[kept(got)])
    assert not got.indices[~got.valid].any() and not got.scores[~got.valid].any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_it_is_the_rule_with_ties_of_scores_and_of_overlaps(seed):
    draw = np.random.default_rng(seed)
    corner = draw.integers(0, 9, (COUNT, 2))
    # Of whole numbers, so that overlaps meet the threshold, some without area.
    boxes = np.concatenate([corner, corner + draw.integers(0, 6, (COUNT, 2))], 1)
    boxes = boxes.astype(np.float32)
    scores = draw.integers(-2, 3, COUNT).astype(np.float32) / 2
    scores[draw.uniform(size=COUNT) < 0.1] = np.nan
    scores[draw.uniform(size=COUNT) < 0.1] = -0.0
    classes, valid = draw.integers(0, 2, COUNT), draw.uniform(size=COUNT) < 0.8
    wanted = one_by_one(boxes, scores, 0.4, classes, valid)
    assert kept(suppress(boxes, scores, classes, valid)) == wanted


def test_outputs_are_cut_and_filled():
    boxes, scores = inputs.boxes("b", 200), inputs.scores("b", 200)
    valid = np.ones(200, bool)
    wanted = one_by_one(boxes, scores, 0.2, np.zeros(200), valid)
    assert len(wanted) > 30
    # More boxes than are decided at once, and outputs that end within them.
    for outputs in (7, 230):
        found = jax.jit(lambda b, s, k=outputs: nms(b, s, 0.2, outputs=k))(
            boxes, scores
        )
        assert len(found.valid) == outputs and kept(found) == wanted[:outputs]


def test_thresholds_are_compared_in_64_bits():
    # An IoU of 3/10 is 0.3 rounded to 32 bits, which is more than 0.3.
    assert float(np.float32(3) / np.float32(10)) > 0.3 > float(_rounded_down(0.3))
    assert _rounded_down(0.5) == 0.5
    with pytest.raises(UsageError, match="threshold must be from 0 to 1"):
        nms(jnp.zeros((1, 4)), jnp.zeros(1), 50, outputs=1)
    with pytest.raises(UsageError, match="boxes must be from 1 to"):
        nms(jnp.zeros((0, 4)), jnp.zeros(0), 0.5, outputs=1)


def test_nothing_is_left_of_nothing():
    boxes, scores = jnp.zeros((COUNT, 4)), jnp.zeros(COUNT)
    classes = jnp.zeros(COUNT, int)
    for found in (
        suppress(boxes, scores, classes, jnp.zeros(COUNT, bool)),
        soft_nms(boxes, scores, outputs=6, valid=jnp.zeros(COUNT, bool)),
    ):
        assert not found.valid.any()
        assert not found.indices.any() and not found.scores.any()
    # Boxes without area overlap nothing, so that all of them stay.
    found = suppress(boxes, scores, classes, jnp.ones(COUNT, bool))
    assert kept(found) == [*range(COUNT)]


def test_each_box_for_every_class_is_each_pair_as_a_box():
    boxes = inputs.boxes("a", 20)
    scores = inputs.scores("b", 60).reshape(20, 3)
    valid = scores > 0.2
    found, classes = jax.jit(
        lambda *arrays: nms_of_classes(*arrays, 0.4, outputs=30, valid=valid)
    )(boxes, scores)
    flat = suppress(
        np.repeat(boxes, 3, 0), scores.ravel(), np.tile(np.arange(3), 20), valid.ravel()
    )
    pairs = np.asarray(found.indices) * 3 + np.asarray(classes)
    assert pairs[found.valid].tolist() == kept(flat)[:30]
    np.testing.assert_array_equal(found.scores, flat.scores[:30])
    few, classes = jax.jit(
        lambda *arrays: nms_of_classes(
            *arrays, 0.4, outputs=9, outputs_per_class=2, valid=valid
        )
    )(boxes, scores)
    assert len(few.valid) == 9 and few.valid.tolist() == [True] * 6 + [False] * 3
    assert classes.tolist()[6:] == [-1] * 3
    assert sorted(classes.tolist()[:6]) == [0, 0, 1, 1, 2, 2]


def soft_one_by_one(boxes, scores, lower, least):
    scores, order = scores.astype(np.float64).copy(), []
    alive = np.ones(len(scores), bool)
    while alive.any():
        best = int(np.argmax(np.where(alive, scores, -1)))
        if scores[best] < least:
            break
        order.append((best, scores[best]))
        alive[best] = False
        shares = np.asarray(iou(boxes[best][None], boxes))
        scores = np.where(alive, scores * lower(shares), scores)
    return order


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_soft_suppression_lowers_scores(sigma):
    boxes, scores = inputs.boxes("a", 30), inputs.scores("a", 30) + np.float32(0.01)

    def lower(shares):
        if sigma:
            return np.exp(-(shares**2) / sigma)
        return np.where(shares >= 0.3, 1 - shares, 1)

    order = soft_one_by_one(boxes, scores, lower, 0.05)
    found = jax.jit(lambda b, s: soft_nms(b, s, outputs=30, sigma=sigma, least=0.05))(
        boxes, scores
    )
    assert 5 < len(order) < 30
    assert kept(found) == [best for best, _ in order]
    np.testing.assert_allclose(
        found.scores[: len(order)], [score for _, score in order], rtol=1e-5
    )
    if sigma:
        apart = soft_nms(boxes, scores, outputs=30, sigma=sigma, classes=np.arange(30))
        np.testing.assert_array_equal(apart.scores, -np.sort(-scores))
    with pytest.raises(UsageError, match="sigma must be positive"):
        soft_nms(boxes, scores, outputs=3, sigma=0)


def test_a_batch_is_vmap():
    boxes = np.stack([inputs.boxes(name, COUNT) for name in "ab"])
    scores = np.stack([inputs.scores(name, COUNT) for name in "ab"])
    classes, valid = np.zeros((2, COUNT), int), np.ones((2, COUNT), bool)
    both = jax.jit(jax.vmap(suppress))(boxes, scores, classes, valid)
    for i in range(2):
        one = suppress(boxes[i], scores[i], classes[i], valid[i])
        np.testing.assert_array_equal(both.indices[i], one.indices)
        np.testing.assert_array_equal(both.valid[i], one.valid)
