"""ViT on CIFAR-10, from scratch.  Dosovitskiy et al. 2021

https://arxiv.org/abs/2010.11929, as small and trained as in
https://github.com/omihub777/ViT-CIFAR: patches of 4×4, seven blocks of 384 units with
12 heads, Adam with a warm-up of five epochs and half a cosine to a hundredth of the
rate, AutoAugment and label smoothing.  Its author publishes 91.01 %, of one run.

    python -m experiments.cifar10_vit

A transformer has to learn from the images what is built into convolutions, and 50,000
are few: `cifar10_resnet18` publishes four points more.
Two departures: weight decay is decoupled (AdamW), and a tenth of the training images
chooses the best checkpoint.

Measured: not yet.
"""

from dataclasses import dataclass

from jaxvision import data, models, optim, tasks, visualise
from jaxvision.ops.augment import (
    auto_augment,
    compose,
    normalise,
    random_crop,
    random_flip,
)
from jaxvision.runs import run
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
    warmup_epochs: float = 5
    """Passes in which the learning rate rises from 0 to its peak."""
    batch_size: int = 128
    """Images per step, over all devices."""
    peak_lr: float = 1e-3
    """Highest learning rate of AdamW."""
    weight_decay: float = 5e-2
    """Shrinks the weights by rate × decay in each step: 5e-5 at the highest rate."""
    label_smoothing: float = 0.1
    """Label smoothing ε of the training targets."""
    patch: int = 4
    """Side in pixels of a patch, which becomes a token."""
    depth: int = 7
    """Blocks."""
    features: int = 384
    """Units of a token, and of the perceptrons."""
    seed: int = 0
    """Decides the initial weights, the order of the images and their augmentation."""


def build(config: Config) -> Experiment:
    splits = data.load(config.dataset, exclude=config.exclude)
    train, validation = data.train_and_validation(splits, config.validation)
    classes = train.class_names

    prepare = normalise(MEAN, STD)
    augment = compose(
        random_crop(32, padding=4), random_flip, auto_augment("cifar10"), prepare
    )
    train_data = data.train(
        train, config.batch_size, transform=augment, seed=config.seed
    )
    steps = train_data.steps(config.epochs)
    model = models.create(
        "vit_tiny_patch16_224",
        num_classes=len(classes),
        patch=config.patch,
        depth=config.depth,
        heads=12,
        features=config.features,
        hidden=config.features,
    )
    published = config == Config(seed=config.seed)
    return Experiment(
        model=model,
        task=tasks.classification(len(classes), label_smoothing=config.label_smoothing),
        optimizer=optim.adamw(
            optim.warmup_cosine(
                config.peak_lr,
                steps=steps,
                warmup=round(steps * config.warmup_epochs / config.epochs),
                end=config.peak_lr / 100,
            ),
            weight_decay=config.weight_decay,
            no_weight_decay=model.no_weight_decay,
        ),
        train=train_data,
        validation=data.evaluation(validation, 500, transform=prepare),
        test=data.evaluation(splits.test, 500, transform=prepare),
        steps=steps,
        seed=config.seed,
        steps_per_dispatch=10,
        classes=classes,
        show=visualise.classification,
        reference=Reference("test_accuracy", 0.9101, "github.com/omihub777/ViT-CIFAR")
        if published
        else None,
    )


if __name__ == "__main__":
    smoke = dict(
        dataset="synthetic:32x32x3",
        epochs=6,
        warmup_epochs=1,
        patch=8,
        depth=2,
        features=96,
    )
    run(build, Config, smoke=smoke)
