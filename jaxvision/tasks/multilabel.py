"""Multi-label classification: which of C classes, any number, are in the image?"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.losses import sigmoid_cross_entropy
from jaxvision.losses.multilabel import AnswerLoss
from jaxvision.metrics import multilabel as metrics
from jaxvision.recipes import TASKS
from jaxvision.tasks.explained import scores_of_classes
from jaxvision.tasks.mask import mask_of
from jaxvision.types import UNKNOWN, Batch, Measure, Task

Threshold = float | Sequence[float] | Literal["one", "each"]

START = 0.5
"""What a threshold is before it is chosen, and of a class that validation has not."""


@TASKS.recorded
def multilabel(
    num_classes: int,
    *,
    threshold: Threshold = START,
    loss: AnswerLoss = sigmoid_cross_entropy,
    class_weights: Sequence[float] | None = None,
) -> Task:
    """The task of a model with `logits` [B,C] on batches with `presence` [B,C].

    Each class is a question of its own, answered by a logistic output; the loss is the
    mean over all answers that are known, of all examples together.  `presence` is 0, 1,
    or `types.UNKNOWN` where the answer is not known: it then counts neither in the loss
    nor in any metric.  The headline is the mean over classes of average precision,
    which needs the scores of all examples.

    Args:
      num_classes: C.
      threshold: the probability in (0, 1) from which a class counts as found, or one
        for each class.  `"one"`: that with the highest F1 of all answers of the
        validation set, by the best checkpoint, which the test and predictions then
        use (`Task.tuned`); `"each"`: one for each class, by its own F1.  Until then,
        a set is measured with the best thresholds for itself, and predictions have 0.5.
      loss: of logits and targets, both [B,C], to [B,C], such as `losses.asymmetric()`
        or `losses.positive_weighted(…)`.
      class_weights: how much the answers about each class count in the mean, such as
        `losses.class_balanced` makes them.
    """
    chosen_later = isinstance(threshold, str) and threshold in ("one", "each")
    given = np.full(1, START) if chosen_later else np.atleast_1d(threshold)
    weights = np.ones(num_classes) if class_weights is None else class_weights
    weights = np.asarray(weights, np.float32)
    check(
        (num_classes >= 1, f"num_classes must be at least 1, got {num_classes}"),
        (
            given.dtype.kind in "fi"
            and given.shape in ((1,), (num_classes,))
            and bool(((given > 0) & (given < 1)).all()),
            f"threshold must be in (0, 1), or {num_classes} such numbers, or 'one' or "
            f"'each', got {threshold}",
        ),
        (
            weights.shape == (num_classes,)
            and bool((np.isfinite(weights) & (weights >= 0)).all())
            and bool(weights.any()),
            f"class_weights must be {num_classes} numbers that are not negative and "
            f"not all 0, got {class_weights}",
        ),
    )
    cuts = np.log(given / (1 - given))

    def look(forward, batch: Batch):
        outputs, model_state = forward(batch["image"])
        logits, presence = outputs["logits"], batch["presence"]
        check(
            (
                logits.shape == presence.shape,
                f"the model's logits are {logits.shape}, and `presence` is "
                f"{presence.shape}: create the model with num_classes={num_classes}",
            )
        )
        known = (presence != UNKNOWN) & mask_of(batch)[:, None]
        losses = loss(logits, presence.astype(logits.dtype))
        if class_weights is not None:
            losses = losses * weights[None].astype(losses.dtype)
        total = jnp.sum(jnp.mean(jnp.where(known, losses, 0), axis=-1))
        # An example of which all is known counts as one, to the bit.
        share = jnp.mean(jnp.where(known, weights[None], 0), axis=-1)
        share = jnp.where(jnp.all(known, axis=-1), float(weights.mean()), share)
        return logits, {"loss": total, "count": jnp.sum(share)}, model_state

    def train_loss(forward, batch: Batch, *, key):
        del key
        _, sums, model_state = look(forward, batch)
        return (sums["loss"], sums["count"]), (model_state, sums)

    def update(forward, batch: Batch, *, keys):
        del keys
        logits, sums, _ = look(forward, batch)
        return sums, {"scores": logits, "presence": batch["presence"]}

    def best(rows) -> list[float]:
        """Thresholds for these answers."""
        found = metrics.best_cuts(
            rows["scores"], rows["presence"], each=threshold == "each"
        )
        return [START if cut is None else _probability(cut) for cut in found]

    def compute(sums, rows):
        count = float(sums["count"])
        found: dict[str, Any] = {
            "loss": float(sums["loss"]) / count if count else float("nan")
        }
        if rows:
            used = np.array(best(rows)) if chosen_later else given
            answers = np.log(used / (1 - used))
            found |= metrics.compute(rows["scores"], rows["presence"], answers)
            if chosen_later or used.tolist() != [START]:
                found["threshold"] = used if len(used) > 1 else float(used[0])
        return found

    def tuned(sums, rows) -> Task:
        del sums
        chosen = best(rows)
        return multilabel(
            num_classes,
            threshold=chosen if threshold == "each" else chosen[0],
            loss=loss,
            class_weights=class_weights,
        )

    def predict(forward, batch: Batch, *, keys):
        del keys
        logits = forward(batch["image"])[0]["logits"]
        return {
            "probabilities": jax.nn.sigmoid(logits),
            "found": (logits >= cuts[None].astype(logits.dtype)).astype(jnp.uint8),
        }

    def difficulty(batch: Batch, predictions):
        # How far the worst of the answers is off.
        known = batch["presence"] != UNKNOWN
        presence = batch["presence"].astype(jnp.float32)
        off = jnp.abs(presence - predictions["probabilities"])
        return jnp.max(jnp.where(known, off, 0), axis=-1)

    return Task(
        loss=train_loss,
        update=update,
        compute=compute,
        measures=(
            Measure("mean_ap", "%", "higher", 2),
            Measure("loss", better="lower"),
            Measure("micro_ap", "%", "higher", 2),
            Measure("f1_micro", "%", "higher", 2),
            Measure("f1_macro", "%", "higher", 2),
            Measure("exact_match", "%", "higher", 2),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=("presence",),
        tuned=tuned if chosen_later else None,
        explained=scores_of_classes(jax.nn.sigmoid),
    )


def _probability(score: float) -> float:
    """Of a logit, and so far inside of (0, 1) that it is another number than these."""
    return min(max(1 / (1 + math.exp(-max(score, -700))), 1e-300), 1 - 2**-53)
