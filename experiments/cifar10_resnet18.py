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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments import cifar_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(cifar_recipe.Config):
    model: Literal["resnet18_cifar", "resnet34_cifar", "resnet50_cifar"] = (
        "resnet18_cifar"
    )
    """Residual networks whose last map is an eighth as high and wide as the image."""
    width: int = 64
    """Channels of the first stage; each further one has twice as many."""


PUBLISHED = {Config(): 0.9528, Config(cutout=16): 0.9601}
SOURCE = "DeVries and Taylor 2017, table 1"


def build(config: Config, published: Mapping[Any, float] = PUBLISHED) -> Experiment:
    """The experiment of a config; `published` are accuracies that `SOURCE` has."""
    return cifar_recipe.build(
        config,
        model=config.model,
        width=config.width,
        published=published,
        source=SOURCE,
    )


if __name__ == "__main__":
    smoke = dict(dataset="synthetic:32x32x3", epochs=4, batch_size=64, width=8)
    run(build, Config, smoke=smoke)
