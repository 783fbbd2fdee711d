"""Panoptic quality against its definition, segment by segment."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.metrics import panoptic

CLASSES, STUFF, SEGMENTS, SIZE = 6, (0, 1), 7, (23, 31)


def random_map(seed, like=None):
    """Blocks of segments, some void; or another such map, moved and partly renamed."""
    draw = np.random.default_rng(seed)
    if like is None:
        coarse = draw.integers(-1, SEGMENTS, (4, 5))
        of = coarse.repeat(6, 0).repeat(7, 1)[: SIZE[0], : SIZE[1]]
        classes = draw.integers(0, CLASSES - 1, SEGMENTS)
        return of, classes, draw.uniform(size=SEGMENTS) < 0.2
    of, classes, _ = like
    moved = np.roll(of, draw.integers(0, 3, 2), (0, 1))
    noise = draw.integers(-1, SEGMENTS, SIZE)
    moved = np.where(draw.uniform(size=SIZE) < 0.1, noise, moved)
    other = draw.integers(0, CLASSES - 1, SEGMENTS)
    return moved, np.where(draw.uniform(size=SEGMENTS) < 0.8, classes, other), None


def by_definition(found, true):
    """[K,4]: sum of IoU, TP, FP, FN, of one image."""
    (of, classes, _), (there, named, crowd) = found, true
    counts = np.zeros((CLASSES, 4))
    matched = set()
    for p in np.unique(of[of >= 0]):
        mine, k, hit = of == p, classes[p], False
        excused = (mine & (there < 0)).sum()
        for t in np.unique(there[there >= 0]):
            theirs = there == t
            if named[t] != k:
                continue
            both = (mine & theirs).sum()
            if crowd[t]:
                excused += both
                continue
            iou = both / ((mine | theirs) & ~(mine & (there < 0))).sum()
            if iou > 0.5:
                counts[k] += iou, 1, 0, 0
                matched.add(t)
                hit = True
        if not hit and excused / mine.sum() <= 0.5:
            counts[k, 2] += 1
    for t in np.unique(there[there >= 0]):
        if t not in matched and not crowd[t]:
            counts[named[t], 3] += 1
    return counts


def test_quality_is_its_definition():
    true = [random_map(seed) for seed in range(24)]
    found = [random_map(100 + seed, each) for seed, each in enumerate(true)]
    wanted = sum(by_definition(*each) for each in zip(found, true, strict=True))
    assert (wanted[: CLASSES - 1] > 0).all()

    def stacked(maps):
        of, classes, crowd = zip(*maps, strict=True)
        crowd = None if crowd[0] is None else jnp.array(crowd)
        as_int = (jnp.array(np.stack(each), jnp.int32) for each in (of, classes))
        return panoptic.Segments(*as_int, crowd)

    update = functools.partial(panoptic.update, num_classes=CLASSES)
    sums = jax.jit(jax.vmap(update))(stacked(found), stacked(true))
    sums = {name: np.asarray(each).sum(0) for name, each in sums.items()}
    for column, name in enumerate(("iou", "tp", "fp", "fn")):
        np.testing.assert_allclose(sums[name], wanted[:, column], rtol=1e-6)
    got = panoptic.compute(sums, STUFF)
    iou, tp, fp, fn = wanted[:-1].T
    quality = iou / (tp + fp / 2 + fn / 2)
    assert got["pq"] == pytest.approx(quality.mean())
    assert got["sq"] == pytest.approx((iou / tp).mean())
    assert got["pq_stuff"] == pytest.approx(quality[:2].mean())
    assert got["pq_things"] == pytest.approx(quality[2:].mean())
    np.testing.assert_allclose(got["per_class_pq"], [*quality, np.nan], rtol=1e-5)
    nothing = panoptic.compute({name: np.zeros(3) for name in sums}, STUFF)
    assert np.isnan(nothing["pq"])


def test_segments_are_objects_and_stuff():
    numbers = np.array([[0, 0, 1, 255], [2, 2, 1, 0]], np.uint8)
    masks = np.zeros((3, 2, 4), np.uint8)
    masks[0, 0, :2] = masks[1, 0, 1:3] = masks[2] = 1
    classes, crowd = np.int32([2, 3, -1]), np.uint8([0, 1, 0])
    program = jax.jit(functools.partial(panoptic.segments, stuff=STUFF))
    of, classes, crowd = program(numbers, masks, classes, crowd=crowd)
    # Class 2 is a thing: where no object is, it is void, and so is what is unknown.
    assert of.tolist() == [[0, 1, 1, -1], [-1, -1, 4, 3]]
    assert classes.tolist() == [2, 3, -1, 0, 1]
    assert crowd.tolist() == [False, True, False, False, False]


def test_maps_of_other_pixels_are_refused():
    one, other = (
        panoptic.Segments(jnp.zeros(shape, jnp.int32), jnp.zeros(1, jnp.int32))
        for shape in ((4, 4), (4, 5))
    )
    with pytest.raises(UsageError, match="of the same pixels"):
        panoptic.update(one, other, CLASSES)
