"""Synthetic sets: any shape, reproducible to the bit, and easy to learn."""

import numpy as np
import pytest

from jaxvision.data import registry
from jaxvision.data.source import fingerprint
from jaxvision.errors import UsageError

FORMS = {
    "synthetic": ((28, 28, 1), 10),
    "synthetic:32x32x3": ((32, 32, 3), 10),
    "synthetic:5x7x2:100": ((5, 7, 2), 100),
    "synthetic:4": ((28, 28, 1), 4),
    "synthetic:1x1x1:1": ((1, 1, 1), 1),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_is_read_is_what_the_name_says(name):
    shape, classes = FORMS[name]
    for split, source in registry.load(name).there().items():
        data = source.read()
        assert source.name == f"{name}:{split}"
        assert source.image_shape == shape
        assert len(source.class_names) == classes
        assert data["image"].shape == (source.size, *shape)
        assert (data["image"].dtype, data["label"].dtype) == (np.uint8, np.int32)
        assert set(data["label"]) == set(range(classes))


def test_a_nearest_mean_learned_on_train_classifies_test():
    splits = registry.load("synthetic:8x8x1:20")
    train, test = (
        (d["image"].reshape(len(d["label"]), -1).astype(float), d["label"])
        for d in (source.read() for source in splits.there().values())
    )
    means = np.stack([train[0][train[1] == c].mean(0) for c in range(20)])
    distance = ((test[0][:, None] - means) ** 2).sum(-1)
    assert np.mean(distance.argmin(1) == test[1]) > 0.95


def test_noise_differs_between_images_and_between_splits():
    images = [
        i.tobytes() for s in registry.load("synthetic")[:2] for i in s.read()["image"]
    ]
    assert len(set(images)) == len(images)


def test_pixels_are_frozen():
    """Golden numbers of other tests depend on them: a change here must be meant."""
    assert fingerprint(registry.load("synthetic:4x4x3:5").train) == "d8a36e277db1c892"


@pytest.mark.parametrize(
    "name",
    [
        "synthetic:",
        "synthetic:28x28",
        "synthetic:0x8x1",
        "synthetic:8x8x1:0",
        "synthetic:8x8x1:-3",
        "synthetic:8x8x1:3:3",
        "synthetic:big",
    ],
)
def test_a_malformed_name_is_refused_with_an_example(name):
    with pytest.raises(UsageError, match=r"synthetic:32x32x3:100") as caught:
        registry.load(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthetic:100000x100000x3", "would take .* bytes of memory: at most"),
        ("synthetic:2x2x1:99999999", "at most 65,536 classes"),
        (f"synthetic:8x8x{'9' * 5_000}", "write synthetic"),
    ],
)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(name, message):
    with pytest.raises(UsageError, match=message):
        registry.load(name)
