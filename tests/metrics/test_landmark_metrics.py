"""Errors of keypoints against plain definitions, and what does not count."""

import numpy as np
import pytest

from jaxvision.errors import UsageError
from jaxvision.metrics import landmarks


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    true = np.concatenate(
        [random.uniform(0, 90, (40, 6, 2)), random.integers(0, 3, (40, 6, 1))], axis=-1
    )
    true[0, :, 2] = 0
    true[..., :2] *= true[..., 2:] > 0
    return true[..., :2] + random.normal(0, 6, (40, 6, 2)), true


def test_metrics_are_their_definitions(data):
    found, true = data
    norm = landmarks.between((0, 1), 2)
    norms = norm(true, landmarks.boxes_around(true))
    got = landmarks.measure(found, true, norms, threshold=0.1, failure=0.3)

    hits, errors, of_objects = [], [], []
    for points, truth in zip(found, true, strict=True):
        seen = truth[:, 2] > 0
        distances = np.hypot(*(points - truth[:, :2]).T)[seen]
        errors += distances.tolist()
        if seen[:3].all():
            length = np.hypot(*(truth[:2, :2].mean(0) - truth[2, :2]))
            hits += (distances / length <= 0.1).tolist()
            of_objects.append(distances.mean() / length)
    assert 2 < len(of_objects) < 39
    assert got["mean_error"] == pytest.approx(np.mean(errors))
    assert got["pck"] == pytest.approx(np.mean(hits))
    assert got["nme"] == pytest.approx(np.mean(of_objects))
    assert got["failure_rate"] == pytest.approx(np.mean(np.array(of_objects) > 0.3))
    fine = np.linspace(0, 0.3, 200_001)
    shares = (np.array(of_objects)[:, None] <= fine).mean(0)
    assert got["auc"] == pytest.approx(shares.mean(), abs=1e-4)
    grid, curve = got["error_curve"]
    assert grid[50] == pytest.approx(0.3)
    assert curve[50] == pytest.approx(1 - got["failure_rate"])
    assert got["per_keypoint_pck"].shape == (6,)


def test_boxes_of_objects_that_have_none_are_around_their_keypoints(data):
    _, true = data
    boxes = landmarks.boxes_around(true)
    assert not boxes[0].any()
    seen = true[1, true[1, :, 2] > 0, :2]
    np.testing.assert_array_equal(boxes[1], [*seen.min(0), *seen.max(0)])
    width, height = boxes[1, 2:] - boxes[1, :2]
    for size, expected in (
        ("longest", max(width, height)),
        ("diagonal", np.hypot(width, height)),
        ("root", np.sqrt(width * height)),
    ):
        norms = landmarks.box(size)(true, boxes)
        assert norms[1] == pytest.approx(expected) and np.isnan(norms[0])


def test_nothing_that_counts_is_no_number():
    nothing = np.zeros((2, 3, 3))
    norms = landmarks.pixels(5)(nothing, np.zeros((2, 4)))
    got = landmarks.measure(nothing[..., :2], nothing, norms, threshold=1, failure=1)
    assert np.isnan([got["nme"], got["pck"], got["mean_error"], got["auc"]]).all()
    assert np.isnan(got["per_keypoint_error"]).all()


def test_norms_that_cannot_be_are_refused(data):
    _, true = data
    for make, message in (
        (lambda: landmarks.box("area"), "unknown size of a box 'area'"),
        (lambda: landmarks.between((), 2), "between keypoints by their numbers"),
        (lambda: landmarks.pixels(0.0), "positive number of pixels"),
        (lambda: landmarks.between(1, 6)(true, true), "there are 6, counted from 0"),
    ):
        with pytest.raises(UsageError, match=message):
            make()
