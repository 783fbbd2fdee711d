"""Detection: which objects of K classes are in the image, and where?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.errors import check, unknown
from jaxvision.metrics import coco, tide, voc
from jaxvision.metrics import detection as metrics
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.recipes import TASKS
from jaxvision.skeletons import PERSON, check_sigmas
from jaxvision.tasks import frames
from jaxvision.tasks.detectors import Detector, Objects, fit_of_anchors
from jaxvision.tasks.detectors.detector import (
    RegionHead,
    Regions,
    joined,
    of_heads,
    without_crowds,
)
from jaxvision.tasks.detectors.region_blocks import in_blocks, joined_blocks
from jaxvision.tasks.explained import scores_of_objects
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Array, Batch, Measure, Outputs, Task

HIT = 0.5
"""The IoU from which a box counts as one of an object when the difficulty of an image
is judged."""

Rule = Literal["coco", "area", "11 points"]
"""Of average precision: COCO's, or one of VOC's (`metrics.voc`)."""


@TASKS.recorded
def detection(
    num_classes: int,
    detector: Detector,
    *,
    rule: Rule = "coco",
    sigmas: Sequence[float] = PERSON.sigmas,
) -> Task:
    """The task of a model with `class_logits` [B,A,…] and `box_codes` [B,A,4].

    Batches have `boxes` [B,M,4] and `classes` [B,M], and what the heads of the detector
    read beside them: `instances` for masks, `keypoints` for keypoints.  Predictions are
    `boxes` [B,D,4], `scores`, `classes` and `valid` [B,D], and of such heads `masks`
    [B,D,S,S], probabilities within the box, and `keypoints` [B,D,K,3], each x, y and 1
    where there is an object, with `keypoint_scores` [B,D,K], logits of their places.
    The average precision of these is the headline, `mask_ap` or `keypoint_ap`.

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
      sigmas: of each keypoint, see `skeletons.Skeleton`; those of COCO's people.
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

    def fits_classes(outputs: Outputs, name: str) -> None:
        columns, wanted = outputs[name].shape[-1], num_classes + detector.background
        check(
            (
                columns == wanted,
                f"the model has scores of {columns} classes, and {num_classes} classes "
                f"want {wanted}: create the model with num_classes={wanted}",
            )
        )

    def look(forward, batch: Batch):
        """The model's outputs, the anchors, and the model's state."""
        outputs, model_state = forward(batch["image"])
        levels = detector.levels(outputs, batch["image"].shape[1:3])
        if detector.given:
            outputs = {**outputs, detector.given: batch[detector.given]}
        if not detector.heads:
            fits_classes(outputs, "class_logits")
        return outputs, levels, model_state

    def ask(forward, head: RegionHead, boxes: Array, outputs: Outputs, model_state):
        """What a head says of boxes [B,R,4], and the model's state."""
        maps = [outputs[name] for name in detector.maps]
        said, model_state = forward(boxes, *maps, entry=head.entry, state=model_state)
        if head.of_classes is not None:
            fits_classes(said, head.of_classes)
        return said, model_state

    def decoded(decode, seen, batch: Batch):
        """The boxes of the first stage, where the network sees them; constants."""
        outputs, levels, _ = seen

        def of_image(outputs, frame):
            return decode(outputs, levels, frame)

        frame = frames.original_as_seen(batch)
        return jax.vmap(of_image)(lax.stop_gradient(outputs), frame)

    def terms(forward, seen, batch: Batch, keys: Array | None, proposed):
        """Totals and weights by name, of the images that count, and the model's state.

        Args:
          seen: what `look` returned.
          keys: [B], of what is drawn; None where nothing is.
          proposed: where there are heads, the boxes that they are asked about.
        """
        outputs, levels, model_state = seen
        objects = _objects(batch, annotations)
        mask = mask_of(batch)
        total: dict[str, Array] = {}
        weight: dict[str, Array] = {}

        def add(totals, weights):
            if not isinstance(weights, Mapping):
                weights = dict.fromkeys(totals, weights)
            for name, each in totals.items():
                total[name] = jnp.sum(jnp.where(mask, each, 0))
                weight[name] = jnp.sum(jnp.where(mask, weights[name], 0))

        def of_image(outputs, objects, key):
            matches = detector.match(outputs, levels, objects)
            matches = without_crowds(matches, joined(levels), objects)
            if detector.draw is not None:
                matches = detector.draw(key, matches)
            return detector.losses(outputs, levels, objects, matches, forward.step)

        add(*jax.vmap(of_image)(outputs, objects, keys))
        if detector.heads:
            there = proposed.classes >= 0
            matches = jnp.where(there, matching.BACKGROUND, matching.IGNORED)
            regions = Regions(proposed.boxes, matches)
        for number, head in enumerate(detector.heads, 1):
            assert keys is not None
            own = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            regions = jax.vmap(head.choose)(own, regions, objects)
            annotated = frames.boxes_in_original(regions.boxes, batch)
            regions = regions._replace(annotated=annotated)

            def of_regions(regions: Regions, there: Array, state, head=head):
                matches = jnp.where(there, regions.matches, matching.IGNORED)
                regions = regions._replace(matches=matches)
                boxes = jnp.where(there[..., None], regions.boxes, 0)
                said, state = ask(forward, head, boxes, outputs, state)
                return jax.vmap(head.losses)(said, regions, objects), state

            there = regions.matches != matching.IGNORED
            blocks, model_state = in_blocks(
                of_regions, regions, there, model_state, head.block
            )
            add(*jax.tree.map(lambda x: jnp.sum(x, axis=0), blocks))
        return total, weight, model_state

    def train_loss(forward, batch: Batch, *, key):
        keys = None if key is None else jax.random.split(key, len(batch["image"]))
        seen = look(forward, batch)
        proposed = None
        if detector.heads:
            proposed = decoded(detector.propose or detector.decode, seen, batch)
        total, weight, model_state = terms(forward, seen, batch, keys, proposed)
        return (total, weight), (model_state, {"total": total, "weight": weight})

    def found(forward, seen, batch: Batch, first) -> dict[str, Array]:
        """`boxes` [B,D,4], `scores` and `classes` [B,D], and what heads add to them,
        for the original images; `first` are the boxes of the first stage."""
        outputs, _, model_state = seen
        what = first._asdict()
        for head in detector.heads:

            def of_boxes(boxes: Array, there: Array, state, head=head):
                del there
                return ask(forward, head, boxes, outputs, state)

            boxes, there = what["boxes"], what["classes"] >= 0
            blocks, _ = in_blocks(of_boxes, boxes, there, model_state, head.block)
            said = joined_blocks(blocks, boxes.shape[1])
            frame = frames.original_as_seen(batch)
            what |= jax.vmap(head.decode)(said, what, frame)
        there = what["classes"] >= 0
        boxes = frames.boxes_in_original(what["boxes"], batch)
        what["boxes"] = jnp.where(there[..., None], boxes, 0)
        if "keypoints" in what:
            moved = _moved(frames.points_in_original, what["keypoints"], batch)
            what["keypoints"] = jnp.where(there[..., None, None], moved, 0)
        return what

    def update(forward, batch: Batch, *, keys):
        seen = look(forward, batch)
        first = decoded(detector.decode, seen, batch)
        total, weight, _ = terms(forward, seen, batch, keys, first)
        what = found(forward, seen, batch, first)
        if "keypoints" in what:
            check_sigmas(sigmas, what["keypoints"].shape[2])
        rows = metrics.rows(what, batch)
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
        measured |= coco.compute_others(rows, num_classes, sigmas=sigmas)
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

    annotations = of_heads(detector.heads)
    given = (detector.given,) if detector.given else ()

    def advice(outputs: Outputs, batches: Sequence[Batch]) -> list[str]:
        said = [] if detector.given else fit_of_anchors(detector, outputs, batches)
        return said + [
            words for head in detector.heads if (words := _untaught(head, batches))
        ]

    def predict(forward, batch: Batch, *, keys):
        del keys
        seen = look(forward, batch)
        what = found(forward, seen, batch, decoded(detector.decode, seen, batch))
        return {**what, "valid": what["classes"] >= 0}

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

    names: tuple[str, ...] = (
        "ap",
        "ap50",
        "ap75",
        "ap_small",
        "ap_medium",
        "ap_large",
        "ar_100",
    )
    if rule != "coco":
        names = ("voc_ap", *names)
    for prefix in filter(None, (head.measured for head in detector.heads)):
        names = (*(f"{prefix}_{name}" for name in ("ap", "ap50", "ap75")), *names)
    headline, *others = names
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
        reads=("boxes", "classes", *annotations, *given),
        advice=advice,
        explained=scores_of_objects(detector),
    )


def _untaught(head: RegionHead, batches: Sequence[Batch]) -> str:
    """How many objects lack what a head learns, in words; empty if none does."""
    if head.taught is None:
        return ""
    there = [np.asarray(batch["classes"]) >= 0 for batch in batches]
    pairs = zip(there, batches, strict=True)
    lacking = sum(int(np.sum(which & ~head.taught(batch))) for which, batch in pairs)
    objects, images = sum(map(np.sum, there)), sum(map(len, there))
    if not lacking:
        return ""
    return (
        f"{lacking:,} of {objects:,} objects in {images:,} training images have no "
        f"{head.entry}, of no pixel or not labelled: they teach boxes alone"
    )


def _objects(batch: Batch, annotations: Sequence[str]) -> Objects:
    """The objects of a batch where the network sees them, with what heads read."""
    more = {name: batch[name] for name in annotations}
    if "keypoints" in more:
        more["keypoints"] = _moved(frames.points_as_seen, more["keypoints"], batch)
    crowd = batch.get("crowd")
    return Objects(
        frames.boxes_as_seen(batch["boxes"], batch),
        jnp.maximum(batch["classes"], 0),
        matching.findable(batch["classes"], crowd),
        crowd,
        **more,
    )


def _moved(
    move: Callable[[Array, Batch], Array], keypoints: Array, batch: Batch
) -> Array:
    """Keypoints [B,M,K,3] at other places."""
    places = keypoints[..., :2].reshape(len(keypoints), -1, 2)
    places = move(places, batch).reshape(*keypoints.shape[:-1], 2)
    return jnp.concatenate([places, keypoints[..., 2:]], axis=-1)
