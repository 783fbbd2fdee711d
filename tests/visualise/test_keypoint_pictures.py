"""Found keypoints as pictures, words and values."""

import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.types import Galleries, Gallery

NAMES = ("nose", "left_ear", "right_ear")
SHOW = visualise.keypoints(NAMES, limbs=[(0, 1), (0, 2)])
PREDICTION = {
    "points": np.float32([[15, 12], [25, 12], [20, 16]]),
    "scores": np.float32([0.9, 0.2, 0.6]),
}
EXAMPLE = {
    "image": np.zeros((16, 16, 3), np.uint8),
    "keypoints": np.float32([[[15, 12, 2], [25, 12, 1], [0, 0, 0]]]),
    "taken": np.float32([10, 8, 26, 24]),
}
"""The network saw the pixels from 10 and 8 on, at their size."""


def test_words_and_values():
    assert SHOW.words(PREDICTION)[0] == "nose  15.0, 12.0  0.90"
    assert SHOW.values(PREDICTION)["keypoints"]["right_ear"]["y"] == 16
    with pytest.raises(UsageError, match="from 0 to 2"):
        visualise.keypoints(NAMES, limbs=[(0, 3)])


def test_keypoints_are_drawn_where_the_network_saw_them(monkeypatch):
    seen = {}

    def comparison(rows, columns, **options):
        seen.update(rows)

    monkeypatch.setattr(visualise, "comparison", comparison)
    rows = {name: array[None] for name, array in EXAMPLE.items()}
    found = {name: array[None] for name, array in PREDICTION.items()}
    gallery = Gallery(np.array([4]), np.array([0.5]), rows, rows, found)
    metrics = {
        "per_keypoint_pck": np.array([1, 0.5, np.nan]),
        "error_curve": np.stack([np.linspace(0, 0.2, 5), np.linspace(0, 1, 5)]),
        "auc": 0.3,
    }
    figures = SHOW.figures(Galleries(gallery, gallery), metrics)
    assert figures.keys() == {
        "predictions.png", "found_keypoints.png", "error_curve.png",
    }  # fmt: skip
    true, found = seen["worst 1: image 4"]
    assert true.shape == found.shape == (480, 480, 3)
    for image, there in ((true, False), (found, True)):
        # The nose is at 5, 4 of 16 pixels, each of them 30; the right ear at 10, 8.
        assert image[4 * 30, 5 * 30].any()
        assert image[8 * 30, 10 * 30].any() == there
    # Without a crop they are drawn where they are, and unsure ones are left out.
    sure = visualise.keypoints(NAMES, least=0.5)
    whole = {"image": np.zeros((30, 30, 3), np.uint8)}
    picture = sure.draw(whole, PREDICTION)
    assert picture[12 * 16, 15 * 16].any() and not picture[12 * 16, 25 * 16].any()
    assert SHOW.files(whole, PREDICTION)["_keypoints.png"][:4] == b"\x89PNG"
