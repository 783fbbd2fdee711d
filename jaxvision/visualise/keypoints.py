"""How the predictions of `tasks.keypoints` are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.errors import check
from jaxvision.recipes import SHOWS
from jaxvision.types import Galleries, Show
from jaxvision.visualise.galleries import Shown, shown
from jaxvision.visualise.png import encoded

Arrays = Mapping[str, np.ndarray]

BARS = 40
"""Keypoints up to which each has a bar of its own; of more the worst have."""


@SHOWS.recorded
def keypoints(
    names: Sequence[str],
    *,
    limbs: Sequence[Sequence[int]] = (),
    least: float = 0.0,
) -> Show:
    """Found and true keypoints with limbs, the worst images first; the curve of errors,
    and the share of each keypoint that is found.  Files are pictures.

    Args:
      names: of the K keypoints.
      limbs: pairs of keypoints by their numbers.
      least: the score from which a found keypoint is drawn.
    """
    pairs = [(int(one), int(other)) for one, other in limbs]
    check(
        (
            all(0 <= end < len(names) for pair in pairs for end in pair),
            f"limbs are pairs of keypoints from 0 to {len(names) - 1}, got {pairs}",
        )
    )

    def words(prediction: Arrays) -> list[str]:
        return [
            f"{name}  {x:.1f}, {y:.1f}  {score:.2f}"
            for name, (x, y), score in zip(
                names, prediction["points"], prediction["scores"], strict=True
            )
        ]

    def values(prediction: Arrays) -> dict[str, Any]:
        return {
            "keypoints": {
                name: {"x": float(x), "y": float(y), "score": float(score)}
                for name, (x, y), score in zip(
                    names, prediction["points"], prediction["scores"], strict=True
                )
            }
        }

    def drawn(
        image: np.ndarray, points: np.ndarray, seen: np.ndarray, **options: Any
    ) -> np.ndarray:
        from jaxvision import visualise

        keypoints = np.concatenate([points, 2 * seen[:, None]], axis=-1)
        one = {
            "image": image,
            "classes": np.zeros(1, int),
            "keypoints": keypoints[None],
        }
        return visualise.overlay(one, ["object"], limbs=pairs, **options)

    def draw(example: Arrays, prediction: Arrays, **options: Any) -> np.ndarray:
        sure = prediction["scores"] >= least
        return drawn(example["image"], prediction["points"], sure, **options)

    def files(example: Arrays, prediction: Arrays) -> dict[str, bytes]:
        longest = max(example["image"].shape[:2])
        return {"_keypoints.png": encoded(draw(example, prediction, side=longest))}

    def row(one: Shown) -> list[np.ndarray]:
        image, true = one.example["image"], one.example["keypoints"][0]
        labelled = true[:, 2] > 0
        places = _as_seen(one, true[:, :2])
        found = _as_seen(one, one.prediction["points"])
        return [
            drawn(image, places, labelled),
            drawn(image, found, one.prediction["scores"] >= least),
        ]

    def pictures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from jaxvision import visualise

        figures = {
            "predictions.png": visualise.comparison(
                {one.caption: row(one) for one in shown(galleries)},
                ("true", "found"),
                title="The images with the largest errors, and a sample",
                size=2.2,
            )
        }
        # A task of one's own may measure less.
        if "per_keypoint_pck" in metrics:
            order = np.argsort(metrics["per_keypoint_pck"], kind="stable")[:BARS]
            shares = {
                names[k]: metrics["per_keypoint_pck"][k]
                for k in (order if len(names) > BARS else range(len(names)))
            }
            few = f", the {BARS} lowest of {len(names)}" if len(names) > BARS else ""
            figures["found_keypoints.png"] = visualise.shares_by_class(
                shares, f"share of keypoints that are found{few}"
            )
        if "error_curve" in metrics:
            curve = np.asarray(metrics["error_curve"])
            figures["error_curve.png"] = visualise.error_curve(
                curve, curve[0, -1] / 2, metrics["auc"], "mean error in norms"
            )
        return figures

    return Show(draw, words, pictures, values, files)


def _as_seen(one: Shown, points: np.ndarray) -> np.ndarray:
    """Points [K,2] of the example in the pixels of its image, of which the batch says
    what was taken where they belong to the original."""
    if "taken" not in one.example:
        return points
    taken = one.example["taken"]
    sides = np.array(one.example["image"].shape[1::-1])
    return (points - taken[:2]) * sides / (taken[2:] - taken[:2])
