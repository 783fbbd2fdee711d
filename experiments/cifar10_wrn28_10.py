"""WRN-28-10 on CIFAR-10.  Zagoruyko and Komodakis 2016, table 5

https://arxiv.org/abs/1605.07146, with the recipe of the paper (`cifar_recipe`), which
pads images by their reflection before it crops them.  Published are 96.00 %, and
96.11 % with dropout at a rate of 0.3; for CIFAR-100 80.75 % and 81.15 %: each the
median of five runs.

    python -m experiments.cifar10_wrn28_10
    python -m experiments.cifar10_wrn28_10 --dropout 0.3
    python -m experiments.cifar10_wrn28_10 --dataset cifar100

It has 36.5 million parameters and 5.2·10⁹ multiply-adds for an image, a hundred times
those of ResNet-20: this one is for an accelerator.

Measured: not yet.
"""

from dataclasses import dataclass
from typing import Literal

from experiments import cifar_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(cifar_recipe.Config):
    model: Literal["wrn_28_10", "wrn_16_4", "wrn_16_8", "wrn_40_4"] = "wrn_28_10"
    """Layers with weights, and how many times as wide as a ResNet it is."""
    dropout: float = 0.0
    """Rate between the two convolutions of a block."""
    seed: int = 0
    """Decides the initial weights, the order of the images, crops and dropout."""


PUBLISHED = {
    Config(): 0.9600,
    Config(dropout=0.3): 0.9611,
    Config(dataset="cifar100"): 0.8075,
    Config(dataset="cifar100", dropout=0.3): 0.8115,
}


def build(config: Config) -> Experiment:
    return cifar_recipe.build(
        config,
        model=config.model,
        dropout=config.dropout,
        padding="reflect",
        published=PUBLISHED,
        source="Zagoruyko and Komodakis 2016, table 5",
    )


if __name__ == "__main__":
    smoke = dict(dataset="synthetic:16x16x3", epochs=2, batch_size=64, model="wrn_16_4")
    run(build, Config, smoke=smoke)
