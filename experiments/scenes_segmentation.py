"""A small U-Net that gives every pixel a class.

Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597

    python -m experiments.scenes_segmentation                  (drawn scenes, offline)
    python -m experiments.scenes_segmentation --dataset masks:PATH --crop 96 128

PATH holds images, and masks with the class of each pixel in their numbers or colours;
see docs/data.md.  Where images differ in size or are large, `--crop` stretches them to
one size, whose sides are multiples of 8.

Measured, one seed: 54.1 % mean intersection over union of the test scenes, in which
digits are heaped.
"""

import functools
from dataclasses import dataclass

from jaxvision import data, losses, models, optim, tasks, visualise
from jaxvision.ops.augment import compose, normalise, random_flip, random_shift
from jaxvision.runs import run
from jaxvision.types import Experiment

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Config:
    dataset: str = "scenes:64x64x3"
    """`scenes:HxWx3` (drawn, offline), `masks:PATH`, or any set with masks."""
    crop: tuple[int, int] | None = None
    """Height and width in pixels that images are stretched to; None: as they are."""
    width: int = 16
    """Channels of the first level of the U-Net; each further one has twice as many."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 12
    """Passes over the training images."""
    batch_size: int = 16
    """Images per step, over all devices."""
    peak_lr: float = 3e-3
    """Highest learning rate of AdamW, in a one-cycle schedule."""
    weight_decay: float = 1e-2
    """Shrinks the kernels, not biases and norms."""
    max_shift: int = 4
    """Training images are moved by up to so many pixels along each axis."""
    flip: bool = False
    """Mirror half of the training images: not for digits, which have a direction."""
    seed: int = 0
    """Decides the initial weights, the order of the images, shifts and flips."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names

    prepare = normalise(MEAN, STD)
    moves = [random_shift(config.max_shift), *([random_flip] if config.flip else [])]
    crop = None if config.crop is None else data.stretch(config.crop)

    train_data = data.train(
        train,
        config.batch_size,
        transform=compose(*moves, prepare),
        seed=config.seed,
        crop=crop,
    )
    evaluation = functools.partial(
        data.evaluation, batch_size=64, transform=prepare, crop=crop
    )
    steps = train_data.steps(config.epochs)
    # Nine pixels of ten are background: unweighted, the classes of digits are learned
    # many times later than where digits are.
    frequencies = losses.median_frequency(*data.pixel_counts(train))
    loss = losses.weighted_sum(
        (1.0, losses.weighted_cross_entropy(frequencies)), (1.0, losses.dice())
    )
    return Experiment(
        model=models.create("unet_small", num_classes=len(classes), width=config.width),
        task=tasks.segmentation(len(classes), loss=loss),
        optimizer=optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            weight_decay=config.weight_decay,
        ),
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=5,
        classes=classes,
        show=visualise.segmentation,
    )


if __name__ == "__main__":
    smoke = dict(dataset="scenes:32x32x3:128", epochs=2, width=8, batch_size=16)
    run(build, Config, smoke=smoke)
