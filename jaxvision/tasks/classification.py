"""Single-label classification: which one of C classes does the image show?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import check
from jaxvision.losses import cross_entropy
from jaxvision.metrics import classification as metrics
from jaxvision.recipes import TASKS
from jaxvision.tasks.explained import scores_of_classes
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Batch, Measure, Task


@TASKS.recorded
def classification(
    num_classes: int,
    *,
    loss: Callable[[jax.Array, jax.Array], jax.Array] = cross_entropy,
    label_smoothing: float = 0.0,
    top_k: int = 5,
    calibration_bins: int = 15,
) -> Task:
    """The task of a model with `logits` [B,num_classes] on batches with `label` [B].

    Where augmentation mixed examples, `target` [B,num_classes] is what is learned; the
    accuracy of the training log is then that of `label`, the class of the greater part.

    Args:
      num_classes: C; labels are in [0, C).
      loss: of logits and targets, both [B,C], to [B], as in `jaxvision.losses`.
      label_smoothing: ε in [0, 1): the targets in training are (1-ε)·t + ε/C,
        where t is one-hot or `target` (Szegedy et al. 2016,
        https://arxiv.org/abs/1512.00567, section 7).  The loss of an evaluation is that
        of the true labels.
      top_k: also measure whether the label is among the k best, where k < C.
      calibration_bins: M of the expected calibration error.
    """
    check(
        (num_classes >= 2, f"num_classes must be at least 2, got {num_classes}"),
        (
            0 <= label_smoothing < 1,
            f"label_smoothing must be in [0, 1), got {label_smoothing}",
        ),
        (top_k >= 1, f"top_k must be at least 1, got {top_k}"),
        (
            calibration_bins >= 1,
            f"calibration_bins must be at least 1, got {calibration_bins}",
        ),
    )

    def train_loss(forward, batch: Batch, *, key):
        del key
        outputs, model_state = forward(batch["image"])
        logits, labels = outputs["logits"], batch["label"]
        targets = batch.get("target", jax.nn.one_hot(labels, num_classes))
        check(
            (
                targets.shape == logits.shape,
                f"targets must be {logits.shape}, a share for each class, got "
                f"{targets.shape}: give mixup and CutMix the task's num_classes",
            )
        )
        losses = loss(logits, optax.smooth_labels(targets, label_smoothing))
        sums = metrics.loss_and_accuracy(logits, labels, losses, mask_of(batch))
        return (sums["loss"], sums["count"]), (model_state, sums)

    def update(forward, batch: Batch, *, keys):
        del keys
        outputs, _ = forward(batch["image"])
        logits, labels, mask = outputs["logits"], batch["label"], mask_of(batch)
        losses = loss(logits, jax.nn.one_hot(labels, num_classes))
        sums = metrics.loss_and_accuracy(logits, labels, losses, mask)
        sums["confusion"] = metrics.confusion(logits, labels, mask)
        sums["calibration"] = metrics.calibration(
            logits, labels, mask, calibration_bins
        )
        if 1 < top_k < num_classes:
            correct = metrics.top_k_correct(logits, labels, mask, top_k)
            sums["top_k"] = {str(top_k): correct}
        return sums, {}

    def predict(forward, batch: Batch, *, keys):
        del keys
        outputs, _ = forward(batch["image"])
        return {"probabilities": jax.nn.softmax(outputs["logits"])}

    def difficulty(batch: Batch, predictions):
        # The most confident mistakes first, the most confident correct answers last.
        confidence = jnp.max(predictions["probabilities"], axis=-1)
        predicted = jnp.argmax(predictions["probabilities"], axis=-1)
        correct = predicted == batch["label"]
        return jnp.where(correct, 1 - confidence, 1 + confidence)

    top = [Measure(f"top{top_k}_accuracy", "%", "higher", 2)]
    return Task(
        loss=train_loss,
        update=update,
        compute=lambda sums, rows: metrics.compute(sums),
        measures=(
            Measure("accuracy", "%", "higher", 2),
            Measure("loss", better="lower"),
            *(top if 1 < top_k < num_classes else []),
            Measure("calibration_error", "%", "lower", 2),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=("label",),
        explained=scores_of_classes(jax.nn.softmax),
    )
