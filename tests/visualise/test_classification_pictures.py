import numpy as np

from jaxvision import visualise


def test_pictures_of_a_classifier():
    pictures = visualise.classification(["cat", "dog"])
    figures = pictures(
        {"image": np.zeros((2, 4, 4, 3), np.uint8), "label": np.array([0, 1])},
        {"probabilities": np.array([[0.9, 0.1], [0.6, 0.4]])},
        {"confusion": np.array([[1, 0], [1, 0]]), "accuracy": 0.5},
    )
    assert set(figures) == {"confusion.png", "predictions.png"}
    title = figures["confusion.png"].axes[0].get_title(loc="left")
    assert title == "2 examples, 1 mistake, accuracy 50.00 %"
    first = figures["predictions.png"].axes[0].texts[0].get_text()
    assert first == "✗ cat"
