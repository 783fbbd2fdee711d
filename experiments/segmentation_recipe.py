"""Semantic segmentation of photographs: a class for every pixel.

This is the recipe that `camvid_segnet`, `camvid_unet`, `camvid_deeplabv3`,
`camvid_fcn8s`, `voc2012_deeplabv3` and `cityscapes_deeplabv3` share, and no experiment
of its own.  Training images are made larger or smaller at random, and a window of one
size is cut out of each; a pixel that a window adds does not count.  Validation and test
see whole images, and are measured on the masks as they are, at their own size.

Where two cores train, `--reduce 3` makes images three times smaller first: the network
sees a ninth of the pixels, and its scores are enlarged to those of the masks.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxvision import data, losses, models, optim, runs, tasks, visualise
from jaxvision.errors import check
from jaxvision.ops.augment import colour_jitter, compose, normalise, random_flip
from jaxvision.types import Experiment, Model, Optimizer, Reference, Variables


@dataclass(frozen=True)
class Config:
    dataset: str = "masks:camvid11"
    """Any set of colour images with masks, such as `masks:PATH`."""
    reduce: float = 1
    """How many times smaller, along each side, images are made for the network."""
    crop: tuple[int, int] = (360, 480)
    """Height and width in pixels of the windows of training."""
    canvas: tuple[int, int] = (360, 480)
    """Height and width in pixels that hold each image of an evaluation."""
    zoom: tuple[float, float] = (0.75, 1.5)
    """By how much training images are made larger, at random between the two."""
    jitter: float = 0.0
    """Strength of random changes of colour in training; 0: none."""
    balance: bool = False
    """Weigh classes by the median of their frequencies over theirs."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the set
    declares no validation split."""
    epochs: float = 200
    """Passes over the training images."""
    batch_size: int = 8
    """Images per step, over all devices."""
    peak_lr: float = 1e-3
    """Highest learning rate."""
    weight_decay: float = 1e-2
    """Shrinks the kernels, but neither biases nor norms."""
    validations: int = 20
    """How often the validation split is measured."""
    seed: int = 0
    """Decides the initial weights, the order of the images and their augmentation."""


def build(
    config: Config,
    *,
    model: str,
    options: Mapping[str, Any] | None = None,
    initial: Callable[[], Variables] | None = None,
    outputs: Mapping[str, float] | None = None,
    optimizer: Callable[[Config, Model, int], Optimizer] | None = None,
    published: Mapping[str, Reference],
) -> Experiment:
    """The experiment of a config.

    Args:
      model: its name, and `options` those of `models.create`.
      initial: the weights that it begins with; what they leave out, or all, is drawn.
      outputs: which outputs are trained with which weight; None: the scores alone.
      optimizer: of the config, the model and the steps of the run; None: AdamW with a
        one-cycle schedule.
      published: on the test split, at full resolution, by the names of the sets.
    """
    check(
        (config.reduce >= 1, f"--reduce must be 1 or more, got {config.reduce}"),
        (config.validations >= 1, "--validations must be 1 or more"),
    )
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names
    fields = dict(options or {}) | {"num_classes": len(classes)}
    network = models.create(model, **fields)

    prepare = normalise(*models.normalisation(model, **fields))
    moves = [random_flip]
    if config.jitter:
        strength = config.jitter
        moves.append(colour_jitter(strength, strength, strength, strength / 4))
    smallest, largest = config.zoom
    train_data = data.train(
        train,
        config.batch_size,
        transform=compose(*moves, prepare),
        crop=data.random_scaled_crop(
            config.crop, scale=(smallest / config.reduce, largest / config.reduce)
        ),
        seed=config.seed,
    )
    evaluation = functools.partial(
        data.evaluation,
        batch_size=4,
        transform=prepare,
        crop=data.padded(config.canvas, scale=1 / config.reduce),
        canvas="largest",
    )
    steps = train_data.steps(config.epochs)
    loss: Any = losses.cross_entropy
    if config.balance:
        frequencies = losses.median_frequency(*data.pixel_counts(train))
        loss = losses.weighted_cross_entropy(frequencies)
    every = max(1, steps // config.validations)
    return Experiment(
        model=network,
        task=tasks.segmentation(
            len(classes), loss=loss, outputs=outputs or {"logits": 1.0}
        ),
        optimizer=(optimizer or one_cycle)(config, network, steps),
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        log_every=every,
        eval_every=every,
        initial=initial,
        classes=classes,
        show=visualise.segmentation,
        reference=published.get(config.dataset),
    )


def of_encoder(
    model: str, weights: str | None, **options: Any
) -> Callable[[], Variables] | None:
    """Published weights for the encoder of a model; None without any."""
    if weights is None:
        return None
    return functools.partial(runs.backbone, model, weights, **options)


def one_cycle(config: Config, model: Model, steps: int) -> Optimizer:
    """AdamW, whose rate rises and falls once."""
    return optim.adamw(
        optim.one_cycle(config.peak_lr, steps=steps),
        weight_decay=config.weight_decay,
        no_weight_decay=model.no_weight_decay,
    )


def polynomial(config: Config, model: Model, steps: int) -> Optimizer:
    """Momentum, whose rate falls to zero as papers on DeepLab have it."""
    del model
    return optim.sgd(
        optim.polynomial(config.peak_lr, steps=steps),
        momentum=0.9,
        weight_decay=config.weight_decay,
    )


SMOKE = dict(
    dataset="scenes:32x32x3:64", crop=(32, 32), canvas=(32, 32), epochs=2, batch_size=8
)
"""Small values for the experiments that share this."""
