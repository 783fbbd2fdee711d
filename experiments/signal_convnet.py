"""A small convolutional network that classifies signals drawn as images.

This is the recipe that `binary_family`, `series_gramian`, `sound_spectrogram` and
`track_drawing` share, and no experiment of its own: each of them adds a data set, how
its images are normalised and augmented, and its own defaults.
"""

from dataclasses import dataclass

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import Transform
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config:
    dataset: str
    """A set of signals that are drawn as images of one size."""
    validation: float = 0.2
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
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
    """Decides the initial weights, the order of the images, shifts and dropout."""


def build(
    config: Config,
    *,
    augment: Transform,
    prepare: Transform,
    features: tuple[int, ...] = (16, 32, 64, 64),
    evaluation_batch: int = 128,
) -> Experiment:
    """The experiment of a config.

    Args:
      augment: the transform of training images.
      prepare: that of the images of validation and test.
      features: channels of each block; a block is a convolution and a max pooling.
      evaluation_batch: images in a batch of validation and test.
    """
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names

    train_data = data.train(
        train, config.batch_size, transform=augment, seed=config.seed
    )
    steps = train_data.steps(config.epochs)
    return Experiment(
        model=models.create(
            "convnet",
            num_classes=len(classes),
            m=len(features),
            features=features,
            dropout=config.dropout,
        ),
        task=tasks.classification(len(classes)),
        optimizer=optim.adamw(
            optim.one_cycle(config.peak_lr, steps=steps),
            weight_decay=config.weight_decay,
        ),
        train=train_data,
        validation=data.evaluation(validation, evaluation_batch, transform=prepare),
        test=data.evaluation(splits.test, evaluation_batch, transform=prepare),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=4,
        classes=classes,
        show=visualise.classification,
    )
