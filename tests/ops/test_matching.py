"""Matchers against torchvision, and against their definitions, object by object."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from jaxvision.errors import UsageError
from jaxvision.ops import matching
from jaxvision.ops.boxes import iou, pairwise
from jaxvision.ops.boxes.anchors import anchors, cells
from jaxvision.ops.matching.centre_sampling import reaches
from tools import box_inputs as inputs
from tools.parity_inputs import uniform

REFERENCES = json.loads((Path(__file__).parent / "boxes.json").read_text())
OBJECTS, PADDED = 6, 9
MAPS, STRIDES = inputs.LEVELS, (8, 16, 32)
CELLS = np.concatenate(cells(MAPS, STRIDES))
COUNTS = [h * w for h, w in MAPS]


@pytest.fixture(scope="module")
def objects():
    """Boxes of the references behind each other, and padding between them."""
    boxes = np.zeros((PADDED, 4), np.float32)
    valid = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0], bool)
    boxes[valid] = inputs.boxes("a", OBJECTS)
    return jnp.asarray(boxes), jnp.asarray(valid)


def unpadded(matches, valid):
    """Matches by the number of the object among those that there are."""
    number = np.cumsum(valid) - 1
    matches = np.asarray(matches)
    return np.where(matches >= 0, number[matches], matches)


def test_thresholds_are_torchvisions(objects):
    boxes, valid = objects
    quality = pairwise(iou)(boxes, inputs.boxes("b", 80))
    for name, got in {
        "matcher": matching.max_iou(quality, valid, high=0.5, low=0.3),
        "low_quality": jax.jit(
            lambda q, v: matching.max_iou(q, v, high=0.6, low=0.4, low_quality=True)
        )(quality, valid),
        "ssd_matcher": matching.best_and_above(quality, valid, threshold=0.5),
    }.items():
        assert len(set(REFERENCES[name])) > 3
        assert unpadded(got, valid).tolist() == REFERENCES[name], name
    with pytest.raises(UsageError, match="low <= high"):
        matching.max_iou(quality, valid, high=0.3, low=0.5)


def test_an_object_that_overlaps_nothing_is_not_found():
    boxes = jnp.asarray([[20.0, 20.0, 90.0, 80.0], [50.0, 50.0, 50.0, 50.0]])
    quality = pairwise(iou)(boxes, inputs.boxes("b", 30))
    valid = jnp.ones(2, bool)
    got = jax.jit(
        lambda q, v: matching.max_iou(q, v, high=0.7, low=0.3, low_quality=True)
    )(quality, valid)
    assert (got != 1).all() and (got == 0).any()


def test_the_last_object_gets_a_best_reference_that_two_want():
    boxes = jnp.asarray([[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 9.0, 9.0]])
    references = jnp.asarray([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    quality = pairwise(iou)(boxes, references)
    for valid, found in (([1, 1], 1), ([1, 0], 0)):
        got = matching.best_and_above(quality, jnp.asarray(valid) == 1, threshold=0.5)
        assert got.tolist() == [found, -1]


MATCHERS = {
    "max_iou": lambda b, v: matching.max_iou(
        pairwise(iou)(b, CELLS), v, high=0.5, low=0.4, low_quality=True
    ),
    "best_and_above": lambda b, v: matching.best_and_above(
        pairwise(iou)(b, CELLS), v, threshold=0.5
    ),
    "atss": lambda b, v: matching.atss(jnp.asarray(CELLS), COUNTS, b, v),
    "centre_sampling": lambda b, v: matching.centre_sampling(
        jnp.asarray(CELLS), reaches(jnp.asarray(CELLS), COUNTS), b, v
    ),
    "simota": lambda b, v: (
        matching.simota(
            jnp.asarray(CELLS),
            jnp.zeros((len(CELLS), 2)),
            jnp.zeros(len(CELLS)),
            jnp.asarray(CELLS),
            b,
            jnp.where(v, 1, -1),
            v,
        ).matches
    ),
    "hungarian": lambda b, v: matching.hungarian(
        jnp.abs(CELLS[:40, None] - b[None]).sum(-1), v
    ),
}


@pytest.mark.parametrize("name", MATCHERS)
def test_padding_batches_and_images_without_objects(name, objects):
    boxes, valid = objects
    order = jnp.argsort(~valid, stable=True)  # padding at the end
    nothing = jnp.zeros_like(boxes), jnp.zeros_like(valid)
    batch = [(boxes, valid), (boxes[order], valid[order]), nothing]
    boxes, there = (jnp.stack(arrays) for arrays in zip(*batch, strict=True))
    scattered, compact, empty = jax.jit(jax.vmap(MATCHERS[name]))(boxes, there)
    assert scattered.dtype == jnp.int32 and len(set(compact.tolist())) > 3
    assert unpadded(scattered, valid).tolist() == compact.tolist()
    assert (empty == matching.BACKGROUND).all()
    none_at_all = MATCHERS[name](jnp.zeros((0, 4)), jnp.zeros(0, bool))
    assert none_at_all.dtype == jnp.int32
    assert none_at_all.tolist() == empty.tolist()


def atss_object_by_object(references, boxes, valid, nearest, ddof):
    def centre(boxes):
        return (boxes[:, :2] + boxes[:, 2:]) / 2

    boxes = np.asarray(boxes)
    quality = np.asarray(pairwise(iou)(boxes, references))
    owner, best = np.full(len(references), -1), np.full(len(references), -1.0)
    ends = np.cumsum(COUNTS)
    for m in np.flatnonzero(valid):
        gap = np.square(centre(references) - centre(boxes)[m]).sum(1)
        near = np.concatenate(
            [
                start + np.argsort(gap[start:end], kind="stable")[:nearest]
                for start, end in zip([0, *ends], ends, strict=False)
            ]
        )
        limit = quality[m, near].mean() + quality[m, near].std(ddof=ddof)
        for n in near:
            x, y = centre(references)[n]
            x_min, y_min, x_max, y_max = boxes[m]
            inside = min(x - x_min, y - y_min, x_max - x, y_max - y) > 0.01
            if quality[m, n] >= limit and inside and quality[m, n] > best[n]:
                owner[n], best[n] = m, quality[m, n]
    return owner


def test_atss_is_its_definition(objects):
    boxes, valid = objects
    references = np.concatenate(
        anchors((96, 128), MAPS, ((12,), (40,), (80,)), ((1,),) * 3)
    )
    got = jax.jit(lambda b, v: matching.atss(references, COUNTS, b, v, nearest=5))(
        boxes, valid
    )
    owner = atss_object_by_object(references, boxes, valid, 5, ddof=1)
    assert (owner >= 0).sum() > OBJECTS
    assert (owner != atss_object_by_object(references, boxes, valid, 5, ddof=0)).any()
    np.testing.assert_array_equal(got, owner)
    with pytest.raises(UsageError, match="levels hold 3 references"):
        matching.atss(references, [3], boxes, valid)


def test_centre_sampling_is_its_definition(objects):
    boxes, valid = objects
    # Wide enough for two levels, one inside of the other.
    boxes = boxes.at[0].set(jnp.asarray([5.0, 5.0, 120.0, 90.0]))
    boxes = boxes.at[1].set(jnp.asarray([40.0, 30.0, 90.0, 70.0]))
    reach = reaches(jnp.asarray(CELLS), COUNTS)
    np.testing.assert_array_equal(
        np.unique(reach, axis=0), [[0, 64], [64, 128], [128, np.inf]]
    )
    reach = reach / 4
    expected = []
    for (x_min, y_min, x_max, _), (low, high) in zip(
        CELLS, np.asarray(reach), strict=True
    ):
        side = x_max - x_min
        x, y = x_min + side / 2, y_min + side / 2
        found, least = -1, math.inf
        for m in np.flatnonzero(valid):
            left, top, right, bottom = (
                float(v) for v in np.asarray(boxes[m]) * [-1, -1, 1, 1] + [x, y, -x, -y]
            )
            off = max(abs(left - right), abs(top - bottom)) / 2
            edges = (left, top, right, bottom)
            fits = low < max(edges) < high
            area = (left + right) * (top + bottom)
            if min(edges) > 0 and off < 1.5 * side and fits and area < least:
                found, least = int(m), area
        expected.append(found)
    got = jax.jit(matching.centre_sampling)(jnp.asarray(CELLS), reach, boxes, valid)
    assert len(set(expected)) > 4
    assert got.tolist() == expected


@pytest.mark.parametrize(("radius", "in_boxes"), [(2.5, True), (1.5, False)])
def test_simota_is_its_definition(objects, radius, in_boxes):
    boxes, valid = objects
    boxes = boxes.at[1].set(boxes[0] + 3)  # two that want the same predictions
    count, classes = len(CELLS), jnp.where(valid, jnp.arange(PADDED) % 3, -1)
    predicted = CELLS + 6 * uniform("moves", CELLS.shape) + np.array([-12, -8, 12, 8])
    predicted = predicted.astype(np.float32)
    logits, objectness = 3 * uniform("logits", (count, 3)), 3 * uniform("o", (count,))
    match = functools.partial(matching.simota, radius=radius, in_boxes=in_boxes)
    got = jax.jit(match)(
        predicted, logits, objectness, jnp.asarray(CELLS), boxes, classes, valid
    )
    there = np.flatnonzero(valid)
    true = np.asarray(boxes)[there]
    overlap = np.asarray(pairwise(iou)(true, predicted), np.float64)
    x, y = CELLS[:, :2].T + np.repeat(STRIDES, COUNTS) / 2
    side = np.repeat(STRIDES, COUNTS)
    inside, near = [], []
    for x_min, y_min, x_max, y_max in true:
        inside.append((x > x_min) & (x < x_max) & (y > y_min) & (y < y_max))
        off = np.maximum(abs(x - (x_min + x_max) / 2), abs(y - (y_min + y_max) / 2))
        near.append(off < radius * side)
    inside, near = np.array(inside), np.array(near)
    inside = inside if in_boxes else near
    p = np.sqrt(1 / (1 + np.exp(-logits)) / (1 + np.exp(-objectness))[:, None])
    names = np.asarray(classes)[there]
    one_hot = np.eye(3)[names][:, None]
    cost = -(one_hot * np.log(p) + (1 - one_hot) * np.log(1 - p)).sum(-1)
    cost = cost - 3 * np.log(overlap + 1e-8) + 1e5 * ~(inside & near)
    candidates = np.flatnonzero((inside | near).any(0))
    claims = np.zeros_like(cost, bool)
    for m in range(len(there)):
        k = max(int(np.sort(overlap[m, candidates])[::-1][:10].sum()), 1)
        claims[m, candidates[np.argsort(cost[m, candidates], kind="stable")[:k]]] = True
    expected = np.full(count, -1)
    for n in np.flatnonzero(claims.any(0)):
        owner = (
            claims[:, n].argmax() if claims[:, n].sum() == 1 else cost[:, n].argmin()
        )
        expected[n] = there[owner]
    assert (claims.sum(0) > 1).any() and (claims.sum(1) > 2).any()
    np.testing.assert_array_equal(got.matches, expected)
    found = np.flatnonzero(expected >= 0)
    place = np.searchsorted(there, expected[found])
    np.testing.assert_allclose(got.overlap[found], overlap[place, found], rtol=1e-5)
    assert (np.delete(got.overlap, found) == 0).all()


def test_no_gradient_goes_through_simota(objects):
    boxes, valid = objects

    def share(predicted):
        return matching.simota(
            predicted,
            jnp.zeros((len(CELLS), 1)),
            jnp.zeros(len(CELLS)),
            jnp.asarray(CELLS),
            boxes,
            jnp.where(valid, 0, -1),
            valid,
        ).overlap.sum()

    value, gradient = jax.jit(jax.value_and_grad(share))(jnp.asarray(CELLS))
    assert value > 1 and not gradient.any()


def test_hungarian_is_optimal_and_ends_with_any_cost():
    match = jax.jit(matching.hungarian)
    for seed in range(4):
        draw = np.random.default_rng(seed)
        cost = draw.standard_normal((12, PADDED)).astype(np.float32)
        valid = draw.uniform(size=PADDED) < 0.6
        got = np.asarray(match(cost, valid))
        rows = np.flatnonzero(got >= 0)
        assert sorted(got[rows]) == np.flatnonzero(valid).tolist()
        best = cost[:, valid][linear_sum_assignment(cost[:, valid])].sum()
        assert cost[rows, got[rows]].sum() == pytest.approx(best, abs=1e-5)
    full = match(cost, jnp.ones(PADDED, bool))
    assert (full >= 0).sum() == PADDED
    spoilt = jnp.asarray(cost).at[2].set(jnp.nan).at[3, 1].set(jnp.inf)
    got = match(spoilt, jnp.ones(PADDED, bool))
    assert (got >= 0).sum() == PADDED and got[2] == matching.BACKGROUND
    with pytest.raises(UsageError, match="9 predictions cannot find 12 objects"):
        matching.hungarian(cost.T, jnp.ones(12, bool))


def test_samples_have_exact_counts_and_no_favourites():
    matches = jnp.asarray([-1, 0, -2, -1, 3, -1, -1, 1, -1, 2])
    draw = jax.jit(
        jax.vmap(lambda key: matching.balanced_sample(key, matches, size=6, share=0.5))
    )
    sample = draw(jax.random.split(jax.random.key(0), 3000))
    assert sample.valid.all() and (sample.positive.sum(1) == 3).all()
    kinds = matches[sample.indices]
    assert (kinds[:, :3] >= 0).all() and (kinds[:, 3:] == -1).all()
    assert all(len(set(row)) == 6 for row in np.asarray(sample.indices[:50]).tolist())
    share = np.bincount(np.asarray(sample.indices).ravel(), minlength=10) / 3000
    np.testing.assert_allclose(share[[1, 4, 7, 9]], 3 / 4, atol=0.04)
    np.testing.assert_allclose(share[[0, 3, 5, 6, 8]], 3 / 5, atol=0.04)


@pytest.mark.parametrize(
    "matches, size, share, found, drawn",
    [
        ([0, -1, -1, -1, -1, -1], 4, 0.5, 1, 4),  # background instead of objects
        ([0, 0, 0, 0, 0, -1], 4, 0.5, 2, 3),  # but not the other way round
        ([-1, -1, -2], 6, 0.5, 0, 2),
        ([0, 0, -1], 6, 1.0, 2, 3),
        ([0, 0, -1], 2, 0.25, 0, 1),
        ([-2, -2], 2, 0.5, 0, 0),
    ],
)
def test_samples_of_too_few(matches, size, share, found, drawn):
    matches = jnp.asarray(matches)
    sample = matching.balanced_sample(
        jax.random.key(1), matches, size=size, share=share
    )
    assert len(sample.indices) == size
    assert sample.positive.sum() == found and sample.valid.sum() == drawn
    taken = np.asarray(sample.indices[sample.valid])
    assert len(set(taken.tolist())) == drawn
    assert (np.asarray(matches)[taken] >= -1).all()
    assert (sample.indices[~sample.valid] == 0).all()


def test_hard_negatives_are_the_worst_of_the_background():
    losses = jnp.asarray([0.5, 9.0, 0.1, 0.7, 0.7, 8.0, 0.7])
    matches = jnp.asarray([-1, 3, -1, -1, -1, -2, -1])
    for ratio, chosen in (
        (1, [3]),
        (2, [3, 4]),
        (4, [0, 3, 4, 6]),
        (9, [0, 2, 3, 4, 6]),
    ):
        got = matching.hard_negatives(losses, matches, ratio=ratio)
        assert np.flatnonzero(got).tolist() == chosen
    assert not matching.hard_negatives(losses, jnp.full(7, -1)).any()


def test_bad_samples_are_named():
    with pytest.raises(UsageError, match="size must be at least 1"):
        matching.balanced_sample(jax.random.key(0), jnp.zeros(2, int), size=0, share=0)
    with pytest.raises(UsageError, match="share must be from 0 to 1"):
        matching.balanced_sample(jax.random.key(0), jnp.zeros(2, int), size=2, share=3)


def test_what_is_made_of_matches():
    classes, crowd = jnp.asarray([4, -1, 2, 7]), jnp.asarray([0, 0, 1, 0], jnp.uint8)
    assert matching.findable(classes).tolist() == [True, False, True, True]
    assert matching.findable(classes, crowd).tolist() == [True, False, False, True]
    matches = jnp.asarray([3, -1, 0, -2])
    assert matching.gather(classes, matches, -1).tolist() == [7, -1, 4, -1]
    boxes = jnp.arange(16.0).reshape(4, 4)
    got = matching.gather(boxes, matches)
    np.testing.assert_array_equal(got, [boxes[3], [0] * 4, boxes[0], [0] * 4])
    crowds = jnp.asarray([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    references = jnp.asarray(
        [[0.0, 0, 4, 4], [6, 0, 14, 4], [7, 0, 17, 4], [20, 0, 24, 4]]
    )
    inside = matching.in_crowd(references, crowds, jnp.asarray([1, 0]))
    assert inside.tolist() == [True, True, False, False]
