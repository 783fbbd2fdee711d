"""ResNet-18 on CIFAR-100: `cifar10_resnet18` with the other data set.

DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552, publish 77.54 % for it, and
78.04 % with cutout: each the mean of five runs.

    python -m experiments.cifar100_resnet18
    python -m experiments.cifar100_resnet18 --cutout 8

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import cifar10_resnet18
from experiments.cifar10_resnet18 import build
from jaxvision.runs import run


@dataclass(frozen=True)
class Config(cifar10_resnet18.Config):
    dataset: str = "cifar100"
    """Any TFDS set of 32×32 colour images."""


if __name__ == "__main__":
    smoke = dict(dataset="synthetic:32x32x3", epochs=2, batch_size=64, width=8)
    run(build, Config, smoke=smoke)
