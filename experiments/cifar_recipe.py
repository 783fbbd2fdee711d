"""Residual networks on CIFAR, trained as Zagoruyko and Komodakis 2016 do.

This is the recipe of https://arxiv.org/abs/1605.07146, section 3, that
`cifar10_resnet18`, `cifar100_resnet18` and `cifar10_wrn28_10` share, and no experiment
of its own: batches of 128, Nesterov's momentum 0.9, weight decay 5e-4, a learning rate
of 0.1 divided by 5 after 60, 120 and 160 of 200 epochs, pad-and-crop by 4 and flips.

Departures: a tenth of the training images chooses the best checkpoint, where the paper
trains on all of them, and batch normalisation and biases are not decayed.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.errors import UsageError
from jaxvision.ops.augment import compose, cutout, normalise, random_crop, random_flip
from jaxvision.ops.augment.crop import Padding
from jaxvision.types import Experiment, Reference

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Config:
    dataset: str = "cifar10"
    """Any TFDS set of 32×32 colour images."""
    exclude: str | None = None
    """List of examples to leave out; `python -m jaxvision quality` writes one."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 200
    """Passes over the training images."""
    batch_size: int = 128
    """Images per step, over all devices."""
    learning_rate: float = 0.1
    """The first rate, divided by 5 after 0.3, 0.6 and 0.8 of the run."""
    weight_decay: float = 5e-4
    """L2 regularisation of the kernels."""
    cutout: int = 0
    """Side in pixels of a square that is covered in training images; 0: none is."""
    seed: int = 0
    """Decides the initial weights, the order of the images and their crops."""


def build(
    config: Config,
    *,
    model: str,
    published: Mapping[Any, float],
    source: str,
    padding: Padding = "constant",
    **options: Any,
) -> Experiment:
    """The experiment of a config.

    Args:
      model: its name, and `options` those of `models.create`.
      published: test accuracies by the configs that they are of, with seed 0.
      source: where they were published.
      padding: of the images before they are cropped: black, or their reflection.

    Raises `UsageError` for images that differ in size.
    """
    splits = data.load(config.dataset, exclude=config.exclude)
    train, validation = data.train_and_validation(splits, config.validation)
    names = train.class_names

    height, width, _ = train.image_shape
    if height is None or width is None:
        raise UsageError(
            f"the images of {config.dataset} differ in size, and this recipe is for "
            "images of one: train on them by imagenette_resnet50, which crops them"
        )
    prepare = normalise(MEAN, STD)
    crop = random_crop((height, width), padding=4, mode=padding)
    augment = [crop, random_flip, prepare]
    if config.cutout:
        augment.append(cutout(config.cutout))

    train_data = data.train(
        train, config.batch_size, transform=compose(*augment), seed=config.seed
    )
    steps = train_data.steps(config.epochs)
    accuracy = published.get(dataclasses.replace(config, seed=0))
    drops = {-(-steps * tenths // 10) for tenths in (3, 6, 8)}
    return Experiment(
        model=models.create(model, num_classes=len(names), **options),
        task=tasks.classification(len(names)),
        optimizer=optim.sgd(
            optim.step(config.learning_rate, drops=sorted(drops), factor=0.2),
            momentum=0.9,
            nesterov=True,
            weight_decay=config.weight_decay,
        ),
        train=train_data,
        validation=data.evaluation(validation, 500, transform=prepare),
        test=data.evaluation(splits.test, 500, transform=prepare),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=10,
        classes=names,
        show=visualise.classification,
        reference=None
        if accuracy is None
        else Reference("test_accuracy", accuracy, source),
    )
