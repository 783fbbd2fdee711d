import numpy as np

from jaxvision import visualise
from jaxvision.types import Galleries, Gallery

SHOW = visualise.classification(["cat", "dog"])
WORST = Gallery(
    indices=np.array([1, 0]),
    difficulty=np.array([1.6, 0.1]),
    example={"image": np.zeros((2, 4, 4, 3), np.uint8), "label": np.array([1, 0])},
    input={},
    prediction={"probabilities": np.array([[0.6, 0.4], [0.9, 0.1]])},
)


def test_pictures_of_a_classifier():
    metrics = {
        "confusion": np.array([[6, 0], [1, 3]]),
        "per_class_precision": np.array([6 / 7, 1]),
        "per_class_recall": np.array([1, 0.75]),
        "per_class_f1": np.array([12 / 13, 6 / 7]),
        "calibration_error": 0.02,
        "bin_count": np.array([4, 6]),
        "bin_confidence": np.array([0.4, 0.9]),
        "bin_accuracy": np.array([0.5, 0.8]),
    }
    figures = SHOW.figures(Galleries(WORST, WORST), metrics)
    assert set(figures) == {
        "confusion.png", "classes.png", "reliability.png", "predictions.png"
    }  # fmt: skip
    less = SHOW.figures(Galleries(WORST, WORST), {"confusion": metrics["confusion"]})
    assert set(less) == {"confusion.png", "predictions.png"}
    title = figures["confusion.png"].axes[0].get_title(loc="left")
    assert title == "10 examples, 1 mistake, accuracy 90.00 %"
    assert figures["predictions.png"].texts[0].get_text() == "1 mistake in 10 images"
    first = figures["predictions.png"].axes[0].texts[0].get_text()
    assert first == "✗ cat"


def test_words_are_the_likeliest_classes():
    words = SHOW.words({"probabilities": np.array([0.25, 0.75])})
    assert words == ["dog  75.0%", "cat  25.0%"]


def test_a_drawing_has_its_words_below():
    image = np.full((8, 8, 1), 200, np.uint8)
    drawn = SHOW.draw({"image": image}, {"probabilities": np.array([0.2, 0.8])})
    assert drawn.shape == (480, 480, 3)
    assert (drawn[:240] == 200).all() and (drawn[400:] != 200).any()
