"""ResNet-18 on CIFAR-10, begun with a 3×3 convolution in place of the 7×7 one.

The network of He et al. 2016, https://arxiv.org/abs/1512.03385, as it is usual for
images of 32×32, with the recipe of Zagoruyko and Komodakis 2016 (`cifar_recipe`).
DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552, who train the same, publish
95.28 %, and 96.01 % with cutout: each the mean of five runs.

    python -m experiments.cifar10_resnet18
    python -m experiments.cifar10_resnet18 --cutout 16
    python -m experiments.cifar10_resnet18 --epochs 30    (a shorter one)

Measured: not yet.
"""

from dataclasses import dataclass
from typing import Literal

from experiments import cifar_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference

PUBLISHED = {  # test accuracy by data set and cutout, DeVries and Taylor 2017, table 1
    ("cifar10", 0): 0.9528,
    ("cifar10", 16): 0.9601,
    ("cifar100", 0): 0.7754,
    ("cifar100", 8): 0.7804,
}


@dataclass(frozen=True)
class Config(cifar_recipe.Config):
    model: Literal["resnet18_cifar", "resnet34_cifar", "resnet50_cifar"] = (
        "resnet18_cifar"
    )
    """Residual networks whose last map is an eighth as high and wide as the image."""
    width: int = 64
    """Channels of the first stage; each further one has twice as many."""


def build(config: Config) -> Experiment:
    accuracy = PUBLISHED.get((config.dataset, config.cutout))
    published = accuracy and (config.model, config.width) == ("resnet18_cifar", 64)
    return cifar_recipe.build(
        config,
        model=config.model,
        width=config.width,
        reference=Reference(
            "test_accuracy", accuracy, "DeVries and Taylor 2017, table 1"
        )
        if published
        else None,
    )


if __name__ == "__main__":
    smoke = dict(dataset="synthetic:32x32x3", epochs=2, batch_size=64, width=8)
    run(build, Config, smoke=smoke)
