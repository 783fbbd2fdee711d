"""ResNet-18 on a folder of class folders: your own images, or a part of ImageNet.

He et al. 2016, https://arxiv.org/abs/1512.03385, trained from scratch with shifts,
flips, label smoothing and a one-cycle schedule.

    python -m experiments.tiny_imagenet_resnet18 --dataset folder:PATH

PATH holds `train/` and `val/` with one folder for each class.  Where images differ in
size, give the size of their crops:

    python -m experiments.tiny_imagenet_resnet18 --dataset imagenette/160px --crop 128

Measured, one seed: 57.9 % on 20 classes of ImageNet at 64×64, 500 training images each,
after 12 epochs in 12 minutes on two cores of an AMD EPYC.
"""

import functools
from dataclasses import dataclass
from typing import Literal

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import compose, normalise, random_flip, random_shift
from jaxvision.runs import run
from jaxvision.types import Experiment

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Config:
    dataset: str = "folder:tiny-imagenet-20"
    """`folder:PATH`, or any TFDS set of colour images."""
    exclude: str | None = None
    """List of examples to leave out; `python -m jaxvision quality` writes one."""
    crop: int | None = None
    """Side in pixels of random resized crops, and of central crops in evaluation;
    None, for images of one size: as they are, moved by `max_shift` in training."""
    storage: data.Storage = "auto"
    """Whether images stay in memory or are read for each batch; auto: by their size."""
    model: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    """Each reduces 32 pixels to one, so images have 64 pixels or more."""
    width: int = 64
    """Channels of the first stage; each further one has twice as many."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 30
    """Passes over the training images."""
    batch_size: int = 128
    """Images per step, over all devices."""
    peak_lr: float = 0.1
    """Highest learning rate of SGD with momentum 0.9, in a one-cycle schedule."""
    weight_decay: float = 5e-4
    """L2 regularisation of the kernels."""
    label_smoothing: float = 0.1
    """Label smoothing ε of the training targets."""
    max_shift: int = 8
    """Training images are shifted by up to this many pixels along each axis."""
    seed: int = 0
    """Decides the initial weights, the order of the images and their crops."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset, exclude=config.exclude)
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names

    prepare = normalise(MEAN, STD)
    if config.crop is None:
        augment = compose(random_shift(config.max_shift), random_flip, prepare)
        random_crop = central_crop = None
    else:
        augment = compose(random_flip, prepare)
        random_crop = data.random_resized_crop(config.crop)
        central_crop = data.central_crop(config.crop)

    train_data = data.train(
        train,
        config.batch_size,
        transform=augment,
        seed=config.seed,
        crop=random_crop,
        storage=config.storage,
    )
    evaluation = functools.partial(
        data.evaluation,
        batch_size=250,
        transform=prepare,
        crop=central_crop,
        storage=config.storage,
    )
    steps = train_data.steps(config.epochs)
    return Experiment(
        model=models.create(config.model, num_classes=len(classes), width=config.width),
        task=tasks.classification(len(classes), label_smoothing=config.label_smoothing),
        optimizer=optim.sgd(
            optim.one_cycle(config.peak_lr, steps=steps),
            momentum=0.9,
            nesterov=True,
            weight_decay=config.weight_decay,
        ),
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=2,
        classes=classes,
        show=visualise.classification,
    )


if __name__ == "__main__":
    smoke = dict(dataset="synthetic:32x32x3", epochs=3, batch_size=64, width=8)
    run(build, Config, smoke=smoke)
