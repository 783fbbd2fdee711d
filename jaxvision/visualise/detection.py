"""How the predictions of `tasks.detection` are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.errors import check
from jaxvision.recipes import SHOWS
from jaxvision.types import Galleries, Show
from jaxvision.visualise.galleries import Shown, shown, whole

Arrays = Mapping[str, np.ndarray]


@SHOWS.recorded
def detection(classes: Sequence[str], *, least: float = 0.3) -> Show:
    """Boxes with their class and score; the worst images beside a sample, average
    precision by class, and the curves at an IoU of 0.5 that it is the area of.

    least: the score in [0, 1] from which a box is shown; average precision counts lower
    ones as well.
    """
    check((0 <= least <= 1, f"least must be from 0 to 1, got {least}"))

    def sure(prediction: Arrays) -> np.ndarray:
        """The places of boxes that are shown, in falling order of their scores."""
        there = (prediction["classes"] >= 0) & (prediction["scores"] >= least)
        return np.flatnonzero(there)

    def words(prediction: Arrays) -> list[str]:
        lines = [
            f"{classes[prediction['classes'][i]]}  {prediction['scores'][i]:.1%}"
            for i in sure(prediction)
        ]
        return lines or ["nothing"]

    def values(prediction: Arrays) -> dict[str, Any]:
        return {
            "objects": [
                {
                    "class": classes[prediction["classes"][i]],
                    "number": int(prediction["classes"][i]),
                    "score": float(prediction["scores"][i]),
                    "box": [float(x) for x in prediction["boxes"][i]],
                }
                for i in sure(prediction)
            ]
        }

    def draw(example: Arrays, prediction: Arrays, **options: Any) -> np.ndarray:
        from jaxvision import visualise

        # The best ones last, so that they lie over the others.
        some = sure(prediction)[::-1]
        boxes = {name: prediction[name][some] for name in ("boxes", "scores")}
        numbers = prediction["classes"][some]
        return visualise.overlay(
            {"image": example["image"], **boxes, "classes": numbers},
            classes,
            **options,
        )

    def row(one: Shown) -> list[np.ndarray]:
        from jaxvision import visualise

        example = _as_seen(one)
        truth = {
            name: example[name]
            for name in ("image", "boxes", "classes", "crowd")
            if name in example
        }
        return [visualise.overlay(truth, classes), draw(example, one.prediction)]

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from jaxvision import visualise

        rows = {one.caption: row(one) for one in shown(galleries)}
        drawn = {
            "predictions.png": visualise.comparison(
                rows,
                ("what is there", "what was found"),
                title="The images that were hardest, and a sample",
            )
        }
        # A task of one's own may measure less.
        if "per_class_ap" in metrics:
            by_class = dict(zip(classes, metrics["per_class_ap"], strict=True))
            drawn["average_precision.png"] = visualise.shares_by_class(
                by_class, "average precision"
            )
        if "per_class_precision" in metrics:
            drawn["precision_recall.png"] = visualise.precision_recall(
                # The first is at a recall of 0.
                np.asarray(metrics["per_class_precision"])[:, 1:],
                dict(zip(classes, metrics["per_class_ap50"], strict=True)),
            )
        return drawn

    return Show(draw, words, figures, values)


def _as_seen(one: Shown) -> dict[str, np.ndarray]:
    """The example in the frame of its prediction."""
    example = dict(one.example)
    if "taken" in example:
        height, width = (int(example["canvas"].any(axis=1 - i).sum()) for i in (0, 1))
        example["image"] = whole(example["image"], example["taken"], height, width)
    elif not np.array_equal(example["boxes"], one.input["boxes"]):
        from jaxvision.visualise import style

        # A transform has moved the pixels: what came out of it, as bytes again.
        stored = example["image"]
        example = dict(one.input)
        example["image"] = style.as_bytes(example["image"], stored)
    return example
