"""How the predictions of `tasks.multilabel` are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.recipes import SHOWS
from jaxvision.types import UNKNOWN, Galleries, Show
from jaxvision.visualise.galleries import shown


@SHOWS.recorded
def multilabel(classes: Sequence[str]) -> Show:
    """The classes found in an image; the worst beside a sample, average precision by
    class, and the curves that it is the area of."""

    def found(prediction: Mapping[str, np.ndarray]) -> list[tuple[int, float]]:
        probabilities = np.asarray(prediction["probabilities"], float)
        # By the threshold of the task; one of one's own may leave it out.
        there = prediction.get("found", probabilities >= 0.5)
        order = np.argsort(-probabilities, kind="stable").tolist()
        return [(k, probabilities[k]) for k in order if there[k]]

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

    def truth(presence: np.ndarray) -> list[str]:
        there = [classes[k] for k in np.flatnonzero(presence == 1).tolist()]
        unknown = [
            f"{classes[k]} ?" for k in np.flatnonzero(presence == UNKNOWN).tolist()
        ]
        return there + unknown or ["nothing"]

    def draw(example: Mapping[str, np.ndarray], prediction) -> np.ndarray:
        from jaxvision import visualise

        return visualise.captioned(example["image"], words(prediction))

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from jaxvision import visualise

        rows = {
            one.caption: [
                visualise.captioned(
                    one.example["image"], truth(one.example["presence"])
                ),
                draw(one.example, one.prediction),
            ]
            for one in shown(galleries)
        }
        by_class = dict(zip(classes, metrics["per_class_ap"], strict=True))
        drawn = {
            "predictions.png": visualise.comparison(
                rows,
                ("what is there", "what was found"),
                title="The images that were hardest, and a sample",
            ),
            "average_precision.png": visualise.shares_by_class(
                by_class, "average precision"
            ),
        }
        # A task of one's own may measure less.
        if "curves" in metrics:
            drawn["precision_recall.png"] = visualise.precision_recall(
                np.asarray(metrics["curves"]), by_class
            )
        return drawn

    return Show(draw, words, figures, values)
