"""A classifier of photographs of any size, from scratch.

This is the recipe that `imagenet_resnet50`, `imagenet_resnet50_long`,
`imagenet_vit_s16` and `imagenette_resnet50` share, and no experiment of its own: images
are decoded and cropped at random for each batch, flipped, and mixed as the options say;
each experiment adds its model, its optimiser and its paper's values of the options.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jaxvision import data, optim, tasks, visualise
from jaxvision.ops.augment import (
    compose,
    cutmix,
    mixup,
    normalise,
    one_of,
    rand_augment,
    random_erasing,
    random_flip,
    trivial_augment,
)
from jaxvision.runs.record import metric_key
from jaxvision.types import Experiment, Model, Optimizer, Reference

PARTS = {
    "none": [],
    "rand": [rand_augment(2, 10)],
    "trivial": [trivial_augment()],
}


@dataclass(frozen=True)
class Config:
    dataset: str = "imagenet2012"
    """Any set of colour photographs: of TFDS, or `folder:PATH`."""
    exclude: str | None = None
    """List of examples to leave out; `python -m jaxvision quality` writes one."""
    storage: data.Storage = "auto"
    """Whether images stay in memory or are read for each batch; auto: by their size."""
    crop: int = 224
    """Side in pixels of the random resized crops of training."""
    test_crop: int = 224
    """Side in pixels of the central crops of validation and test."""
    test_resize: int = 256
    """To what their shorter side is resized before."""
    validation: float = 0.01
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 90
    """Passes over the training images."""
    warmup_epochs: float = 0
    """Passes in which the learning rate rises from 0 to its peak."""
    batch_size: int = 256
    """Images per step, over all devices."""
    peak_lr: float = 0.1
    """Highest learning rate."""
    weight_decay: float = 1e-4
    """Shrinks the kernels, but neither biases nor norms."""
    label_smoothing: float = 0.0
    """Label smoothing ε of the training targets."""
    policy: Literal["none", "rand", "trivial"] = "none"
    """RandAugment, of two operations at their full strength, or TrivialAugment."""
    mixup: float = 0.0
    """α of mixup; 0: none.  With CutMix too, an example is mixed by one of them."""
    cutmix: float = 0.0
    """α of CutMix; 0: none."""
    erasing: float = 0.0
    """Probability with which a rectangle of a training image is covered by noise."""
    repeats: int = 1
    """How often an image is in a batch, each time with another crop."""
    average: float | None = None
    """Decay, per step, of a moving average of the parameters that is tested; None: the
    parameters themselves are."""
    seed: int = 0
    """Decides the initial weights, the order of the images and their augmentation."""


def build(
    config: Config,
    *,
    model: Callable[[int], Model],
    optimizer: Callable[[Model, int, int], Optimizer],
    published: Mapping[Any, float],
    source: str,
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    std: tuple[float, ...] = (0.229, 0.224, 0.225),
) -> Experiment:
    """The experiment of a config.

    Args:
      model: of a number of classes.
      optimizer: of the model, the steps of the run, and those of its warm-up.
      published: test accuracies by the configs that they are of, with seed 0.
      source: where they were published.
      mean, std: of each channel, for pixels from 0 to 1, by which they are normalised.
    """
    splits = data.load(config.dataset, exclude=config.exclude)
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names

    prepare = normalise(mean, std)
    augment = [random_flip, *PARTS[config.policy], prepare]
    if config.erasing:
        augment.append(random_erasing(config.erasing, area=(0.02, 0.33)))
    mixing = [
        mix(len(classes), alpha)
        for mix, alpha in ((mixup, config.mixup), (cutmix, config.cutmix))
        if alpha
    ]
    if mixing:
        augment.append(one_of(*mixing))

    train_data = data.train(
        train,
        config.batch_size,
        transform=compose(*augment),
        seed=config.seed,
        crop=data.random_resized_crop(config.crop),
        repeats=config.repeats,
        storage=config.storage,
    )
    evaluation = functools.partial(
        data.evaluation,
        batch_size=250,
        transform=prepare,
        crop=data.central_crop(
            config.test_crop, resize=config.test_resize / config.test_crop
        ),
        storage=config.storage,
    )
    # As in torchvision, an epoch has as many steps as it would have without repeats.
    steps = train_data.steps(config.epochs / config.repeats)
    network = model(len(classes))
    accuracy = published.get(dataclasses.replace(config, seed=0))
    tested = "accuracy" if config.average is None else "average/accuracy"
    return Experiment(
        model=network,
        task=tasks.classification(len(classes), label_smoothing=config.label_smoothing),
        optimizer=optimizer(
            network, steps, round(steps * config.warmup_epochs / config.epochs)
        ),
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        classes=classes,
        show=visualise.classification,
        average=None if config.average is None else optim.ema(config.average),
        monitor=tested,
        reference=None
        if accuracy is None
        else Reference(metric_key("test", tested), accuracy, source),
    )
