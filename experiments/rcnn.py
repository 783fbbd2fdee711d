"""R-CNN: boxes from selective search, and a classifier for what each of them shows.

Girshick et al. 2014, https://arxiv.org/abs/1311.2524

    image → some hundred boxes by selective search → each cut out with some of what is
          around it, and warped to a square → a convolutional network → scores of the
          classes and of the background → boxes suppress others of their class

    python -m experiments.rcnn

The network is trained on boxes that are drawn anew for each step: a quarter overlaps an
object by an IoU of 0.5, which the objects' own boxes do, and the rest does not.  The
first metric is the paper's mean average precision at an IoU of 0.5; `proposed` says how
many of the objects have a proposal at all.

Departures: the network is trained from scratch, and its own scores are what counts, not
those of support vector machines after it; boxes stay as they were proposed (appendix C
of the paper moves them by a regression).

Measured: not yet.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import data, models, optim, visualise
from jaxvision.data.proposals import with_proposals
from jaxvision.measures import Measure
from jaxvision.metrics import detection as metrics
from jaxvision.metrics import voc
from jaxvision.ops import boxes as box_ops
from jaxvision.ops import matching
from jaxvision.ops.augment import normalise
from jaxvision.ops.resample import crop_and_resize
from jaxvision.runs import run
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Array, Batch, Experiment, Task

HIT = 0.5
"""The IoU from which a proposal shows an object."""
AROUND = 16 / 227
"""Of the side of a warped square, what is around the proposal, on each side."""


@dataclass(frozen=True)
class Config:
    dataset: str = "scenes:64x64x3:1000:200"
    """Any set of images of one size with boxes."""
    proposals: int = 100
    """Of an image at most, the largest regions first."""
    scale: float = 100.0
    """Of the regions that selective search begins with; larger values, larger ones."""
    model: str = "resnet20"
    """The classifier."""
    side: int = 32
    """Of the squares that proposals are warped to, in pixels."""
    drawn: int = 16
    """Boxes of an image that a step is of."""
    overlap: float = 0.3
    """The IoU above which a box suppresses others of its class."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 20
    """Passes over the training images."""
    batch_size: int = 8
    """Images per step, over all devices."""
    peak_lr: float = 2e-3
    """Highest learning rate of AdamW, which rises and falls once."""
    seed: int = 0
    """Decides the initial weights, the order of the images and the boxes drawn."""


def warped(images: Array, boxes: Array, side: int) -> Array:
    """Boxes [B,R,4] of images [B,H,W,C] with what is around them: [B·R,side,side,C]."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2 / (1 - 2 * AROUND)
    # Of padding, which has no area, a pixel is shown.
    half = jnp.maximum(half, 0.5)
    wide = jnp.concatenate([middle - half, middle + half], axis=-1)

    def of_each(boxes):
        return crop_and_resize(images, boxes, (side, side), fill=0.0)

    squares = jax.vmap(of_each, in_axes=1, out_axes=1)(wide)
    return squares.reshape(-1, *squares.shape[2:])


def rcnn(num_classes: int, config: Config) -> Task:
    """Find objects of K classes among the `proposals` [B,P,4] of a batch, by a model of
    images with K + 1 `logits`, of which the first is the background."""

    def look(forward, images: Array, boxes: Array):
        outputs, state = forward(warped(images, boxes, config.side))
        return outputs["logits"].reshape(*boxes.shape[:2], -1), state

    def matches_of(proposals: Array, boxes: Array, classes: Array) -> Array:
        """int32 [P]: the object of each proposal of an image."""
        overlaps = box_ops.pairwise(box_ops.iou)(boxes, proposals)
        overlaps = jnp.where((classes >= 0)[:, None], overlaps, 0)
        place = jnp.argmax(overlaps, axis=0).astype(jnp.int32)
        hit = jnp.max(overlaps, axis=0) >= HIT
        matches = jnp.where(hit, place, matching.BACKGROUND)
        there = jnp.any(proposals != 0, axis=-1)
        return jnp.where(there, matches, matching.IGNORED)

    def loss(forward, batch: Batch, *, key):
        def draw(key, proposals, boxes, classes):
            candidates = jnp.concatenate([boxes, proposals])
            matches = matches_of(candidates, boxes, classes)
            drawn = matching.balanced_sample(
                key, matches, size=config.drawn, share=0.25
            )
            labels = matching.gather(classes + 1, matches)[drawn.indices]
            return candidates[drawn.indices], labels, drawn.valid

        keys = jax.random.split(key, len(batch["image"]))
        boxes, labels, valid = jax.vmap(draw)(
            keys, batch["proposals"], batch["boxes"], batch["classes"]
        )
        logits, state = look(forward, batch["image"], boxes)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        total = jnp.sum(jnp.where(valid, entropy, 0))
        sums = {"loss": total, "count": jnp.sum(valid, dtype=jnp.int32)}
        return (total, sums["count"]), (state, sums)

    def found(logits: Array, proposals: Array) -> dict[str, Array]:
        """`boxes` [B,P,4], `scores` and `classes` [B,P]."""

        def of_image(logits, proposals):
            there = jnp.any(proposals != 0, axis=-1)[:, None]
            return box_ops.best_of_classes(
                jnp.where(there, jax.nn.softmax(logits)[:, 1:], 0),
                proposals,
                least=0.01,
                candidates=len(proposals),
                threshold=config.overlap,
                outputs=len(proposals),
            )

        return jax.vmap(of_image)(logits, proposals)._asdict()

    def update(forward, batch: Batch, *, keys):
        del keys
        proposals, classes = batch["proposals"], batch["classes"]
        logits, _ = look(forward, batch["image"], proposals)
        matches = jax.vmap(matches_of)(proposals, batch["boxes"], classes)
        labels = jax.vmap(matching.gather)(classes + 1, matches)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        mask, there = mask_of(batch)[:, None], classes >= 0
        looked_at = mask & (matches != matching.IGNORED)
        hit = jnp.any(jax.nn.one_hot(matches, classes.shape[1]) > 0, axis=1)
        counts = {
            "count": looked_at,
            "objects": mask & there,
            "proposed": mask & there & hit,
        }
        sums = {name: jnp.sum(x, dtype=jnp.int32) for name, x in counts.items()}
        sums["loss"] = jnp.sum(jnp.where(looked_at, entropy, 0))
        return sums, metrics.rows(found(logits, proposals), batch)

    def compute(sums, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        measured = {"loss": float(sums["loss"]) / max(int(sums["count"]), 1)}
        if not rows:
            return measured
        objects = max(int(sums["objects"]), 1)
        by_voc = voc.measure(metrics.from_rows(rows), num_classes, rule="11 points")
        return {
            **measured,
            "voc_ap": by_voc["mean_ap"],
            "per_class_voc_ap": by_voc["per_class_ap"],
            "proposed": int(sums["proposed"]) / objects,
        }

    def predict(forward, batch: Batch, *, keys):
        del keys
        proposals = batch["proposals"]
        logits, _ = look(forward, batch["image"], proposals)
        what = found(logits, proposals)
        return {**what, "valid": what["classes"] >= 0}

    return Task(
        loss=loss,
        update=update,
        compute=compute,
        measures=(
            Measure("voc_ap", "%", "higher", 2),
            Measure("proposed", "%", "higher", 1),
            Measure("loss", better="lower"),
        ),
        predict=predict,
        reads=("boxes", "classes", "proposals"),
        inputs=lambda batch: (
            warped(batch["image"], batch["proposals"][:, :1], config.side),
        ),
    )


def build(config: Config) -> Experiment:
    def proposed(source: data.Source) -> data.Source:
        return with_proposals(source, config.proposals, scale=config.scale)

    loaded = data.load(config.dataset)
    train, validation = data.train_and_validation(loaded, config.validation)
    classes = train.class_names
    prepare = normalise(0.5, 0.25)
    train_data = data.train(
        proposed(train), config.batch_size, transform=prepare, seed=config.seed
    )
    evaluation = functools.partial(data.evaluation, batch_size=8, transform=prepare)
    steps = train_data.steps(config.epochs)
    model = models.create(config.model, num_classes=len(classes) + 1)
    return Experiment(
        model=model,
        task=rcnn(len(classes), config),
        optimizer=optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            no_weight_decay=model.no_weight_decay,
        ),
        train=train_data,
        validation=evaluation(proposed(validation)),
        test=evaluation(proposed(loaded.test)),
        steps=steps,
        eval_every=max(steps // 10, 1),
        seed=config.seed,
        classes=classes,
        show=visualise.detection,
    )


if __name__ == "__main__":
    smoke = dict(dataset="scenes:64x64x3:48:16", epochs=1, proposals=20)
    run(build, Config, smoke=smoke)
