"""How the predictions of `tasks.segmentation` are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.recipes import SHOWS
from jaxvision.types import UNKNOWN, Galleries, Gallery, Show

_SHOWN = 12
"""Examples of the worst, and of the sample."""


@SHOWS.recorded
def segmentation(classes: Sequence[str]) -> Show:
    """Masks over images; the worst beside a sample, and the confusion of classes."""

    def shares(prediction: Mapping[str, np.ndarray]) -> list[tuple[int, float]]:
        counts = np.bincount(prediction["segmentation"].ravel(), minlength=len(classes))
        order = np.argsort(-counts[: len(classes)], kind="stable").tolist()
        return [(k, float(counts[k] / counts.sum())) for k in order if counts[k]]

    def words(prediction: Mapping[str, np.ndarray]) -> list[str]:
        return [f"{classes[k]}  {share:.1%}" for k, share in shares(prediction)]

    def values(prediction: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {
            "size": list(prediction["segmentation"].shape),
            "classes": [
                {"class": classes[k], "number": k, "share": share}
                for k, share in shares(prediction)
            ],
        }

    def draw(example: Mapping[str, np.ndarray], prediction) -> np.ndarray:
        from jaxvision import visualise

        shown = {"image": example["image"], "segmentation": prediction["segmentation"]}
        return visualise.overlay(shown, classes)

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from jaxvision import visualise

        rows = {}
        for name, gallery in galleries._asdict().items():
            for i in range(min(_SHOWN, len(gallery.indices))):
                share = 1 - float(gallery.difficulty[i])
                key = f"{name} {i + 1}: image {gallery.indices[i]}, {share:.1%} right"
                rows[key] = _row(_as_seen(gallery, i), draw)
        return {
            "predictions.png": visualise.comparison(
                rows,
                ("image", "truth", "prediction", "wrong"),
                colours={
                    name: visualise.class_colour(k) for k, name in enumerate(classes)
                },
                title="The images with most pixels wrong, and a sample",
            ),
            "confusion.png": visualise.confusion(
                np.asarray(metrics["confusion"]), classes
            ),
        }

    return Show(draw, words, figures, values)


def _row(pair: tuple[dict, dict], draw) -> list[np.ndarray]:
    """Image, truth, prediction, and where they differ."""
    example, prediction = pair
    truth = example["segmentation"]
    wrong = (truth != prediction["segmentation"]) & (truth != UNKNOWN)
    image = np.broadcast_to(example["image"], (*example["image"].shape[:2], 3))
    return [
        image,
        draw(example, {"segmentation": truth}),
        draw(example, prediction),
        np.where(wrong[..., None], image, image // 6),
    ]


def _as_seen(gallery: Gallery, i: int) -> tuple[dict, dict]:
    """The i-th example in the frame of its prediction, and the prediction."""
    prediction = {name: array[i] for name, array in gallery.prediction.items()}
    size = prediction["segmentation"].shape
    example = {name: array[i] for name, array in gallery.example.items()}
    if example["image"].shape[:2] != size:
        from jaxvision.visualise import style

        # A transform has moved the pixels: what came out of it, as bytes again.
        stored = example["image"]
        example = {name: array[i] for name, array in gallery.input.items()}
        example["image"] = style.as_bytes(example["image"], stored)
    return example, prediction
