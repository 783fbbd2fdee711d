"""How the predictions of `tasks.multilabel` are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.recipes import SHOWS
from jaxvision.types import Galleries, Show

_SHOWN = 12
"""Examples of the worst, and of the sample."""


@SHOWS.recorded
def multilabel(classes: Sequence[str]) -> Show:
    """The classes found in an image; the worst beside a sample, and AP by class."""

    def found(prediction: Mapping[str, np.ndarray]) -> list[tuple[int, float]]:
        probabilities = np.asarray(prediction["probabilities"], float)
        order = np.argsort(-probabilities, kind="stable").tolist()
        return [(k, probabilities[k]) for k in order if probabilities[k] >= 0.5]

    def words(prediction: Mapping[str, np.ndarray]) -> list[str]:
        lines = [f"{classes[k]}  {share:.1%}" for k, share in found(prediction)]
        return lines or ["nothing"]

    def values(prediction: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {
            "classes": [
                {"class": classes[k], "number": k, "probability": share}
                for k, share in found(prediction)
            ]
        }

    def draw(example: Mapping[str, np.ndarray], prediction) -> np.ndarray:
        from jaxvision import visualise

        return visualise.captioned(example["image"], words(prediction))

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from jaxvision import visualise

        rows = {}
        for name, gallery in galleries._asdict().items():
            for i in range(min(_SHOWN, len(gallery.indices))):
                example = {key: array[i] for key, array in gallery.example.items()}
                there = np.flatnonzero(example["presence"]).tolist()
                prediction = {k: array[i] for k, array in gallery.prediction.items()}
                rows[f"{name} {i + 1}: image {gallery.indices[i]}"] = [
                    visualise.captioned(
                        example["image"], [classes[k] for k in there] or ["nothing"]
                    ),
                    draw(example, prediction),
                ]
        by_class = dict(zip(classes, metrics["per_class_ap"], strict=True))
        return {
            "predictions.png": visualise.comparison(
                rows,
                ("what is there", "what was found"),
                title="The images that were hardest, and a sample",
            ),
            "average_precision.png": visualise.shares_by_class(
                by_class, "average precision"
            ),
        }

    return Show(draw, words, figures, values)
