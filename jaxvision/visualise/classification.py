"""How the predictions of `tasks.classification` are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.recipes import SHOWS
from jaxvision.types import Galleries, Show

_TOP = 3
"""Classes that are written down."""

_LISTED = 5
"""Classes in what programs read."""


@SHOWS.recorded
def classification(classes: Sequence[str]) -> Show:
    """The three likeliest classes; the confusion matrix, the scores of each class, the
    reliability of the probabilities, and the worst mistakes."""

    def words(prediction: Mapping[str, np.ndarray]) -> list[str]:
        probabilities = np.asarray(prediction["probabilities"])
        best = np.argsort(-probabilities, kind="stable")[:_TOP].tolist()
        return [f"{classes[k]}  {probabilities[k]:.1%}" for k in best]

    def values(prediction: Mapping[str, np.ndarray]) -> dict[str, Any]:
        probabilities = np.asarray(prediction["probabilities"], float)
        best = np.argsort(-probabilities, kind="stable")[:_LISTED].tolist()
        return {
            "classes": [
                {"class": classes[k], "number": k, "probability": probabilities[k]}
                for k in best
            ]
        }

    def draw(example: Mapping[str, np.ndarray], prediction) -> np.ndarray:
        from jaxvision import visualise

        return visualise.captioned(example["image"], words(prediction))

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        # Not earlier: it imports matplotlib, which training can do without.
        from jaxvision import visualise

        worst, matrix = galleries.worst, np.asarray(metrics["confusion"])
        drawn = {
            "confusion.png": visualise.confusion(matrix, classes),
            "predictions.png": visualise.predictions(
                worst.example["image"],
                worst.example["label"],
                worst.prediction["probabilities"],
                classes,
                of=(int(matrix.sum() - matrix.trace()), int(matrix.sum())),
            ),
        }
        # A task of one's own may measure less.
        if "per_class_f1" in metrics:
            of_classes = ("precision", "recall", "f1")
            scores = {name: metrics[f"per_class_{name}"] for name in of_classes}
            drawn["classes.png"] = visualise.class_scores(matrix, scores, classes)
        if "bin_count" in metrics:
            drawn["reliability.png"] = visualise.reliability(
                count=metrics["bin_count"],
                confidence=metrics["bin_confidence"],
                accuracy=metrics["bin_accuracy"],
                error=metrics["calibration_error"],
            )
        return drawn

    return Show(draw, words, figures, values)
