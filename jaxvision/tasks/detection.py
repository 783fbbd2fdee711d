"""Detection: which objects of K classes are in the image, and where?"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.metrics import coco, tide, voc
from jaxvision.metrics import detection as metrics
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.recipes import TASKS
from jaxvision.tasks import frames
from jaxvision.tasks.detectors import Detector, Objects, fit_of_anchors
from jaxvision.tasks.detectors.detector import joined
from jaxvision.tasks.explained import scores_of_objects
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Array, Batch, Measure, Outputs, Task

HIT = 0.5
"""The IoU from which a box counts as one of an object when the difficulty of an image
is judged."""

Rule = Literal["coco", "area", "11 points"]
"""Of average precision: COCO's, or one of VOC's (`metrics.voc`)."""


@TASKS.recorded
def detection(num_classes: int, detector: Detector, *, rule: Rule = "coco") -> Task:
    """The task of a model with `class_logits` [B,A,…] and `box_codes` [B,A,4].

    Batches have `boxes` [B,M,4] and `classes` [B,M].

    What surrounds the model is the `detector` that belongs to it, such as
    `tasks.retinanet()`.  Its losses are sums with their weights, so that the parts of
    an accumulated batch add up exactly.  Crowds are neither objects nor background;
    images without objects count.  The headline is COCO's average precision, of the
    boxes in the pixels of the batch's: those of the original images where a pipeline
    keeps them (`canvas` of `data.evaluation`).  Beside it stand, in the order of
    `metrics.tide.KINDS`, `mistakes` [6], how many there are of each kind, and
    `mistake_costs` [6], what they cost.

    Args:
      num_classes: K; the model has as many columns of `class_logits`, and one more with
        a detector to which the background is a class.
      detector: anchors, matching, losses and decoding.
      rule: `area` and `11 points` are VOC's, and make `voc_ap` the headline, which is
        at an IoU of 0.5.
    """
    check(
        (num_classes >= 1, f"num_classes must be at least 1, got {num_classes}"),
        (
            isinstance(detector, Detector),
            "detector must be a tasks.Detector, such as tasks.retinanet(), got "
            f"{detector!r}",
        ),
    )
    if rule not in get_args(Rule):
        raise unknown("rule of average precision", rule, get_args(Rule))

    def look(forward, batch: Batch):
        """The model's outputs, the anchors, and the model's state."""
        outputs, model_state = forward(batch["image"])
        levels = detector.levels(outputs, batch["image"].shape[1:3])
        columns, wanted = (
            outputs["class_logits"].shape[-1],
            num_classes + detector.background,
        )
        check(
            (
                columns == wanted,
                f"the model has scores of {columns} classes, and {num_classes} classes "
                f"want {wanted}: create the model with num_classes={wanted}",
            )
        )
        return outputs, levels, model_state

    def terms(outputs: Outputs, levels, batch: Batch, step: Array):
        """Totals and weights by name, of the images that count."""
        boxes = frames.boxes_as_seen(batch["boxes"], batch)
        crowd = batch.get("crowd")
        objects = Objects(
            boxes,
            jnp.maximum(batch["classes"], 0),
            matching.findable(batch["classes"], crowd),
        )

        def of_image(outputs, objects, crowd):
            matches = detector.match(outputs, levels, objects)
            if crowd is not None:
                references = joined(levels)
                inside = matching.in_crowd(references, objects.boxes, crowd)
                unclear = (matches == matching.BACKGROUND) & inside
                matches = jnp.where(unclear, matching.IGNORED, matches)
            return detector.losses(outputs, levels, objects, matches, step)

        totals, weights = jax.vmap(of_image)(outputs, objects, crowd)
        mask = mask_of(batch)
        if not isinstance(weights, Mapping):
            weights = dict.fromkeys(totals, weights)
        total, weight = (
            {name: jnp.sum(jnp.where(mask, each, 0)) for name, each in of.items()}
            for of in (totals, weights)
        )
        return total, weight

    def train_loss(forward, batch: Batch, *, key):
        del key
        outputs, levels, model_state = look(forward, batch)
        total, weight = terms(outputs, levels, batch, forward.step)
        return (total, weight), (model_state, {"total": total, "weight": weight})

    def found(outputs: Outputs, levels, batch: Batch) -> dict[str, Array]:
        """`boxes` [B,D,4], `scores` and `classes` [B,D], for the original images."""

        def of_image(outputs, frame):
            return detector.decode(outputs, levels, frame)

        seen = jax.vmap(of_image)(outputs, frames.original_as_seen(batch))
        boxes = frames.boxes_in_original(seen.boxes, batch)
        boxes = jnp.where((seen.classes >= 0)[..., None], boxes, 0)
        return {"boxes": boxes, "scores": seen.scores, "classes": seen.classes}

    def update(forward, batch: Batch, *, keys):
        del keys
        outputs, levels, _ = look(forward, batch)
        total, weight = terms(outputs, levels, batch, forward.step)
        rows = metrics.rows(found(outputs, levels, batch), batch)
        return {"total": total, "weight": weight}, rows

    def compute(sums, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        means = {
            name: float(total / weight) if (weight := sums["weight"][name]) > 0 else 0.0
            for name, total in sums["total"].items()
        }
        measured: dict[str, Any] = {"loss": sum(means.values())}
        measured |= {f"{name}_loss": mean for name, mean in means.items()}
        if not rows:
            return measured
        of = metrics.from_rows(rows)
        measured |= coco.measure(of, num_classes)
        mistakes = tide.measure(of, num_classes)
        measured["mistakes"] = np.array([mistakes[f"{k}_errors"] for k in tide.KINDS])
        measured["mistake_costs"] = np.array(
            [mistakes[f"{k}_cost"] for k in tide.KINDS]
        )
        if rule != "coco":
            by_voc = voc.measure(of, num_classes, rule=rule)
            measured["voc_ap"] = by_voc["mean_ap"]
            measured["per_class_voc_ap"] = by_voc["per_class_ap"]
        return measured

    def advice(outputs: Outputs, batches: Sequence[Batch]) -> list[str]:
        return fit_of_anchors(detector, outputs, batches)

    def predict(forward, batch: Batch, *, keys):
        del keys
        outputs, levels, _ = look(forward, batch)
        boxes = found(outputs, levels, batch)
        return {**boxes, "valid": boxes["classes"] >= 0}

    def difficulty(batch: Batch, predictions):
        # Scores of boxes where nothing is, and what scores of objects lack to 1.
        crowd = batch.get("crowd", jnp.zeros_like(batch["classes"]))

        def of_image(boxes, classes, crowd, found):
            overlaps = box_ops.pairwise(box_ops.iou)(boxes, found["boxes"])
            same = classes[:, None] == found["classes"][None]
            hit = (overlaps >= HIT) & same & (classes >= 0)[:, None]
            scores = found["scores"]
            best = jnp.max(jnp.where(hit, scores[None], 0), axis=1)
            wanted = matching.findable(classes, crowd)
            excused = matching.in_crowd(found["boxes"], boxes, crowd)
            false = found["valid"] & ~jnp.any(hit, axis=0) & ~excused
            missing = jnp.sum(jnp.where(wanted, 1 - best, 0))
            return missing + jnp.sum(jnp.where(false, scores, 0))

        return jax.vmap(of_image)(
            batch["boxes"], batch["classes"], crowd, dict(predictions)
        )

    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_100")
    headline, *others = names if rule == "coco" else ("voc_ap", *names)
    return Task(
        loss=train_loss,
        update=update,
        compute=compute,
        measures=(
            Measure(headline, "%", "higher", 2),
            Measure("loss", better="lower"),
            *(Measure(name, "%", "higher", 2) for name in others),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=("boxes", "classes"),
        advice=advice,
        explained=scores_of_objects(detector),
    )
