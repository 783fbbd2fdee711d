"""Finding objects with YOLOX: their classes and boxes.

Ge et al. 2021, https://arxiv.org/abs/2107.08430

This is the recipe that `scenes_yolox`, `bccd_yolox` and `coco_yolox_s` share, and no
experiment of its own.  Each training image is a window of four that are slanted, zoomed
and turned, and with `--mixup` the mean of that and another one; the last epochs see
images as they are, and learn the codes of boxes by an L1 loss besides.  A moving
average of the parameters is what is tested.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.errors import check
from jaxvision.ops import augment
from jaxvision.ops.augment.mosaic import GREY
from jaxvision.types import Experiment, Optimizer, Reference


@dataclass(frozen=True)
class Config:
    dataset: str = "coco:PATH"
    """Any set of colour images with boxes."""
    model: str = "yolox_s"
    """`yolox_nano`, `…_tiny`, `…_s`, `…_m`, `…_l` or `…_x`."""
    size: tuple[int, int] | None = (640, 640)
    """Height and width in pixels of the frame into which images are fitted; None: all
    have one size, and stay as they are."""
    grey: bool = False
    """Images lie in the upper left corner of the frame, on grey, as those that the
    authors train and test on; else in its centre, on black."""
    sizes: tuple[int, ...] = ()
    """Sides in pixels of the squares that training images become, one drawn for every
    ten batches; each is compiled.  None given: as they are."""
    zoom: tuple[float, float] = (0.5, 1.5)
    """Factors of size of the four images of a window, smallest and largest."""
    degrees: float = 10.0
    """By how much they are turned, at most."""
    mosaic: float = 1.0
    """Share of the training images that are made of four."""
    mixup: bool = False
    """Whether these are averaged with one more image."""
    flip: bool = True
    """Mirror half of the training images: not for digits, which have a direction."""
    jitter: float = 0.0
    """Strength of random changes of colour in training; 0: none."""
    most: int | None = 120
    """Objects of a training image at most; the smallest are left out.  None: all."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 300
    """Passes over the training images."""
    warmup_epochs: float = 5
    """Passes in which the learning rate rises from 0 to its peak, by a parabola."""
    plain_epochs: float = 15
    """The last passes, in which images stay as they are and the rate is the lowest."""
    batch_size: int = 64
    """Images per step, over all devices."""
    peak_lr: float = 0.01
    """Highest learning rate."""
    weight_decay: float = 5e-4
    """Shrinks the kernels, but neither biases nor norms."""
    average: float = 0.9998
    """Decay, per step, of the moving average of the parameters that is tested."""
    validations: int = 30
    """How often the validation split is measured."""
    seed: int = 0
    """Decides the initial weights, the order of the images and their augmentation."""


def build(
    config: Config,
    *,
    options: Mapping[str, Any] | None = None,
    seen_as: Callable[[data.Source], data.Source] = lambda source: source,
    optimizer: Callable[[Config, int, int], Optimizer] | None = None,
    steps_per_dispatch: int = 4,
    reference: Reference | None = None,
) -> Experiment:
    """The experiment of a config.

    Args:
      options: those of `models.create`.
      seen_as: what becomes of each split, such as one with other classes.
      optimizer: of the config, the steps of the run, and the one from which images are
        plain; None: `momentum`.
      reference: what is published for the config.
    """
    check(
        (config.validations >= 1, "--validations must be 1 or more"),
        (
            0 <= config.plain_epochs < config.epochs - config.warmup_epochs,
            f"--plain-epochs must be fewer than the {config.epochs} epochs without "
            f"their warm-up, got {config.plain_epochs}",
        ),
    )
    loaded = data.load(config.dataset).there()
    splits = data.Splits(**{split: seen_as(each) for split, each in loaded.items()})
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names
    prepare = augment.normalise(*models.normalisation(config.model))
    crop = None
    if config.size is not None:
        fill = GREY if config.grey else 0
        crop = data.letterbox(config.size, corner=config.grey, fill=fill)

    def train_on(transform) -> Any:
        return data.train(
            train, config.batch_size, transform=transform, seed=config.seed, crop=crop
        )

    steps = train_on(prepare).steps(config.epochs)
    plain_from = round(steps * (1 - config.plain_epochs / config.epochs))
    canvas: Literal["largest"] | None = "largest" if crop is not None else None
    evaluation = functools.partial(
        data.evaluation, batch_size=16, transform=prepare, crop=crop, canvas=canvas
    )
    every = max(1, steps // config.validations)
    return Experiment(
        model=models.create(
            config.model, **{**(options or {}), "num_classes": len(classes)}
        ),
        task=tasks.detection(len(classes), tasks.yolox(l1_from=plain_from)),
        optimizer=(optimizer or momentum)(config, steps, plain_from),
        train=train_on(_transforms(config, prepare, plain_from)),
        validation=evaluation(validation),
        test=evaluation(splits.test),
        steps=steps,
        seed=config.seed,
        log_every=every,
        eval_every=every,
        steps_per_dispatch=steps_per_dispatch,
        classes=classes,
        show=visualise.detection,
        average=optim.ema(config.average),
        monitor="average/ap",
        reference=reference,
    )


def _transforms(config: Config, prepare, plain_from: int) -> data.Phases:
    """Mixed images at first and plain ones then, at all sizes in turn."""
    mixed = augment.mosaic(
        zoom=config.zoom,
        degrees=config.degrees,
        mixup=(0.5, 1.5) if config.mixup else None,
        probability=config.mosaic,
        most=config.most,
    )
    strength = config.jitter
    changes = [augment.random_flip] if config.flip else []
    if strength:
        changes.append(augment.colour_jitter(strength, 0, strength, strength / 10))

    def at_sizes(*moves) -> data.Phases:
        resized = [[augment.resize(side)] for side in config.sizes] or [[]]
        return data.in_turn(
            [augment.compose(*moves, *changes, *resize, prepare) for resize in resized]
        )

    if plain_from == 0:
        return at_sizes()
    return data.phases((0, at_sizes(mixed)), (plain_from, at_sizes()))


def momentum(config: Config, steps: int, plain_from: int) -> Optimizer:
    """Nesterov's momentum, as the authors have it."""
    return optim.sgd(
        schedule(config, steps, plain_from),
        momentum=0.9,
        nesterov=True,
        weight_decay=config.weight_decay,
    )


def adamw(config: Config, steps: int, plain_from: int) -> Optimizer:
    """AdamW at the same rates, which needs fewer steps."""
    return optim.adamw(
        schedule(config, steps, plain_from), weight_decay=config.weight_decay
    )


def schedule(config: Config, steps: int, plain_from: int) -> Callable[[Any], Any]:
    """A parabola up, and a cosine down to a twentieth: the rate of plain images."""
    return optim.warmup_cosine(
        config.peak_lr,
        steps=steps,
        warmup=round(steps * config.warmup_epochs / config.epochs),
        end=config.peak_lr / 20,
        power=2,
        hold=steps - plain_from,
    )


SMOKE = dict(
    dataset="scenes:64x64x3:64:16",
    model="yolox_nano",
    size=(64, 64),
    epochs=2,
    warmup_epochs=0.5,
    plain_epochs=1,
    batch_size=16,
    average=0.9,
    validations=1,
)
"""Small values for the experiments that share this: each phase is compiled once."""
