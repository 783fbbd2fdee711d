"""Multi-label classification: which of C classes, any number, are in the image?"""

import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import check
from jaxvision.metrics import multilabel as metrics
from jaxvision.recipes import TASKS
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Batch, Measure, Task


@TASKS.recorded
def multilabel(num_classes: int, *, threshold: float = 0.5) -> Task:
    """The task of a model with `logits` [B,C] on batches with `presence` [B,C].

    Each class is a question of its own, answered by a logistic output; the loss is the
    mean of their cross-entropies over classes and examples.  The headline is the mean
    over classes of average precision, which needs the scores of all examples.

    Args:
      num_classes: C.
      threshold: the probability in (0, 1) from which a class counts as found.
    """
    check(
        (num_classes >= 1, f"num_classes must be at least 1, got {num_classes}"),
        (0 < threshold < 1, f"threshold must be in (0, 1), got {threshold}"),
    )

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
        entropies = optax.sigmoid_binary_cross_entropy(
            logits, presence.astype(logits.dtype)
        )
        losses = jnp.where(mask_of(batch), jnp.mean(entropies, axis=-1), 0)
        return logits, losses, model_state

    def train_loss(forward, batch: Batch, *, key):
        del key
        _, losses, model_state = look(forward, batch)
        count = jnp.sum(mask_of(batch), dtype=jnp.int32)
        sums = {"loss": jnp.sum(losses), "count": count}
        return (sums["loss"], count), (model_state, sums)

    def update(forward, batch: Batch, *, keys):
        del keys
        logits, losses, _ = look(forward, batch)
        sums = {
            "loss": jnp.sum(losses),
            "count": jnp.sum(mask_of(batch), dtype=jnp.int32),
        }
        return sums, {"scores": logits, "presence": batch["presence"]}

    def compute(sums, rows):
        found = {"loss": float(sums["loss"]) / max(int(sums["count"]), 1)}
        if rows:
            cut = float(jnp.log(threshold / (1 - threshold)))
            found |= metrics.compute(rows["scores"], rows["presence"], cut)
        return found

    def predict(forward, batch: Batch, *, keys):
        del keys
        outputs, _ = forward(batch["image"])
        return {"probabilities": jax.nn.sigmoid(outputs["logits"])}

    def difficulty(batch: Batch, predictions):
        # How far the worst of the answers is off.
        presence = batch["presence"].astype(jnp.float32)
        return jnp.max(jnp.abs(presence - predictions["probabilities"]), axis=-1)

    return Task(
        loss=train_loss,
        update=update,
        compute=compute,
        measures=(
            Measure("mean_ap", "%", "higher", 2),
            Measure("loss", better="lower"),
            Measure("f1_micro", "%", "higher", 2),
            Measure("f1_macro", "%", "higher", 2),
            Measure("exact_match", "%", "higher", 2),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=("presence",),
    )
