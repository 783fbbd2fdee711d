import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.visualise import style

RANDOM = np.random.default_rng(0)
NAMES = ["cat", "dog", "eel"]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_normalised_images_get_their_own_levels_back():
    stored = RANDOM.integers(50, 180, (4, 8, 8, 3), np.uint8)
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.3])
    seen = ((stored / 255 - mean) / std).astype(np.float32)
    np.testing.assert_allclose(style.as_bytes(seen, stored), stored, atol=1)
    assert style.as_bytes(stored, stored) is stored


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_images_of_other_channels_than_stored_fill_the_whole_range(channels):
    seen = RANDOM.normal(size=(4, 8, 8, channels)).astype(np.float32)
    drawn = style.as_bytes(seen, np.full((4, 8, 8, 4), 7, np.uint8))
    assert drawn.dtype == np.uint8 and drawn.shape[-1] == (3 if channels == 3 else 1)
    assert drawn.min() == 0 and drawn.max() == 255


def test_a_blank_batch_is_drawn():
    blank = np.zeros((2, 8, 8, 1), np.uint8)
    assert (style.as_bytes(blank.astype(np.float32), blank) == 0).all()


def test_examples_are_shown_as_stored_and_as_seen():
    stored = {"image": RANDOM.integers(0, 256, (20, 8, 8, 1), np.uint8)}
    seen = {"image": stored["image"][:, ::-1] / 255.0, "label": np.arange(20) % 3}
    figure = visualise.training_batch(stored, seen, NAMES)
    images = [image.get_array() for image in figure.axes[0].images]
    assert len(images) == 32
    for before, after in zip(images[::2], images[1::2], strict=True):
        np.testing.assert_allclose(before[::-1].astype(int), after, atol=1)
    assert {"1: cat", "2: dog", "16: cat", "as it is stored"} <= set(texts(figure))


def test_mixed_examples_name_their_parts():
    image = np.zeros((2, 8, 8, 3), np.uint8)
    target = np.array([[0.62, 0.38, 0], [0, 0, 1]])
    batch = {"image": image, "label": np.array([0, 2]), "target": target}
    written = texts(visualise.training_batch({"image": image}, batch, NAMES))
    assert "1: cat 62%, dog 38%" in written and "2: eel 100%" in written


def test_annotations_are_drawn_where_they_were_moved_to():
    image = np.full((1, 40, 60, 3), 100, np.uint8)
    before, after = np.zeros((2, 1, 40, 60), np.uint8)
    before[:, :, :20], after[:, :, 40:] = 1, 1
    figure = visualise.training_batch(
        {"image": image, "segmentation": before},
        {"image": image / 255.0, "segmentation": after},
        NAMES,
    )
    left, right = (image.get_array() for image in figure.axes[0].images)
    assert (left[:, 0] == right[:, -1]).all() and (left[:, -1] == right[:, 0]).all()
    assert (left[:, 0] != left[:, -1]).any()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == NAMES


@pytest.mark.parametrize(
    "annotation",
    [
        {"label": np.array([1, 4])},
        {"target": np.eye(5)[[1, 4]]},
        {"label": np.array([1, 4]), "classes": np.array([[4], [-1]])}
        | {"boxes": np.zeros((2, 1, 4), np.float32)},
        {"label": np.array([1, 4])} | {"segmentation": np.full((2, 8, 8), 4, np.uint8)},
        {"label": np.array([1, 4]), "presence": np.eye(5)[[1, 4]]},
    ],
    ids=lambda annotation: ", ".join(annotation),
)
def test_classes_without_names_are_numbered(annotation):
    """As where a task learns numbers, whose names are not those of classes."""
    batch = {"image": np.zeros((2, 8, 8, 3), np.uint8), **annotation}
    written = texts(visualise.training_batch(batch, batch, ["count"]))
    captions = [text.removesuffix(" 100%") for text in written]
    assert {"1: 1", "2: 4"} <= set(captions)


def test_names_of_keypoints_are_not_those_of_objects():
    batch = {
        "image": np.full((1, 40, 60, 3), 100, np.uint8),
        "boxes": np.array([[[20, 20, 50, 35]]], np.float32),
        "classes": np.array([[0]]),
        "keypoints": np.array([[[[25, 25, 2], [40, 30, 2]]]], np.float32),
    }

    def drawn(names):
        figure = visualise.training_batch(batch, batch, names)
        return figure.axes[0].images[0].get_array()

    np.testing.assert_array_equal(drawn(["snout", "tail"]), drawn(["left", "right"]))
    assert (drawn(["snout", "tail"]) != drawn(["mouse"])).any()


def test_a_target_that_is_an_image_has_no_words():
    batch = {"image": np.zeros((1, 8, 8, 3), np.uint8)}
    seen = batch | {"target": np.zeros((1, 8, 8, 3), np.float32)}
    assert "1" in texts(visualise.training_batch(batch, seen, []))


def test_what_is_no_batch_of_images_is_refused():
    flat = {"image": np.zeros((2, 64), np.float32)}
    image = {"image": np.zeros((2, 8, 8, 1), np.uint8)}
    with pytest.raises(UsageError, match=r"seen images must be \[B,H,W,C\], got \(2"):
        visualise.training_batch(image, flat, NAMES)
