"""ResNet-50 on ImageNet in 90 epochs.  He et al. 2016, as Goyal et al. 2017 train it

The network of https://arxiv.org/abs/1512.03385 by the recipe of
https://arxiv.org/abs/1706.02677: batches of 256, momentum 0.9, weight decay 1e-4, but
none of the norms, a rate of 0.1 divided by 10 after 30, 60 and 80 epochs, blocks that
begin as the identity, random resized crops and flips.  Published are 76.40 %, the mean
of five runs.

    python -m experiments.imagenet_resnet50 --precision bf16

With larger batches the paper multiplies the rate as well, and warms up; 76.26 % are
published for

    python -m experiments.imagenet_resnet50 --batch-size 8192 --peak-lr 3.2 \\
        --warmup-epochs 5

Departures: the warm-up rises from 0, colours are not jittered, and one hundredth of the
training images chooses the best checkpoint.

Measured: not yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments import imagenet_recipe
from jaxvision import models, optim
from jaxvision.runs import run
from jaxvision.types import Experiment, Model, Optimizer


@dataclass(frozen=True)
class Config(imagenet_recipe.Config):
    model: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = (
        "resnet50"
    )
    """Residual networks for ImageNet."""
    width: int = 64
    """Channels of the first stage; each further one has twice as many."""
    schedule: Literal["step", "cosine"] = "step"
    """`step` divides the rate by 10 after 1/3, 2/3 and 8/9 of the run; `cosine` takes
    it to zero."""


PUBLISHED = {
    Config(): 0.7640,
    Config(batch_size=8192, peak_lr=3.2, warmup_epochs=5): 0.7626,
}


def build(
    config: Config,
    published: Mapping[Any, float] = PUBLISHED,
    source: str = "Goyal et al. 2017, table 1",
) -> Experiment:
    """The experiment of a config; `published` are accuracies that `source` has."""

    def model(classes: int) -> Model:
        return models.create(config.model, num_classes=classes, width=config.width)

    def optimizer(network: Model, steps: int, warmup: int) -> Optimizer:
        if config.schedule == "cosine":
            schedule = optim.warmup_cosine(config.peak_lr, steps=steps, warmup=warmup)
        else:
            drops = {-(-steps * ninths // 9) for ninths in (3, 6, 8)}
            schedule = optim.step(config.peak_lr, drops=sorted(drops), warmup=warmup)
        return optim.sgd(schedule, momentum=0.9, weight_decay=config.weight_decay)

    return imagenet_recipe.build(
        config, model=model, optimizer=optimizer, published=published, source=source
    )


SMOKE = dict(
    dataset="synthetic:48x48x3",
    crop=32,
    test_crop=32,
    test_resize=36,
    epochs=5,
    batch_size=32,
    validation=0.1,
    model="resnet18",
    width=8,
)

if __name__ == "__main__":
    run(build, Config, smoke=SMOKE)
