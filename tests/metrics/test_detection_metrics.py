"""COCO's numbers against pycocotools, VOC's and TIDE's against their definitions."""

import numpy as np
import pytest

from benchmarks.boxes import in_pycocotools
from jaxvision.errors import UsageError
from jaxvision.metrics import coco, detection, tide, voc

IMAGES, FOUND, OBJECTS, CLASSES = 50, 30, 12, 5
NAMES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
)
"""In the order of COCO's table."""


def random_rows(seed, images=IMAGES, found=FOUND, objects=OBJECTS, classes=CLASSES):
    """Rows with padding, ties, crowds, and every size; the last class has no object,
    and some images have none, or nothing is found in them."""
    draw = np.random.default_rng(seed)
    size = np.exp(draw.uniform(1, 5.5, (images, objects, 2)))
    corner = draw.uniform(0, 300, (images, objects, 2))
    boxes = np.round(np.concatenate([corner, corner + size], -1))
    there = draw.uniform(size=(images, objects)) < draw.uniform(size=(images, 1))
    there[:3] = False
    names = draw.integers(0, classes - 1, (images, objects))
    crowd = (draw.uniform(size=(images, objects)) < 0.15) & there
    area = np.prod(boxes[..., 2:] - boxes[..., :2], -1) * draw.uniform(
        0.4, 1, (images, objects)
    )
    # Found boxes are moved true ones, so that some overlap well and many a little.
    source = draw.integers(0, objects, (images, found))
    moved = np.take_along_axis(boxes, source[..., None], 1)
    spread = draw.choice([0, 0.02, 0.1, 0.3], (images, found, 1))
    sides = np.tile(moved[..., 2:] - moved[..., :2], 2)
    moved = np.round(moved + spread * sides * draw.standard_normal(moved.shape), 1)
    moved[..., 2:] = np.maximum(moved[..., 2:], moved[..., :2])
    same = np.take_along_axis(names, source, 1)
    guess = draw.integers(0, classes, same.shape)
    guess = np.where(draw.uniform(size=same.shape) < 0.7, same, guess)
    says = draw.uniform(size=(images, found)) < 0.9
    says[2:5] = False
    return {
        "found_boxes": np.where(says[..., None], moved, 0).astype(np.float32),
        "found_scores": draw.integers(0, 40, says.shape).astype(np.float32) / 40 * says,
        "found_classes": np.where(says, guess, -1),
        "boxes": np.where(there[..., None], boxes, 0).astype(np.float32),
        "classes": np.where(there, names, -1),
        "crowd": crowd.astype(np.uint8),
        "area": (area * there).astype(np.float32),
    }


@pytest.mark.parametrize("seed", range(4))
def test_coco_is_pycocotools(seed):
    rows = random_rows(seed)
    reference = in_pycocotools(rows, CLASSES)()
    got = coco.compute(rows, CLASSES)
    assert 0.05 < got["ap"] < 0.9 and got["ap50"] > got["ap75"] > 0
    for name, value in zip(NAMES, reference.stats, strict=True):
        assert got[name] == pytest.approx(value, abs=1e-9), name
    precision = np.where(
        reference.eval["precision"] < 0, np.nan, reference.eval["precision"]
    )
    np.testing.assert_allclose(
        got["per_class_ap"], precision[:, :, :, 0, 2].mean((0, 1)), atol=1e-9
    )
    np.testing.assert_allclose(
        got["per_class_precision"], precision[0, :, :, 0, 2].T, atol=1e-9
    )
    recall = np.where(reference.eval["recall"] < 0, np.nan, reference.eval["recall"])
    np.testing.assert_allclose(
        got["per_class_ar_100"], recall[:, :, 0, 2].mean(0), atol=1e-9
    )
    assert np.isnan(got["per_class_ap"][-1])


def test_of_two_that_overlap_alike_the_last_is_taken():
    # The first box is as near to both; the second reaches only one of them.
    for x, ap50 in ((0, 1.0), (4, 0.505)):
        rows = one_image([(2, 0, 0.9), (x, 0, 0.8)], [(0, 0), (4, 0)])
        rows |= {"crowd": np.zeros((1, 2)), "area": np.full((1, 2), 100.0)}
        got = coco.compute(rows, 1)
        assert got["ap50"] == pytest.approx(in_pycocotools(rows, 1)().stats[1])
        assert got["ap50"] == pytest.approx(ap50, abs=1e-3)


def test_more_than_a_hundred_boxes_of_a_class():
    rows = random_rows(9, images=4, found=260, objects=30, classes=2)
    reference = in_pycocotools(rows, 2)()
    got = coco.compute(rows, 2)
    for name, value in zip(NAMES, reference.stats, strict=True):
        # There are no large ones, which COCO says by -1.
        value = np.nan if value == -1 else value
        assert got[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_sets_without_objects_and_without_answers():
    rows = random_rows(0, images=6)
    nothing = coco.compute(rows | {"classes": np.full((6, OBJECTS), -1)}, CLASSES)
    assert all(np.isnan(nothing[name]) for name in NAMES)
    silent = coco.compute(rows | {"found_classes": np.full((6, FOUND), -1)}, CLASSES)
    assert silent["ap"] == silent["ar_100"] == 0
    for metric in (voc, tide):
        empty = metric.compute(rows | {"classes": np.full((6, OBJECTS), -1)}, CLASSES)
        assert np.isnan(empty.get("mean_ap", empty.get("ap50")))
        quiet = metric.compute(
            rows | {"found_classes": np.full((6, FOUND), -1)}, CLASSES
        )
        assert quiet.get("mean_ap", quiet.get("ap50")) == 0


def test_arrays_of_each_image_are_rows_without_padding():
    rows = random_rows(1)
    rows["area"] = np.prod(rows["boxes"][..., 2:] - rows["boxes"][..., :2], -1)
    found, truth = [], []
    for i in range(IMAGES):
        there, says = rows["classes"][i] >= 0, rows["found_classes"][i] >= 0
        found.append(
            {
                "boxes": rows["found_boxes"][i, says],
                "scores": rows["found_scores"][i, says],
                "classes": rows["found_classes"][i, says],
            }
        )
        truth.append(
            {
                "boxes": rows["boxes"][i, there],
                "classes": rows["classes"][i, there],
                "crowd": rows["crowd"][i, there],
            }
        )
    of = detection.from_images(found, truth)
    assert of.num_images == IMAGES
    got, wanted = coco.measure(of, CLASSES), coco.compute(rows, CLASSES)
    for name, value in wanted.items():
        np.testing.assert_array_equal(got[name], value)
    # The area of a box is what counts where a set says no other.
    del rows["area"]
    np.testing.assert_array_equal(
        coco.compute(rows, CLASSES)["ap_small"], got["ap_small"]
    )


def share(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = np.prod(np.maximum(high - low, 0))
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def voc_box_by_box(rows, k, rule):
    """The development kit's loop for one class."""
    objects = {
        i: [
            [box.astype(np.float64), hard == 1, False]
            for box, cls, hard in zip(
                rows["boxes"][i], rows["classes"][i], rows["crowd"][i], strict=True
            )
            if cls == k
        ]
        for i in range(len(rows["classes"]))
    }
    answers = [
        (rows["found_scores"][i, d], i, rows["found_boxes"][i, d].astype(np.float64))
        for i, d in np.argwhere(rows["found_classes"] == k)
    ]
    right, wrong = [], []
    for _, i, box in sorted(answers, key=lambda answer: -answer[0]):
        shares = [share(box, true) for true, _, _ in objects[i]]
        best = int(np.argmax(shares)) if shares else -1
        reaches = best >= 0 and shares[best] >= 0.5
        hard = reaches and objects[i][best][1]
        first = reaches and not objects[i][best][2]
        right.append(reaches and not hard and first)
        wrong.append(not hard and not right[-1])
        if right[-1]:
            objects[i][best][2] = True
    count = sum(not hard for of in objects.values() for _, hard, _ in of)
    recall = np.cumsum(right) / count
    precision = np.cumsum(right) / np.maximum(np.cumsum(right) + np.cumsum(wrong), 1)
    if rule == "11 points":
        points = np.linspace(0, 1, 11)
        return np.mean([precision[recall >= t].max(initial=0) for t in points])
    area, before = 0.0, 0.0
    for n, r in enumerate(recall):
        area += (r - before) * precision[n:].max()
        before = r
    return area


@pytest.mark.parametrize("rule", ["area", "11 points"])
def test_voc_is_the_loop_of_its_kit(rule):
    rows = random_rows(5)
    got = voc.compute(rows, CLASSES, rule=rule)
    each = [voc_box_by_box(rows, k, rule) for k in range(CLASSES - 1)]
    assert min(each) > 0.05
    np.testing.assert_allclose(got["per_class_ap"][:-1], each, atol=1e-9)
    assert np.isnan(got["per_class_ap"][-1])
    assert got["mean_ap"] == pytest.approx(np.mean(each), abs=1e-9)


def one_image(found, truth):
    """Rows of `(x, class, score)` and `(x, class)`: boxes of 10×10 pixels at x."""

    def box(x):
        return [x, 0, x + 10, 10]

    return {
        "found_boxes": np.array([[box(x) for x, _, _ in found]], np.float32),
        "found_scores": np.array([[score for _, _, score in found]]),
        "found_classes": np.array([[cls for _, cls, _ in found]]),
        "boxes": np.array([[box(x) for x, _ in truth]], np.float32),
        "classes": np.array([[cls for _, cls in truth]]),
    }


def test_tide_tells_each_kind_of_mistake():
    rows = one_image(
        found=[
            (0, 0, 0.9),  # right
            (1, 0, 0.8),  # duplicate
            (26, 0, 0.7),  # off by 6 of 10 pixels: IoU 1/4
            (41, 1, 0.6),  # the wrong class
            (66, 1, 0.5),  # both
            (200, 0, 0.4),  # background
        ],
        truth=[(0, 0), (20, 0), (40, 0), (60, 0), (80, 0)],
    )
    errors = tide.classify(detection.from_rows(rows))
    order = np.argsort(-errors.found.score)
    kinds = [tide.WRONG[k] if k >= 0 else "" for k in errors.kind[order]]
    assert kinds == ["", "duplicate", "location", "class", "both", "background"]
    assert errors.target[order].tolist() == [0, -1, 1, 2, -1, -1]
    assert errors.missed.tolist() == [False, False, False, True, True]
    got = tide.compute(rows, 2)
    assert [got[f"{kind}_errors"] for kind in tide.KINDS] == [1, 1, 1, 1, 1, 2]
    # One of five is found, by the best box: 21 of the 101 recalls.
    assert got["ap50"] == pytest.approx(21 / 101)
    # Two of five, the second of them the third box: 20 recalls at a precision of 2/3.
    assert got["location_cost"] == pytest.approx(20 * (2 / 3) / 101)
    # And here the second of them is the fourth box.
    assert got["class_cost"] == pytest.approx(20 * (2 / 4) / 101)
    assert got["duplicate_cost"] == got["background_cost"] == got["both_cost"] == 0
    # One of three: 34 recalls.
    assert got["missed_cost"] == pytest.approx(13 / 101)


def test_tide_knows_no_mistake_in_a_crowd():
    rows = one_image([(0, 0, 0.9), (1, 0, 0.8)], [(0, 0)]) | {"crowd": np.ones((1, 1))}
    got = tide.compute(rows, 1)
    assert all(got[f"{kind}_errors"] == 0 for kind in tide.KINDS)


def test_tide_agrees_with_coco():
    rows = random_rows(3)
    assert tide.compute(rows, CLASSES)["ap50"] == pytest.approx(
        coco.compute(rows, CLASSES)["ap50"], abs=1e-12
    )
    errors = tide.classify(detection.from_rows(rows))
    assert all((errors.kind == k).any() for k in range(len(tide.WRONG)))
    costs = tide.compute(rows, CLASSES)
    assert all(costs[f"{kind}_cost"] >= 0 for kind in tide.KINDS)


def test_rows_are_those_of_a_batch_and_of_any_batches():
    whole = random_rows(2)
    parts = []
    for part in np.array_split(np.arange(IMAGES), 7):
        batch = {name: whole[name][part] for name in detection.TRUE}
        found = {name: whole[f"found_{name}"][part] for name in detection.FOUND}
        parts.append(detection.rows(found, batch | {"image": None}))
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    assert joined.keys() == whole.keys()
    wanted = coco.compute(whole, CLASSES)
    assert coco.compute(joined, CLASSES)["ap"] == wanted["ap"]


def test_bad_rows_are_named():
    rows = random_rows(0, images=6)
    with pytest.raises(UsageError, match="'found_scores'"):
        coco.compute({k: v for k, v in rows.items() if k != "found_scores"}, CLASSES)
    with pytest.raises(UsageError, match="of the same images"):
        coco.compute(rows | {"boxes": rows["boxes"][:5]}, CLASSES)
    for metric in (coco, voc, tide):
        with pytest.raises(UsageError, match="a box has class 4, and num_classes is 4"):
            metric.compute(rows, 4)
    with pytest.raises(UsageError, match="found is of 1 images and truth of 0"):
        detection.from_images([{}], [])
