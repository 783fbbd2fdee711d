"""R-CNN: selective search proposes regions, and a classifier looks at each by itself.

    images → selective search: boxes → each cut out, a margin with it, and warped to one
           size → classifier → class and box

Girshick et al. 2014, https://arxiv.org/abs/1311.2524

    python -m experiments.scenes_rcnn                           (drawn scenes, offline)

The detector that Fast R-CNN made faster, which computes maps once and cuts regions out
of these (`tasks.fast_rcnn`): the same proposals, sampling, losses and decoding serve
here, and only where regions are cut differs.  As there, and not as in the paper, the
classes are a softmax's instead of support vector machines', and boxes are learned at
the same time.  Proposals are made once, before the first step.

Measured: not yet.
"""

import functools
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.data.proposals import with_proposals
from jaxvision.errors import check
from jaxvision.layers.imagenet import MEAN, STD
from jaxvision.models.encoder import OnEncoder
from jaxvision.ops.augment import normalise
from jaxvision.ops.pooling import global_avg_pool
from jaxvision.ops.roi_align import roi_align
from jaxvision.runs import run
from jaxvision.types import Array, Experiment


@dataclass(frozen=True)
class Config:
    dataset: str = "scenes:64x64x3:1024:512:apart"
    """Any set of colour images of one size with boxes."""
    encoder: str = "resnet20"
    """The classifier that looks at regions: one with maps of a quarter of a side."""
    side: int = 24
    """Of a region that the classifier sees, in pixels."""
    margin: float = 1.2
    """By how much regions are enlarged before they are cut out; 1: not at all."""
    proposals: int = 100
    """Of an image at most, the largest regions first."""
    regions: int = 32
    """Of an image that teach, at most."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the set
    declares no validation split."""
    epochs: float = 12
    """Passes over the training images."""
    batch_size: int = 8
    """Images per step, over all devices."""
    peak_lr: float = 2e-3
    """Highest learning rate of AdamW, in a one-cycle schedule."""
    weight_decay: float = 1e-2
    """Shrinks the kernels, but neither biases nor norms."""
    validations: int = 4
    """How often the validation split is measured."""
    seed: int = 0
    """Decides the initial weights, the order of the images and the regions drawn."""


class RCNN(OnEncoder):
    """Outputs: `level1`, the images, of which the entry `boxes` takes regions."""

    side: int = 24
    margin: float = 1.0

    def __call__(self, images: Array, *, train: bool) -> dict[str, Array]:
        if self.is_initializing():  # all parameters are made here
            self.boxes(jnp.ones((1, 1, 4)), images[:1], train=train)
        return {"level1": images}

    @nn.compact
    def boxes(self, boxes: Array, images: Array, *, train: bool) -> dict[str, Array]:
        """`class_logits` [B,R,num_classes], whose first column is the background, and
        `box_codes` [B,R,num_classes,4], of boxes [B,R,4] in pixels of the images."""
        cut = functools.partial(roi_align, size=(self.side, self.side), scale=1.0)
        regions = jax.vmap(cut)(images, enlarged(boxes, self.margin))
        regions = regions.reshape(-1, *regions.shape[2:])
        (seen,) = self._encode(regions, (4,), train=train).values()
        features = global_avg_pool(seen)
        scores = nn.Dense(self.num_classes, name="cls_score")(features)
        codes = nn.Dense(4 * self.num_classes, name="bbox_pred")(features)
        count = boxes.shape[:2]
        return {
            "class_logits": scores.reshape(*count, self.num_classes),
            "box_codes": codes.reshape(*count, self.num_classes, 4),
        }


def enlarged(boxes: Array, factor: float) -> Array:
    """Boxes [...,4] about their centres."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = factor * (boxes[..., 2:] - boxes[..., :2]) / 2
    return jnp.concatenate([centre - half, centre + half], axis=-1)


def build(config: Config) -> Experiment:
    check(
        (config.validations >= 1, "--validations must be 1 or more"),
        (config.margin >= 1, f"--margin must be 1 or more, got {config.margin}"),
    )
    splits = data.load(config.dataset)
    parts = data.train_and_validation(splits, config.validation)
    train, validation, test = (
        with_proposals(part, config.proposals, scale=30, least=8)
        for part in (*parts, splits.test)
    )
    classes, prepare = train.class_names, normalise(MEAN, STD)
    detector = tasks.fast_rcnn(levels=1, regions=config.regions)
    model = models.from_linen(
        RCNN(
            encoder=config.encoder,
            num_classes=len(classes) + detector.background,
            side=config.side,
            margin=config.margin,
        )
    )
    train_data = data.train(
        train, config.batch_size, transform=prepare, seed=config.seed
    )
    evaluation = functools.partial(
        data.evaluation, batch_size=config.batch_size, transform=prepare
    )
    steps = train_data.steps(config.epochs)
    every = max(1, steps // config.validations)
    return Experiment(
        model=model,
        task=tasks.detection(len(classes), detector),
        optimizer=optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            weight_decay=config.weight_decay,
            clip=10.0,
        ),
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(test),
        steps=steps,
        seed=config.seed,
        log_every=every,
        eval_every=every,
        classes=classes,
        show=visualise.detection,
    )


if __name__ == "__main__":
    smoke = dict(
        dataset="scenes:32x32x3:32:16:apart",
        side=16,
        proposals=16,
        regions=8,
        validation=0.25,
        epochs=2,
        validations=1,
    )
    run(build, Config, smoke=smoke)
