"""How the predictions of `tasks.detection` are shown."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision import run_lengths
from jaxvision.errors import check
from jaxvision.metrics import tide
from jaxvision.recipes import SHOWS
from jaxvision.types import Galleries, Pictured, Show
from jaxvision.visualise.galleries import shown
from jaxvision.visualise.judged_boxes import (
    Judged,
    Limbs,
    false_alarms,
    judged,
    misses,
    shapes,
)
from jaxvision.visualise.png import encoded

Arrays = Mapping[str, np.ndarray]

FEW = 6
"""Boxes of an image up to which each is written at; of more, mistakes alone are."""

KINDS = {"": "", "mask_": " of masks", "keypoint_": " of keypoints"}
"""What average precision is of, as metrics begin and in words."""

MISTAKES = 8
"""Misses, and false alarms, that a picture has room for."""


@SHOWS.recorded
def detection(
    classes: Sequence[str],
    *,
    least: float = 0.3,
    keypoints: Sequence[str] = (),
    limbs: Limbs = (),
) -> Show:
    """Boxes with their class and score, and masks and keypoints where a network finds
    them; the worst images beside a sample, the worst misses and false alarms in them,
    average precision by class, the curves at an IoU of 0.5 that it is the area of, and
    what each kind of mistake costs.  Files are pictures with boxes, and all that was
    found as COCO has it, masks in run lengths.

    Args:
      least: the score in [0, 1] from which a box is shown; average precision counts
        lower ones as well, and so does COCO's file.
      keypoints: their names, which COCO's file says.
      limbs: pairs of them that are joined, counted from 0.
    """
    check(
        (0 <= least <= 1, f"least must be from 0 to 1, got {least}"),
        (
            all(0 <= k < len(keypoints) for limb in limbs for k in limb),
            f"limbs must be pairs of the {len(keypoints)} keypoints, got {[*limbs]}",
        ),
    )

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
                    **(
                        {"keypoints": prediction["keypoints"][i].tolist()}
                        if "keypoints" in prediction
                        else {}
                    ),
                }
                for i in sure(prediction)
            ]
        }

    def draw(example: Arrays, prediction: Arrays, **options: Any) -> np.ndarray:
        from jaxvision import visualise

        # The best ones last, so that they lie over the others.
        some = sure(prediction)[::-1]
        chosen = {name: prediction[name][some] for name in ("boxes", "classes")}
        notes = [
            f"{classes[k]} {score:.2f}"
            for k, score in zip(
                chosen["classes"], prediction["scores"][some], strict=True
            )
        ]
        image = example["image"]
        shown = {"image": image, **chosen, **shapes(prediction, some, image.shape[:2])}
        return visualise.overlay(shown, classes, notes=notes, limbs=limbs, **options)

    def files(example: Arrays, prediction: Arrays) -> dict[str, bytes]:
        longest = max(example["image"].shape[:2])
        return {"_boxes.png": encoded(draw(example, prediction, side=longest))}

    def together(pictures: Sequence[Pictured]) -> dict[str, bytes]:
        return {
            "predictions.json": json.dumps(
                _coco(pictures, classes, keypoints, limbs)
            ).encode()
        }

    def row(one: Judged) -> list[np.ndarray]:
        from jaxvision import visualise

        missed = ["missed" if each else "" for each in one.missed]
        notes = one.notes if len(one.notes) <= FEW else one.mistakes
        return [
            visualise.overlay(one.truth, classes, notes=missed, limbs=limbs),
            visualise.overlay(one.found, classes, notes=notes, limbs=limbs),
        ]

    def figures(galleries: Galleries, metrics: Mapping[str, Any]) -> dict[str, Any]:
        from jaxvision import visualise

        side_by_side = functools.partial(
            visualise.comparison,
            columns=("what is there", "what was found"),
            colours={name: visualise.class_colour(k) for k, name in enumerate(classes)},
            size=2.4,
        )
        examples = [judged(one, least) for one in shown(galleries)]
        drawn = {
            "predictions.png": side_by_side(
                {one.caption: row(one) for one in examples},
                title="The images that were hardest, and a sample, with score and IoU",
            )
        }
        closer = [
            *misses(examples, classes, limbs)[:MISTAKES],
            *false_alarms(examples, classes, limbs)[:MISTAKES],
        ]
        if closer:
            drawn["mistakes.png"] = side_by_side(
                {f"{i}: {words}": pair for i, (words, pair) in enumerate(closer, 1)},
                title="The largest objects that were missed, and the surest mistakes",
            )
        # A task of one's own may measure less.
        for kind, of in KINDS.items():
            if f"per_class_{kind}ap" in metrics:
                each = zip(classes, metrics[f"per_class_{kind}ap"], strict=True)
                drawn[f"{kind}average_precision.png"] = visualise.shares_by_class(
                    dict(each), f"average precision{of}"
                )
        if "per_class_precision" in metrics:
            drawn["precision_recall.png"] = visualise.precision_recall(
                # The first is at a recall of 0.
                np.asarray(metrics["per_class_precision"])[:, 1:],
                dict(zip(classes, metrics["per_class_ap50"], strict=True)),
            )
        if "mistakes" in metrics:
            kinds = zip(
                tide.KINDS, metrics["mistakes"], metrics["mistake_costs"], strict=True
            )
            costs = {f"{kind} ({count:,})": cost for kind, count, cost in kinds}
            drawn["errors.png"] = visualise.shares_by_class(
                costs, f"what mistakes cost: AP50 is {metrics['ap50']:.1%}"
            )
        return drawn

    return Show(draw, words, figures, values, files, together)


def _coco(
    pictures: Sequence[Pictured],
    classes: Sequence[str],
    keypoints: Sequence[str],
    limbs: Limbs,
) -> dict[str, Any]:
    """Numbers of images and categories are from 1 on, as COCO's are."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, (name, (height, width), prediction) in enumerate(pictures, 1):
        images.append({"id": i, "file_name": name, "width": width, "height": height})
        for place in np.flatnonzero(prediction["classes"] >= 0).tolist():
            left, top, right, bottom = map(float, prediction["boxes"][place])
            across, down = right - left, bottom - top
            annotations.append(
                _shape(prediction, place, (height, width), across * down)
                | {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": int(prediction["classes"][place]) + 1,
                    "bbox": [left, top, across, down],
                    "iscrowd": 0,
                    "score": float(prediction["scores"][place]),
                }
            )
    bones: dict[str, Any] = {}
    if keypoints:
        joined = [[a + 1, b + 1] for a, b in limbs]
        bones = {"keypoints": [*keypoints], "skeleton": joined}
    categories = [{"id": k, "name": name, **bones} for k, name in enumerate(classes, 1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def _shape(
    prediction: Arrays, place: int, size: tuple[int, int], area: float
) -> dict[str, Any]:
    """What COCO says of one besides its box: the area, that of its mask if it has
    one."""
    found: dict[str, Any] = {"area": area}
    for name, arrays in shapes(prediction, np.array([place]), size).items():
        if name == "instances":
            found["segmentation"] = run_lengths.encoded(arrays[0])
            found["area"] = int(arrays[0].sum())
        else:
            found["keypoints"] = arrays[0].astype(float).ravel().tolist()
            found["num_keypoints"] = len(arrays[0])
    return found
