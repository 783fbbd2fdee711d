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

Measured, one seed, in twelve minutes of a core: 68.6 % average precision, and 92.6 of a
hundred at an IoU of 0.5.
"""

import functools
from dataclasses import dataclass

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.data.proposals import with_proposals
from jaxvision.errors import check
from jaxvision.models.region_classifier import RegionClassifier
from jaxvision.ops.augment import normalise
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config:
    dataset: str = "scenes:64x64x3:1024:512:apart"
    """Any set of colour images of one size with boxes."""
    encoder: str = "resnet20"
    """The classifier that looks at regions."""
    stride: int = 4
    """Of its map that is averaged: in pixels of a region, for one of the map."""
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
    classes = train.class_names
    prepare = normalise(*models.normalisation(config.encoder))
    detector = tasks.fast_rcnn(levels=1, regions=config.regions)
    model = models.from_linen(
        RegionClassifier(
            encoder=config.encoder,
            num_classes=len(classes) + detector.background,
            side=config.side,
            stride=config.stride,
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
