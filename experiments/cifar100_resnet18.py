"""ResNet-18 on CIFAR-100: `cifar10_resnet18` with the other data set.

DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552, publish 77.54 % for it, and
78.04 % with cutout: each the mean of five runs.

    python -m experiments.cifar100_resnet18
    python -m experiments.cifar100_resnet18 --cutout 8

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import cifar10_resnet18
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(cifar10_resnet18.Config):
    dataset: str = "cifar100"
    """Any TFDS set of 32×32 colour images."""


PUBLISHED = {Config(): 0.7754, Config(cutout=8): 0.7804}


def build(config: Config) -> Experiment:
    return cifar10_resnet18.build(config, PUBLISHED)


if __name__ == "__main__":
    smoke = dict(dataset="synthetic:32x32x3", epochs=4, batch_size=64, width=8)
    run(build, Config, smoke=smoke)
