"""Which digits are in the image?  A small ConvNet answers for each class by itself.

    python -m experiments.scenes_multilabel                     (drawn scenes, offline)
    python -m experiments.scenes_multilabel --dataset csv:PATH  (one's own labels)

Any set whose images have any number of classes serves: tables with several labels, and
sets with objects.  Average precision needs the scores of all test images.

Measured, one seed: 83.4 % mean average precision on the test scenes, in which digits
are heaped.
"""

from dataclasses import dataclass

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import compose, normalise, random_shift
from jaxvision.runs import run
from jaxvision.types import Experiment

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Config:
    dataset: str = "scenes:64x64x3"
    """`scenes:HxWx3` (drawn, offline), or any set with several labels or objects."""
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
    dropout: float = 0.2
    """Rate before each fully connected layer."""
    max_shift: int = 6
    """Training images are moved by up to so many pixels along each axis."""
    seed: int = 0
    """Decides the initial weights, the order of the images, shifts and dropout."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names

    prepare = normalise(MEAN, STD)
    augment = compose(random_shift(config.max_shift), prepare)

    train_data = data.train(
        train, config.batch_size, transform=augment, seed=config.seed
    )
    steps = train_data.steps(config.epochs)
    return Experiment(
        model=models.create("resnet20", num_classes=len(classes)),
        task=tasks.multilabel(len(classes)),
        optimizer=optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            weight_decay=config.weight_decay,
        ),
        train=train_data,
        validation=data.evaluation(validation, 256, transform=prepare),
        test=data.evaluation(splits.test, 256, transform=prepare),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=4,
        classes=classes,
        show=visualise.multilabel,
    )


if __name__ == "__main__":
    smoke = dict(dataset="scenes:32x32x3:256", epochs=2)
    run(build, Config, smoke=smoke)
