"""How the predictions of `tasks.segmentation` are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.recipes import SHOWS
from jaxvision.types import UNKNOWN, Galleries, Show
from jaxvision.visualise.galleries import Shown, as_seen, shown
from jaxvision.visualise.png import encoded

Arrays = Mapping[str, np.ndarray]

_WRONG = (213, 94, 0)
"""RGB of pixels whose class is wrong: `style.VERMILION`."""


@SHOWS.recorded
def segmentation(classes: Sequence[str]) -> Show:
    """Masks over images; the worst beside a sample, the intersection over union of each
    class, and which classes are confused.  Files are masks of class numbers with a
    palette of the classes' colours, and overlays."""

    def shares(prediction: Arrays) -> list[tuple[int, float]]:
        counts = np.bincount(prediction["segmentation"].ravel(), minlength=len(classes))
        order = np.argsort(-counts[: len(classes)], kind="stable").tolist()
        return [(k, float(counts[k] / counts.sum())) for k in order if counts[k]]

    def words(prediction: Arrays) -> list[str]:
        return [f"{classes[k]}  {share:.1%}" for k, share in shares(prediction)]

    def values(prediction: Arrays) -> dict[str, Any]:
        return {
            "size": list(prediction["segmentation"].shape),
            "classes": [
                {"class": classes[k], "number": k, "share": share}
                for k, share in shares(prediction)
            ],
        }

    def draw(example: Arrays, prediction: Arrays, **options: Any) -> np.ndarray:
        from jaxvision import visualise

        shown = {"image": example["image"], "segmentation": prediction["segmentation"]}
        return visualise.overlay(shown, classes, **options)

    def files(example: Arrays, prediction: Arrays) -> dict[str, bytes]:
        longest = max(example["image"].shape[:2])
        return {
            ".png": _label_png(prediction["segmentation"], len(classes)),
            "_overlay.png": encoded(draw(example, prediction, side=longest)),
        }

    def row(one: Shown) -> list[np.ndarray]:
        """Image, truth, prediction, and where they differ."""
        example, prediction = _as_seen(one)
        truth = example["segmentation"]
        wrong = (truth != prediction["segmentation"]) & (truth != UNKNOWN)
        image = np.broadcast_to(example["image"], (*truth.shape, 3))
        return [
            image,
            draw(example, {"segmentation": truth}),
            draw(example, prediction),
            # Dark grey where it is right, so that mistakes show in dark images, too.
            np.where(wrong[..., None], _WRONG, image.mean(-1, keepdims=True) / 3)
            .round()
            .astype(np.uint8),
        ]

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from jaxvision import visualise

        rows = {
            f"{one.caption}, {1 - one.difficulty:.1%} right": row(one)
            for one in shown(galleries)
        }
        by_class = dict(zip(classes, metrics["per_class_iou"], strict=True))
        return {
            "predictions.png": visualise.comparison(
                rows,
                ("image", "truth", "prediction", "wrong"),
                colours={
                    name: visualise.class_colour(k) for k, name in enumerate(classes)
                },
                title="The images with most pixels wrong, and a sample",
            ),
            "iou.png": visualise.shares_by_class(by_class, "intersection over union"),
            "confusion.png": visualise.confusion(
                np.asarray(metrics["confusion"]), classes, of="pixel", shares=True
            ),
        }

    return Show(draw, words, figures, values, files)


def _as_seen(one: Shown) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The example in the frame of its prediction, and the prediction."""
    prediction = dict(one.prediction)
    size = one.example["image"].shape[:2]
    example = as_seen(one, moved=size != prediction["segmentation"].shape)
    if "taken" in example:
        height, width = example["image"].shape[:2]
        for maps in (example, prediction):
            maps["segmentation"] = maps["segmentation"][:height, :width]
    return example, prediction


def _label_png(labels: np.ndarray, classes: int) -> bytes:
    """The class of each pixel as an indexed PNG, in the colours of the classes."""
    from PIL import Image

    from jaxvision import visualise

    height, width = labels.shape
    picture = Image.frombytes("P", (width, height), labels.astype(np.uint8).tobytes())
    colours = [visualise.class_colour(k) for k in range(classes)]
    picture.putpalette([level for colour in colours for level in colour])
    return encoded(picture)
