"""Semantic segmentation: which one of C classes does each pixel show?"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from jaxvision.errors import check, unknown
from jaxvision.losses import cross_entropy, of_maps
from jaxvision.losses.segmentation import MapLoss, PixelLoss
from jaxvision.metrics import segmentation as metrics
from jaxvision.ops.upsample import resize
from jaxvision.recipes import TASKS
from jaxvision.tasks.explained import scores_of_regions
from jaxvision.tasks.frames import in_original, sides
from jaxvision.tasks.mask import mask_of
from jaxvision.types import UNKNOWN, Array, Batch, Measure, Outputs, Task

LOGITS = MappingProxyType({"logits": 1.0})


@TASKS.recorded
def segmentation(
    num_classes: int,
    *,
    loss: PixelLoss | MapLoss = cross_entropy,
    outputs: Mapping[str, float] = LOGITS,
    boundary_tolerance: float | None = None,
) -> Task:
    """The task of a model with `logits` [B,H,W,C] on batches with `segmentation`.

    Pixels that are `types.UNKNOWN` count neither in the loss nor in any metric.  The
    metrics are of all pixels of all images together: the headline is the mean over
    classes of intersection over union, from one confusion matrix, as Pascal VOC defines
    it (Everingham et al. 2010, https://doi.org/10.1007/s11263-009-0275-4, section 4.4).

    Where a pipeline keeps the masks of the original images (`canvas` of
    `data.evaluation`), the scores are resized to these, and so are predictions.

    Args:
      num_classes: C; pixels are in [0, C) or `UNKNOWN`.
      loss: a mean over the pixels that count, of all images together: a function of
        logits and one-hot targets, both […,C], to […]; or one of those of
        `losses.segmentation`, such as `losses.dice()`, which say what they are the mean
        of.
      outputs: what of the model's outputs is trained, by name, and the weight of the
        loss of each: `{"logits": 1.0, "aux_logits": 0.4}` for an auxiliary head, or
        more for deep supervision.  Those that are smaller than the mask are resized to
        it.  Predictions, and the loss of an evaluation, are those of `logits`.
      boundary_tolerance: also measure the F1 of boundaries, where these may be so far
        apart: a share of the image's diagonal, such as 0.0075, or, from 1 on, pixels.
    """
    check(
        (
            2 <= num_classes <= UNKNOWN,
            f"num_classes must be in 2 … {UNKNOWN}, got {num_classes}",
        ),
        (len(outputs) > 0, "outputs must name one or more outputs of the model"),
        *(
            (weight > 0, f"the weight of {name} must be positive, got {weight}")
            for name, weight in outputs.items()
        ),
        (
            boundary_tolerance is None or 0 < boundary_tolerance < math.inf,
            "boundary_tolerance must be a share of the diagonal or a number of pixels, "
            f"got {boundary_tolerance}",
        ),
    )
    of_map = of_maps(loss)

    def labels_of(batch: Batch) -> tuple[Array, Array]:
        """Labels, and which pixels count."""
        labels = batch["segmentation"].astype(jnp.int32)
        return labels, (labels != UNKNOWN) & mask_of(batch)[:, None, None]

    def check_size(logits: Array, labels: Array) -> None:
        check(
            (
                logits.shape == (*labels.shape, num_classes),
                f"the model's logits are {logits.shape}, and the masks want "
                f"{(*labels.shape, num_classes)}: a score of {num_classes} classes for "
                "each pixel",
            )
        )

    def train_loss(forward, batch: Batch, *, key):
        del key
        found, model_state = forward(batch["image"])
        labels, counts = labels_of(batch)
        check_size(found["logits"], labels)
        terms = {
            name: of_map.terms(_scores(found, name, labels), labels, counts)
            for name in outputs
        }
        if tuple(outputs.items()) == tuple(LOGITS.items()):
            total, weight = terms["logits"]
        else:
            total = {
                name: jax.tree.map(lambda t, w=outputs[name]: w * t, each)
                for name, (each, _) in terms.items()
            }
            weight = {name: each for name, (_, each) in terms.items()}
        correct = (jnp.argmax(found["logits"], axis=-1) == labels) & counts
        # In floating point, since an epoch may have more pixels than int32 can count.
        sums = {
            "loss": total,
            "weight": weight,
            "pixels": jnp.sum(counts, dtype=jnp.int32).astype(jnp.float32),
            "correct": jnp.sum(correct, dtype=jnp.int32).astype(jnp.float32),
        }
        return (total, weight), (model_state, sums)

    def scores(forward, batch: Batch) -> Array:
        found, _ = forward(batch["image"])
        return in_original(found["logits"], batch)

    def update(forward, batch: Batch, *, keys):
        del keys
        logits = scores(forward, batch)
        labels, counts = labels_of(batch)
        check_size(logits, labels)
        predicted = jnp.argmax(logits, axis=-1)
        total, weight = of_map.terms(logits, labels, counts)
        sums = {
            "loss": total,
            "weight": weight,
            "confusion": metrics.confusion(predicted, labels, counts, num_classes),
        }
        if boundary_tolerance is None:
            return sums, {}
        tolerance = jnp.full(len(labels), boundary_tolerance, jnp.float32)
        reach = boundary_tolerance
        if boundary_tolerance < 1:
            reach *= math.hypot(*labels.shape[1:])
            tolerance *= jnp.hypot(*sides(batch).T)
        return sums, {
            "boundaries": metrics.boundaries(
                predicted, labels, counts, num_classes, tolerance, reach
            )
        }

    def predict(forward, batch: Batch, *, keys):
        del keys
        return {
            "segmentation": jnp.argmax(scores(forward, batch), -1).astype(jnp.uint8)
        }

    def difficulty(batch: Batch, predictions):
        counts = batch["segmentation"] != UNKNOWN
        wrong = counts & (batch["segmentation"] != predictions["segmentation"])
        pixels = jnp.sum(counts, axis=(1, 2), dtype=jnp.float32)
        return jnp.sum(wrong, axis=(1, 2), dtype=jnp.float32) / jnp.maximum(pixels, 1)

    boundary = [Measure("boundary_f1", "%", "higher", 2)]
    return Task(
        loss=train_loss,
        update=update,
        compute=metrics.compute,
        measures=(
            Measure("mean_iou", "%", "higher", 2),
            Measure("loss", better="lower"),
            Measure("pixel_accuracy", "%", "higher", 2),
            Measure("mean_accuracy", "%", "higher", 2),
            Measure("mean_dice", "%", "higher", 2),
            *(boundary if boundary_tolerance is not None else []),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=("segmentation",),
        explained=scores_of_regions(),
    )


def _scores(found: Outputs, name: str, labels: Array) -> Array:
    """An output of the model for each pixel of the masks [B,H,W]."""
    if name not in found:
        raise unknown("output of the model", name, found)
    scores, size = found[name], labels.shape[1:]
    if scores.shape[1:3] == size:
        return scores
    smaller = all(a <= b for a, b in zip(scores.shape[1:3], size, strict=True))
    check(
        (
            scores.ndim == 4 and smaller,
            f"the model's {name} is {scores.shape}, and the masks are {labels.shape}: "
            "only what is smaller is resized",
        )
    )
    return resize(scores, size)
