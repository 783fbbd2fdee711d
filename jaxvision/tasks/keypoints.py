"""Keypoints: where are the K named points of the object that the image shows?"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.metrics import landmarks as metrics
from jaxvision.metrics.landmarks import Norm
from jaxvision.recipes import TASKS
from jaxvision.skeletons import check_sigmas
from jaxvision.tasks import frames
from jaxvision.tasks.localisers import Localiser
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Array, Batch, Measure, Task

Headline = Literal["pck", "nme", "mean_error", "auc", "failure_rate", "ap"]

MEASURES = {
    measure.name: measure
    for measure in (
        Measure("pck", "%", "higher", 2),
        Measure("nme", "%", "lower", 2),
        Measure("mean_error", "px", "lower", 2),
        Measure("auc", "%", "higher", 2),
        Measure("failure_rate", "%", "lower", 2),
    )
}
BY_SIMILARITY = {
    name: Measure(name, "%", "higher", 2)
    for name in ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar_20")
}
"""What is measured besides where there are sigmas."""

_WHOLE = metrics.box()


@TASKS.recorded
def keypoints(
    count: int,
    localiser: Localiser,
    *,
    norm: Norm = _WHOLE,
    threshold: float = 0.2,
    failure: float = 0.08,
    sigmas: Sequence[float] | None = None,
    headline: Headline = "pck",
) -> Task:
    """The task of a model that finds `count` keypoints, on batches with `keypoints`
    [B,1,K,3]: one object for each image, or for each crop of one.

    How they are learned and found is the `localiser`'s, such as `tasks.heatmaps()`,
    `tasks.soft_argmax()` or `tasks.coordinates()`.  Keypoints that are not labelled do
    not count, and neither do objects without a labelled one.  The metrics of an
    evaluation are computed in float64 from all objects, see `metrics.landmarks`, in the
    pixels of the original images where a pipeline keeps these (`canvas`).

    Args:
      count: K.
      localiser: what surrounds the network.
      norm: the length of an object in which errors are measured, such as
        `metrics.landmarks.between(…)`; by default the longer side of its box.
      threshold: norms up to which a keypoint is found, for PCK.
      failure: norms beyond which an object is failed on, for the failure rate and AUC.
      sigmas: of each keypoint, as `Source.skeleton` has them, by which COCO's average
        precision is measured as well; the objects of an image are those with the same
        `origin`.
      headline: which metric comes first; `ap` needs sigmas.
    """
    check(
        (count >= 1, f"count of keypoints must be at least 1, got {count}"),
        (
            isinstance(localiser, Localiser),
            "localiser must be a tasks.Localiser, such as tasks.heatmaps(), got "
            f"{localiser!r}",
        ),
        (0 < threshold, f"threshold must be positive, got {threshold}"),
        (0 < failure, f"failure must be positive, got {failure}"),
    )
    measures = MEASURES | (BY_SIMILARITY if sigmas is not None else {})
    if headline not in measures:
        raise unknown("headline of keypoints", headline, measures)
    if sigmas is not None:
        check_sigmas(sigmas, count)

    def true_of(batch: Batch) -> Array:
        """[B,K,3], in the pixels of the batch."""
        found = batch["keypoints"]
        objects, number = found.shape[1:3]
        check(
            (
                objects == 1,
                f"the images have up to {objects} objects, and this task is of one: "
                "make each object an example of its own, as objects:NAME does for the "
                "set NAME",
            ),
            (
                number == count,
                f"the data have {number} keypoints, and the task {count}: create the "
                f"task with count={number}, and the model with as many",
            ),
        )
        return found[:, 0]

    def look(forward, batch: Batch):
        """What the localiser reads, and the model's state."""
        outputs, model_state = forward(batch["image"])
        if localiser.output not in outputs:
            raise unknown("output of the model", localiser.output, outputs)
        said = outputs[localiser.output]
        wanted = localiser.columns(count)
        check(
            (
                said.shape[-1] == wanted,
                f"the model's {localiser.output} are {list(said.shape)}, and {count} "
                f"keypoints want {wanted} in the last axis: create the model with "
                f"num_classes={wanted}",
            )
        )
        return said, model_state

    def size_of(batch: Batch) -> tuple[int, int]:
        height, width = batch["image"].shape[1:3]
        return height, width

    def terms(said: Array, batch: Batch) -> dict[str, Array]:
        true = true_of(batch)
        seen = frames.points_as_seen(true[..., :2], batch)
        seen = jnp.concatenate([seen, true[..., 2:]], axis=-1)
        totals, weights = localiser.losses(said, seen, size_of(batch))
        mask = mask_of(batch)
        return {
            "loss": jnp.sum(jnp.where(mask, totals, 0)),
            "weight": jnp.sum(jnp.where(mask, weights, 0)),
        }

    def found(said: Array, batch: Batch) -> tuple[Array, Array]:
        points, scores = localiser.decode(said, size_of(batch))
        return frames.points_in_original(points, batch), scores

    def train_loss(forward, batch: Batch, *, key):
        del key
        said, model_state = look(forward, batch)
        sums = terms(said, batch)
        return (sums["loss"], sums["weight"]), (model_state, sums)

    def update(forward, batch: Batch, *, keys):
        del keys
        said, _ = look(forward, batch)
        points, scores = found(said, batch)
        rows = {"found": points, "scores": scores, "true": true_of(batch)}
        if "boxes" in batch:
            rows["boxes"] = batch["boxes"][:, 0]
        if "origin" in batch:
            rows["origin"] = batch["origin"]
        if sigmas is not None and "instances" in batch:
            pixels = jnp.sum(batch["instances"][:, 0] > 0, (1, 2), dtype=jnp.int32)
            rows["area"] = pixels.astype(jnp.float32)
        return terms(said, batch), rows

    def compute(sums, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        weight = float(sums["weight"])
        measured = {"loss": float(sums["loss"]) / weight if weight > 0 else 0.0}
        if not rows:
            return measured
        true = np.asarray(rows["true"], np.float64)
        boxes = rows["boxes"] if "boxes" in rows else metrics.boxes_around(true)
        norms = norm(true, np.asarray(boxes, np.float64))
        measured |= metrics.measure(
            rows["found"], true, norms, threshold=threshold, failure=failure
        )
        if sigmas is not None:
            whole = {**rows, "boxes": boxes}
            measured |= metrics.average_precision(whole, sigmas)
        return measured

    def predict(forward, batch: Batch, *, keys):
        del keys
        said, _ = look(forward, batch)
        points, scores = found(said, batch)
        return {"points": points, "scores": scores}

    def difficulty(batch: Batch, predictions):
        # The mean error, relative to the extent of the labelled keypoints.
        true = true_of(batch)
        labelled = true[..., 2:] > 0
        low = jnp.min(jnp.where(labelled, true[..., :2], jnp.inf), axis=1)
        high = jnp.max(jnp.where(labelled, true[..., :2], -jnp.inf), axis=1)
        extent = jnp.maximum(jnp.max(high - low, axis=-1), 1)
        distances = jnp.linalg.norm(predictions["points"] - true[..., :2], axis=-1)
        number = jnp.sum(labelled[..., 0], axis=-1)
        total = jnp.sum(jnp.where(labelled[..., 0], distances, 0), axis=-1)
        mean = total / jnp.maximum(number, 1).astype(jnp.float32)
        return jnp.where(number > 0, mean / extent, 0)

    others = [measure for name, measure in measures.items() if name != headline]
    return Task(
        loss=train_loss,
        update=update,
        compute=compute,
        measures=(measures[headline], Measure("loss", better="lower"), *others),
        predict=predict,
        difficulty=difficulty,
        reads=("keypoints",),
    )
