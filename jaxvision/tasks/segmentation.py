"""Semantic segmentation: which one of C classes does each pixel show?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.losses import cross_entropy
from jaxvision.metrics import segmentation as metrics
from jaxvision.recipes import TASKS
from jaxvision.tasks.mask import mask_of
from jaxvision.types import UNKNOWN, Batch, Measure, Task


@TASKS.recorded
def segmentation(
    num_classes: int,
    *,
    loss: Callable[[jax.Array, jax.Array], jax.Array] = cross_entropy,
) -> Task:
    """The task of a model with `logits` [B,H,W,C] on batches with `segmentation`.

    Pixels that are `types.UNKNOWN` count neither in the loss nor in any metric.  The
    loss is the mean over the pixels that count, of all images together, and so are the
    metrics: the headline is the mean over classes of intersection over union, from one
    confusion matrix of all pixels, as Pascal VOC defines it (Everingham et al. 2010,
    https://doi.org/10.1007/s11263-009-0275-4, section 4.4).

    Args:
      num_classes: C; pixels are in [0, C) or `UNKNOWN`.
      loss: of logits and one-hot targets, both […,C], to […].
    """
    check(
        (
            2 <= num_classes <= UNKNOWN,
            f"num_classes must be in 2 … {UNKNOWN}, got {num_classes}",
        )
    )

    def look(forward, batch: Batch):
        outputs, model_state = forward(batch["image"])
        logits = outputs["logits"]
        labels = batch["segmentation"].astype(jnp.int32)
        check(
            (
                logits.shape == (*labels.shape, num_classes),
                f"the model's logits are {logits.shape}, and the masks want "
                f"{(*labels.shape, num_classes)}: a score of {num_classes} classes for "
                "each pixel",
            )
        )
        counts = (labels != UNKNOWN) & mask_of(batch)[:, None, None]
        losses = loss(logits, jax.nn.one_hot(labels, num_classes, dtype=logits.dtype))
        return logits, labels, counts, jnp.where(counts, losses, 0), model_state

    def train_loss(forward, batch: Batch, *, key):
        del key
        logits, labels, counts, losses, model_state = look(forward, batch)
        total, weight = jnp.sum(losses), jnp.sum(counts, dtype=losses.dtype)
        correct = (jnp.argmax(logits, axis=-1) == labels) & counts
        # In floating point, since an epoch may have more pixels than int32 can count.
        sums = {
            "loss": total,
            "pixels": weight,
            "correct": jnp.sum(correct, dtype=losses.dtype),
        }
        return (total, weight), (model_state, sums)

    def update(forward, batch: Batch, *, keys):
        del keys
        logits, labels, counts, losses, _ = look(forward, batch)
        predicted = jnp.argmax(logits, axis=-1)
        return {
            "loss": jnp.sum(losses),
            "confusion": metrics.confusion(predicted, labels, counts, num_classes),
        }, {}

    def predict(forward, batch: Batch, *, keys):
        del keys
        outputs, _ = forward(batch["image"])
        return {
            "segmentation": jnp.argmax(outputs["logits"], axis=-1).astype(jnp.uint8)
        }

    def difficulty(batch: Batch, predictions):
        counts = batch["segmentation"] != UNKNOWN
        wrong = counts & (batch["segmentation"] != predictions["segmentation"])
        pixels = jnp.sum(counts, axis=(1, 2), dtype=jnp.float32)
        return jnp.sum(wrong, axis=(1, 2), dtype=jnp.float32) / jnp.maximum(pixels, 1)

    return Task(
        loss=train_loss,
        update=update,
        compute=lambda sums, rows: metrics.compute(sums),
        measures=(
            Measure("mean_iou", "%", "higher", 2),
            Measure("loss", better="lower"),
            Measure("pixel_accuracy", "%", "higher", 2),
            Measure("mean_accuracy", "%", "higher", 2),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=("segmentation",),
    )
