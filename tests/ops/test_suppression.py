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
from jaxvision.ops.boxes import nms, nms_of_classes, soft_nms
from tools import box_inputs as inputs

REFERENCES = json.loads((Path(__file__).parent / "boxes.json").read_text())
COUNT = 60


def kept(found):
    return np.asarray(found.indices)[np.asarray(found.valid)].tolist()


def one_by_one(boxes, scores, threshold, classes, valid):
    """The rule, box by box, in the precision of the boxes."""

    def share(a, b):
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        both = np.prod(np.maximum(high - low, 0))
        whole = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both
        return both / whole if whole > 0 else 0

    stay = []
    for i in np.argsort(-scores, kind="stable"):
        if valid[i] and not np.isnan(scores[i]):
            rivals = [j for j in stay if classes[j] == classes[i]]
            if all(share(boxes[j], boxes[i]) <= threshold for j in rivals):
                stay.append(int(i))
    return stay


suppress = jax.jit(nms, static_argnames=("threshold", "outputs"))


def test_it_is_torchvisions():
    boxes, scores = inputs.boxes("a", COUNT), inputs.scores("a", COUNT)
    classes = np.arange(COUNT) % 3
    assert kept(suppress(boxes, scores, 0.4, outputs=COUNT)) == REFERENCES["nms"]
    got = suppress(boxes, scores, 0.4, outputs=COUNT, classes=classes)
    assert kept(got) == REFERENCES["batched_nms"]
    np.testing.assert_array_equal(got.scores[got.valid], scores[kept(got)])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_it_is_the_rule_with_ties_of_scores_and_of_overlaps(seed, threshold):
    draw = np.random.default_rng(seed)
    corner = draw.integers(0, 6, (20, 2))
    # Of whole numbers, so that overlaps meet the threshold, some without area.
    boxes = np.concatenate([corner, corner + draw.integers(0, 5, (20, 2))], 1)
    boxes = boxes.astype(np.float32)
    scores = draw.integers(-2, 3, 20).astype(np.float32) / 2
    scores[draw.uniform(size=20) < 0.1] = np.nan
    scores[draw.uniform(size=20) < 0.1] = -0.0
    classes, valid = draw.integers(0, 2, 20), draw.uniform(size=20) < 0.8
    options = {"classes": classes, "valid": valid}
    wanted = one_by_one(boxes, scores, threshold, **options)
    assert kept(suppress(boxes, scores, threshold, outputs=20, **options)) == wanted
    few = suppress(boxes, scores, threshold, outputs=3, **options)
    assert kept(few) == wanted[:3] and len(few.indices) == 3


def test_thresholds_are_compared_in_64_bits():
    # An IoU of 3/10 is 0.3 rounded to 32 bits, which is more than 0.3.
    boxes = jnp.asarray([[0.0, 0.0, 10.0, 1.0], [0.0, 0.0, 3.0, 1.0]])
    scores = jnp.asarray([0.9, 0.8])
    assert kept(nms(boxes, scores, 0.3, outputs=2)) == [0]
    assert kept(nms(boxes, scores, float(np.float32(0.3)), outputs=2)) == [0, 1]


def test_nothing_is_left_of_nothing():
    boxes, scores = jnp.zeros((4, 4)), jnp.zeros(4)
    for found in (
        nms(boxes, scores, 0.5, outputs=6, valid=jnp.zeros(4, bool)),
        soft_nms(boxes, scores, outputs=6, valid=jnp.zeros(4, bool)),
    ):
        assert not found.valid.any() and len(found.valid) == 6
        assert not found.indices.any() and not found.scores.any()
    # Boxes without area overlap nothing, so that all of them stay.
    assert kept(nms(boxes, scores, 0.0, outputs=4)) == [0, 1, 2, 3]


def test_each_box_for_every_class_is_each_pair_as_a_box():
    boxes = inputs.boxes("a", 20)
    scores = inputs.scores("b", 60).reshape(20, 3)
    valid = scores > 0.2
    found, classes = jax.jit(
        lambda *arrays: nms_of_classes(*arrays, 0.4, outputs=30, valid=valid)
    )(boxes, scores)
    flat = nms(
        jnp.repeat(boxes, 3, axis=0),
        jnp.asarray(scores.ravel()),
        0.4,
        outputs=30,
        classes=jnp.tile(jnp.arange(3), 20),
        valid=jnp.asarray(valid.ravel()),
    )
    pairs = np.asarray(found.indices) * 3 + np.asarray(classes)
    assert set(pairs[found.valid]) == set(kept(flat))
    np.testing.assert_array_equal(found.scores, flat.scores)
    assert (classes[~found.valid] == -1).all()
    few, _ = nms_of_classes(boxes, scores, 0.4, outputs=9, outputs_per_class=2)
    assert few.valid.sum() == 6


def soft_one_by_one(boxes, scores, lower, least):
    from jaxvision.ops.boxes import iou

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
    found = jax.jit(
        lambda b, s: soft_nms(b, s, outputs=30, sigma=sigma, least=0.05)
    )(boxes, scores)
    assert 5 < len(order) < 30
    assert kept(found) == [best for best, _ in order]
    np.testing.assert_allclose(
        found.scores[: len(order)], [score for _, score in order], rtol=1e-5
    )
    apart = soft_nms(boxes, scores, outputs=30, sigma=sigma, classes=np.arange(30))
    np.testing.assert_array_equal(apart.scores, -np.sort(-scores))
    with pytest.raises(UsageError, match="sigma must be positive"):
        soft_nms(boxes, scores, outputs=3, sigma=0)


def test_a_batch_is_vmap():
    boxes = np.stack([inputs.boxes(name, COUNT) for name in "ab"])
    scores = np.stack([inputs.scores(name, COUNT) for name in "ab"])
    both = jax.vmap(lambda b, s: nms(b, s, 0.4, outputs=COUNT))(boxes, scores)
    for i in range(2):
        one = nms(boxes[i], scores[i], 0.4, outputs=COUNT)
        np.testing.assert_array_equal(both.indices[i], one.indices)
