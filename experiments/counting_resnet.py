"""How many digits are in the image?  A small ResNet gives a number.

    python -m experiments.counting_resnet                      (drawn scenes, offline)
    python -m experiments.counting_resnet --dataset coco:PATH --crop 128 128

Any set with objects serves; crowds are not counted.  Another number of an image is
another function `count`, or the name of an array of the batch.

Measured, one seed, in twelve minutes of a core: a mean absolute error of 0.418 objects
on test scenes of one to six, in which digits hide each other (0.20 where there is one
digit, 0.61 where there are six).
"""

import functools
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from jaxvision import data, losses, models, optim, tasks, visualise
from jaxvision.ops.augment import normalise
from jaxvision.runs import run
from jaxvision.types import Array, Batch, Experiment

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

LOSSES = {
    "mse": losses.squared_error,
    "l1": losses.absolute_error,
    "huber": losses.huber,
}


@dataclass(frozen=True)
class Config:
    dataset: str = "scenes:64x64x3"
    """`scenes:HxWx3` (drawn, offline), or any set with objects."""
    crop: tuple[int, int] | None = None
    """Height and width in pixels that images are stretched to; None: as they are."""
    loss: Literal["mse", "l1", "huber"] = "huber"
    """Squared error, absolute error, or the first for small errors only."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 15
    """Passes over the training images."""
    batch_size: int = 64
    """Images per step, over all devices."""
    peak_lr: float = 2e-3
    """Highest learning rate of AdamW, in a one-cycle schedule."""
    weight_decay: float = 1e-2
    """Shrinks the kernels, not biases and norms."""
    seed: int = 0
    """Decides the initial weights and the order of the images."""


def count(batch: Batch) -> Array:
    """The number [B] of objects that are no crowds."""
    return jnp.sum((batch["classes"] >= 0) & (batch["crowd"] == 0), axis=-1)


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)

    prepare = normalise(MEAN, STD)
    crop = None if config.crop is None else data.stretch(config.crop)
    train_data = data.train(
        train, config.batch_size, transform=prepare, seed=config.seed, crop=crop
    )
    evaluation = functools.partial(
        data.evaluation, batch_size=256, transform=prepare, crop=crop
    )
    steps = train_data.steps(config.epochs)
    return Experiment(
        model=models.create("resnet20", num_classes=1),
        task=tasks.regression(
            count,
            reads=("classes", "crowd"),
            mean=3,
            std=2,
            loss=LOSSES[config.loss],
        ),
        optimizer=optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            weight_decay=config.weight_decay,
        ),
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=4,
        classes=("objects",),
        show=functools.partial(visualise.regression, target=count),
    )


if __name__ == "__main__":
    smoke = dict(dataset="scenes:32x32x3:256", epochs=2)
    run(build, Config, smoke=smoke)
