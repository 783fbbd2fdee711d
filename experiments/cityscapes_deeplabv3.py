"""DeepLabv3 on the street scenes of Cityscapes, as MMSegmentation trains it.

Chen et al. 2017, https://arxiv.org/abs/1706.05587

    python -m experiments.cityscapes_deeplabv3 --dataset masks:cityscapes \\
        --precision bf16

The folder holds `train/` and `val/`, each with the images of all towns in `images/` and
their `labelTrainIds` in `masks/` under the same names: 2,975 to train on, 500 to test
on, 19 classes.  The recipe: 40,000 steps of 8 windows of 512×1024, images between half
and twice their size, momentum 0.9, a rate of 0.01 that falls to 0 by a power of 0.9, an
auxiliary head with a weight of 0.4.  Published are 79.09 %.

Departures: the stem of the ResNet is its paper's; batch normalisation and biases are
not decayed; a tenth of the training images chooses the checkpoint.

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import segmentation_recipe, voc2012_deeplabv3
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(voc2012_deeplabv3.Config):
    dataset: str = "masks:cityscapes"
    crop: tuple[int, int] = (512, 1024)
    canvas: tuple[int, int] = (1024, 2048)
    epochs: float = 119.5
    batch_size: int = 8


PUBLISHED = {
    "masks:cityscapes": Reference(
        "test_mean_iou", 0.7909, "MMSegmentation, DeepLabV3 R-50-D8, 40k steps"
    )
}


def build(config: Config) -> Experiment:
    return voc2012_deeplabv3.build(config, PUBLISHED)


if __name__ == "__main__":
    smoke = segmentation_recipe.SMOKE | dict(encoder="resnet18", weights=None)
    run(build, Config, smoke=smoke)
