"""A series as an image: its Gramian angular difference field.

Wang & Oates 2015, https://arxiv.org/abs/1506.00327, on GunPoint: the hand of an actor
who draws a gun or points a finger, 50 series to train on and 150 to test.

    pip install --no-deps aeon
    python -m experiments.series_gramian
    python -m experiments.series_gramian --dataset series:OSULeaf
    python -m experiments.series_gramian --dataset series:PATH

Measured, one seed, two cores: 98.7 % of the test series of GunPoint.
"""

from dataclasses import dataclass

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import normalise
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config:
    dataset: str = "series:GunPoint"
    """A set of the UCR archive that the package aeon carries, or `series:PATH`."""
    validation: float = 0.2
    """Share of the training split that chooses the best checkpoint."""
    epochs: float = 150
    """Passes over the training images."""
    batch_size: int = 16
    """Images per step, over all devices."""
    peak_lr: float = 1e-3
    """Highest learning rate of AdamW, in a one-cycle schedule."""
    weight_decay: float = 1e-2
    """Shrinks the weights, not the biases."""
    dropout: float = 0.5
    """Rate before each fully connected layer."""
    seed: int = 0
    """Decides the initial weights, the order of the images and dropout."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.carve(splits.train, config.validation)
    classes = train.class_names

    prepare = normalise(0.5, 0.35)

    train_data = data.train(
        train, config.batch_size, transform=prepare, seed=config.seed
    )
    steps = train_data.steps(config.epochs)
    return Experiment(
        model=models.create(
            "convnet",
            num_classes=len(classes),
            m=4,
            features=(16, 32, 64, 64),
            dropout=config.dropout,
        ),
        task=tasks.classification(len(classes)),
        optimizer=optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            weight_decay=config.weight_decay,
        ),
        train=train_data,
        validation=data.evaluation(validation, 128, transform=prepare),
        test=data.evaluation(splits.test, 128, transform=prepare),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=4,
        classes=classes,
        show=visualise.classification,
    )


if __name__ == "__main__":
    run(build, Config, smoke=dict(dataset="synthetic:64x64x1", epochs=1))
