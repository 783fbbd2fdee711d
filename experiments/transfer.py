"""A network that is trained already, for classes of your own.

    python -m experiments.transfer --dataset folder:PATH --model resnet50

It begins with published weights, or with those of a run of your own, `--weights
runs/NAME/DATE`, but for a new layer of class scores.  `--method` says what is trained:

    full     everything, perhaps with --layer-decay or --backbone-rate
    freeze   the new layer; the rest, with its batch norm, stays as in an evaluation
    probe    the same on features that are computed once, in a small part of the time
    gradual  the last block first, then one more at a time
    lora     the new layer, and changes of low rank to the attention of a transformer

With `--weights None` the same network is trained from scratch.
"""

import functools
import re
from dataclasses import dataclass
from typing import Literal

from jaxvision import data, models, optim, runs, tasks, visualise
from jaxvision.data.feed.preparation import Preparation
from jaxvision.errors import UsageError, check
from jaxvision.ops.augment import compose, normalise, random_flip
from jaxvision.types import Experiment, Model, Optimizer


@dataclass(frozen=True)
class Config:
    dataset: str = "folder:tiny-imagenet-20"
    """`folder:PATH`, or any other set of colour images with classes."""
    train_images: int | None = None
    """Train on so many of the training images, each class in proportion; None: all."""
    model: str = "resnet18"
    """Any classifier of `python -m jaxvision models`."""
    weights: str | None = "default"
    """A file, a hub id, `default`, or the directory of a run; None: from scratch."""
    method: Literal["full", "freeze", "probe", "gradual", "lora"] = "full"
    """What is trained."""
    layer_decay: float = 1.0
    """Learning rate of each block as a share of that of the next one."""
    backbone_rate: float = 1.0
    """Learning rate of all but the new layer as a share of that of the new layer."""
    rank: int = 8
    """Of the changes that `lora` learns."""
    crop: int | None = None
    """Side of the images in pixels; smaller ones are enlarged.  None: what the weights
    are made for."""
    least_area: float = 0.35
    """Least share of an image that a training crop shows."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    validations: int = 10
    """How often it does."""
    epochs: float = 5
    """Passes over the training images."""
    batch_size: int = 64
    """Images per step, over all devices."""
    peak_lr: float = 1e-3
    """Highest learning rate of AdamW, in a one-cycle schedule."""
    weight_decay: float = 0.05
    """Shrinks the kernels, not biases and norms."""
    seed: int = 0
    """Decides the new layer, the order of the images and their crops."""


def build(config: Config) -> Experiment:
    check(
        (
            config.weights is not None or config.method == "full",
            f"--method {config.method} keeps what was learned before: give --weights",
        ),
        (config.validations >= 1, "--validations must be 1 or more"),
    )
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    if config.train_images is not None:
        train = data.subset(train, config.train_images)
    classes, prepared = train.class_names, preparation(config)
    crop, prepare = prepared.crop, prepared.transform
    shape = (*crop.size, prepared.channels)

    @functools.cache
    def initial():
        return runs.backbone(config.model, str(config.weights), shape)

    evaluation = functools.partial(
        data.evaluation, batch_size=128, transform=prepare, crop=crop
    )
    train_data = data.train(
        train,
        config.batch_size,
        transform=compose(random_flip, prepare),
        crop=data.random_resized_crop(
            crop.size, scale=(config.least_area, 1), method=crop.method
        ),
        seed=config.seed,
    )
    validation_data = evaluation(validation)
    if config.method == "probe":
        cached = functools.partial(
            runs.cached, models.create(config.model, num_classes=0), initial
        )
        train_data = cached(train, evaluation(train), config.batch_size, config.seed)
        validation_data = cached(validation, validation_data, 1000)
    steps = train_data.steps(config.epochs)
    model = models.create(config.model, num_classes=len(classes))
    optimizer = optim.adamw(
        optim.one_cycle(config.peak_lr, steps=steps),
        weight_decay=config.weight_decay,
        no_weight_decay=model.no_weight_decay,
    )
    model, optimizer = tuned(config, model, optimizer, steps, shape)
    return Experiment(
        model=model,
        task=tasks.classification(len(classes)),
        optimizer=optimizer,
        train=train_data,
        validation=validation_data,
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=2,
        log_every=max(1, steps // config.validations),
        eval_every=max(1, steps // config.validations),
        initial=None if config.weights is None else initial,
        classes=classes,
        show=visualise.classification,
    )


def preparation(config: Config) -> Preparation:
    """How images are prepared: size, crop and filter belong to the weights as well as
    mean and deviation do.  With `--crop` the size is another one."""
    if config.weights is not None:
        try:
            found = runs.preparation(config.model, config.weights)
        except UsageError:
            if config.crop is None:
                raise
        else:
            if config.crop is None:
                return found
            crop = data.central_crop(config.crop, method=found.crop.method)
            return found._replace(crop=crop)
    size = config.crop or models.default_input(config.model)[:2]
    mean, std = models.normalisation(config.model)
    crop = data.central_crop(size, method="bicubic")
    return Preparation(len(mean), crop, normalise(mean, std))


def tuned(
    config: Config,
    model: Model,
    optimizer: Optimizer,
    steps: int,
    shape: tuple[int, int, int],
) -> tuple[Model, Optimizer]:
    """The model and the optimiser by which what the method says is trained.

    shape: of an image.
    """
    head = "|".join(map(re.escape, models.head(config.model)))
    backbone = f"^(?!({head})$)"
    match config.method:
        case "freeze" | "probe" | "lora":
            constant = backbone
            if config.method == "lora":
                model = models.lora(model, rank=config.rank)
                constant = f"^(?!({head})$|.*{models.LORA})"
            model = models.frozen(model, constant)
            optimizer = optim.groups([(constant, None)], optimizer)
            if config.method == "probe":
                model = models.on_features(model, shape)
        case "gradual":
            blocks = models.blocks(model, shape)
            model = models.frozen(model, "/(mean|var)$")  # of batch normalisation
            every = max(1, steps // (2 * len(blocks)))  # all are, after half the run
            optimizer = optim.gradual_unfreezing(optimizer, blocks, every=every)
    if config.layer_decay != 1:
        blocks = models.blocks(model, shape)
        optimizer = optim.layer_decay(optimizer, blocks, config.layer_decay)
    if config.backbone_rate != 1:
        optimizer = optim.scale_rates(optimizer, [(backbone, config.backbone_rate)])
    return model, optimizer


if __name__ == "__main__":
    smoke = dict(
        dataset="synthetic:32x32x3", weights=None, model="resnet20", crop=32, epochs=3
    )
    runs.run(build, Config, smoke=smoke)
