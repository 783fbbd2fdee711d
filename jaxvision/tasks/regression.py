"""Regression: which numbers belong to the image?"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UsageError, check
from jaxvision.losses import squared_error
from jaxvision.metrics import regression as metrics
from jaxvision.recipes import TASKS
from jaxvision.tasks.explained import scores_of_classes
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Batch, Measure, Task


@TASKS.recorded
def regression(
    target: str | Callable[[Batch], jax.Array],
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    reads: Sequence[str] = (),
    loss: Callable[[jax.Array, jax.Array], jax.Array] = squared_error,
    unit: str = "",
    decimals: int = 3,
) -> Task:
    """The task of a model with `logits` [B,T] on batches with T numbers per example.

    The model learns numbers of about zero mean and unit variance, `(t - mean) / std`;
    predictions and metrics are in the unit of the targets.  The metrics of an
    evaluation are computed in float64 from all examples, see `metrics.regression`.

    Args:
      target: the name of an array of the batch, [B] or [B,T], or a function of the
        batch that returns one.
      mean, std: of the targets in training, one for all or one for each of the T.
      reads: the arrays that such a function looks at, see `Task.reads`.
      loss: of outputs and standardised targets, both [B,T], to [B], such as
        `losses.squared_error`, `absolute_error` or `huber`.
      unit: of the targets, for tables, such as `"px"` or `"°"`.
      decimals: digits after the point where errors are shown.
    """
    centre, scale = (
        np.reshape(each, (1, -1)).astype(np.float32) for each in (mean, std)
    )
    check(
        (bool(np.isfinite(centre).all()), f"mean must be finite, got {mean}"),
        (
            bool((np.isfinite(scale) & (scale > 0)).all()),
            f"std must be positive, got {std}",
        ),
    )

    def targets_of(batch: Batch) -> jax.Array:
        if callable(target):
            numbers = target(batch)
        elif target in batch:
            numbers = batch[target]
        else:
            raise UsageError(
                f"the batch has no array {target!r} to learn, only "
                f"{', '.join(sorted(batch))}: choose a target that the data have, or "
                "give a function that computes it"
            )
        return numbers.reshape(len(numbers), -1).astype(jnp.float32)

    def look(forward, batch: Batch):
        outputs, model_state = forward(batch["image"])
        found, true = outputs["logits"].astype(jnp.float32), targets_of(batch)
        check(
            (
                found.shape == true.shape,
                f"the model's logits are {found.shape}, and the targets are "
                f"{true.shape}: create the model with num_classes={true.shape[-1]}",
            ),
            (
                centre.size in (1, true.shape[-1])
                and scale.size in (1, true.shape[-1]),
                f"mean and std must be one number or {true.shape[-1]}, one for each "
                f"target, got {mean} and {std}",
            ),
        )
        mask = mask_of(batch)
        losses = jnp.where(mask, loss(found, (true - centre) / scale), 0)
        predicted = found * scale + centre
        errors = jnp.where(mask[:, None], predicted - true, 0)
        sums = {
            "loss": jnp.sum(losses),
            "absolute": jnp.sum(jnp.mean(jnp.abs(errors), axis=-1)),
            "squared": jnp.sum(jnp.mean(jnp.square(errors), axis=-1)),
            "count": jnp.sum(mask, dtype=jnp.int32),
        }
        return predicted, true, sums, model_state

    def train_loss(forward, batch: Batch, *, key):
        del key
        _, _, sums, model_state = look(forward, batch)
        return (sums["loss"], sums["count"]), (model_state, sums)

    def update(forward, batch: Batch, *, keys):
        del keys
        predicted, true, sums, _ = look(forward, batch)
        return sums, {"predicted": predicted, "true": true}

    def compute(sums, rows):
        count = max(int(sums["count"]), 1)
        found = {
            "loss": float(sums["loss"]) / count,
            "mae": float(sums["absolute"]) / count,
            "rmse": (float(sums["squared"]) / count) ** 0.5,
        }
        return found | (
            metrics.compute(rows["predicted"], rows["true"]) if rows else {}
        )

    def predict(forward, batch: Batch, *, keys):
        del keys
        outputs, _ = forward(batch["image"])
        return {"numbers": outputs["logits"].astype(jnp.float32) * scale + centre}

    def difficulty(batch: Batch, predictions):
        # In standard deviations, so that no number counts more for its unit.
        errors = (predictions["numbers"] - targets_of(batch)) / scale
        return jnp.max(jnp.abs(errors), axis=-1)

    return Task(
        loss=train_loss,
        update=update,
        compute=compute,
        measures=(
            Measure("mae", unit, "lower", decimals),
            Measure("loss", better="lower"),
            Measure("rmse", unit, "lower", decimals),
            Measure("r2", "", "higher", 3),
        ),
        predict=predict,
        difficulty=difficulty,
        reads=(target,) if isinstance(target, str) else reads,
        explained=scores_of_classes(lambda numbers: numbers * scale + centre),
    )
