"""Finding objects in photographs: a class and a box for each.

This is the recipe that `bccd_retinanet`, `bccd_ssdlite`, `coco_detr_resnet50`,
`coco_retinanet_resnet50` and `voc0712_ssd300` share, and no experiment of its own.
Images of any size are brought to one, whole; what is found is measured in the pixels of
the originals.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxvision import data, models, optim, runs, tasks, visualise
from jaxvision.data.feed.crops import Crop
from jaxvision.errors import check
from jaxvision.ops.augment import (
    Transform,
    colour_jitter,
    compose,
    normalise,
    random_expansion,
    random_flip,
    random_iou_crop,
)
from jaxvision.skeletons import PERSON
from jaxvision.types import Experiment, Model, Optimizer, Reference


@dataclass(frozen=True)
class Config:
    dataset: str = "voc:bccd"
    """Any set of colour images with boxes, such as `coco:PATH`, `voc:PATH`,
    `yolo:PATH`."""
    size: tuple[int, int] = (480, 640)
    """Height and width in pixels of what the network sees."""
    encoder: str = "resnet50"
    """The classifier that the detector stands on."""
    weights: str | None = "default"
    """Of the encoder: a file, a hub id or `default`; None: from scratch."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the set
    declares no validation split."""
    epochs: float = 100
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
    options: Mapping[str, Any] | Callable[[data.Source], Mapping[str, Any]],
    detector: tasks.Detector,
    moves: Sequence[Transform],
    resized: Callable[[tuple[int, int]], Crop],
    seen: tuple[int, int] | None = None,
    frozen: str | None = None,
    rule: tasks.Rule = "coco",
    optimizer: Callable[[int], Optimizer] | None = None,
    published: Mapping[str, Reference],
) -> Experiment:
    """The experiment of a config.

    Args:
      model: its name, and `options` those of `models.create`, but for the encoder; or
        what makes them of the training split.
      detector: the one that belongs to it.
      moves: transforms of bytes, in training, which return images of `config.size`.
      resized: such as `data.letterbox`: how images come to one size.
      seen: height and width in pixels of images before `moves`; None: `config.size`.
      frozen: a pattern of paths, of what keeps its weights where some are given.
      rule: of average precision, see `tasks.detection`.
      optimizer: of the steps of the run; None: AdamW with a one-cycle schedule.
      published: on the test split, by the names of the sets.
    """
    check((config.validations >= 1, "--validations must be 1 or more"))
    splits = data.load(config.dataset)
    train, validation = data.train_and_validation(splits, config.validation)
    classes, skeleton = train.class_names, train.skeleton or PERSON
    fields = {
        **(options(train) if callable(options) else options),
        "encoder": config.encoder,
        "num_classes": len(classes) + detector.background,
    }
    network = models.create(model, **fields)
    initial = None
    if config.weights is not None:
        initial = functools.partial(runs.backbone, model, config.weights, **fields)
        network = models.frozen(network, frozen) if frozen else network

    prepare = normalise(*models.normalisation(config.encoder))
    train_data = data.train(
        train,
        config.batch_size,
        transform=compose(*moves, prepare),
        crop=resized(seen or config.size),
        seed=config.seed,
    )
    evaluation = functools.partial(
        data.evaluation,
        batch_size=config.batch_size,
        transform=prepare,
        crop=resized(config.size),
        canvas="largest",
    )
    steps = train_data.steps(config.epochs)
    every = max(1, steps // config.validations)
    update = (optimizer or functools.partial(one_cycle, config, network))(steps)
    if config.weights is not None and frozen:
        update = optim.groups([(frozen, None)], update)
    return Experiment(
        model=network,
        task=tasks.detection(len(classes), detector, rule=rule, sigmas=skeleton.sigmas),
        optimizer=update,
        train=train_data,
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        log_every=every,
        eval_every=every,
        steps_per_dispatch=4,
        initial=initial,
        classes=classes,
        show=functools.partial(
            visualise.detection, keypoints=skeleton.names, limbs=skeleton.limbs
        ),
        reference=published.get(config.dataset),
    )


IMAGENET_MEAN = (123.0, 117.0, 104.0)
"""Of red, green and blue, in bytes."""


def ssd_moves(size: tuple[int, int], largest: float = 4.0) -> list[Transform]:
    """What SSD does to training images: other colours, a frame that is up to so much
    larger, and windows with objects, of `size`.  Liu et al. 2016, sections 2.2 and 3.6,
    as torchvision does."""
    return [
        colour_jitter(0.125, 0.5, 0.5, 0.05, probability=0.5),
        random_expansion(largest, fill=IMAGENET_MEAN),
        random_iou_crop(size),
        random_flip,
    ]


def one_cycle(config: Config, model: Model, steps: int) -> Optimizer:
    """AdamW, whose rate rises and falls once."""
    return optim.adamw(
        optim.one_cycle(config.peak_lr, steps=steps),
        weight_decay=config.weight_decay,
        no_weight_decay=model.no_weight_decay,
        clip=10.0,
    )


def in_steps(
    config: Config, steps: int, *, drops: Sequence[float], warmup: int = 0
) -> Optimizer:
    """Momentum, whose rate falls tenfold at each of `drops`, shares of the run."""
    places = sorted({max(round(share * steps), 1) for share in drops})
    schedule = optim.step(
        config.peak_lr, drops=places, warmup=min(warmup, places[0] // 2)
    )
    return optim.sgd(schedule, momentum=0.9, weight_decay=config.weight_decay)


NORMS = "^backbone/.*(scale|bias|mean|var)$"
"""Batch normalisation of an encoder whose convolutions have no bias."""

SMOKE = dict(
    dataset="scenes:64x64x3:32:16",
    size=(64, 64),
    encoder="resnet18",
    weights=None,
    validation=0.25,
    epochs=2,
    batch_size=8,
    validations=1,
)
"""Small values for the experiments that share this."""
