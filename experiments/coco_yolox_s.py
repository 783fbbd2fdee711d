"""YOLOX-s on COCO, from scratch, as its authors train it.

Ge et al. 2021, https://arxiv.org/abs/2107.08430

    python -m experiments.coco_yolox_s --dataset coco:coco2017 --precision bf16

The folder holds `train2017/`, `val2017/` and their annotations.  The recipe: 300 epochs
of 64 windows of four images, 0.1 to 2 times as large, averaged with a fifth; a rate
that rises by a parabola to 0.01 for 5 epochs and falls by a cosine to a twentieth,
which is that of the last 15 epochs, of images as they are and with an L1 loss; images
of 480 to 800 pixels; the moving average is tested at 640.  Published are 40.5 % average
precision on val2017.

Departures: images are of five sizes, and not eleven; each tile of a window is an image
with its borders; objects of which less than a tenth is visible are left out;
colours change by factors; the average starts as the mean of the first steps; a tenth of
the training images chooses the checkpoint.

Measured: not yet.
"""

import dataclasses
from dataclasses import dataclass

from experiments import yolox_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(yolox_recipe.Config):
    dataset: str = "coco:coco2017"
    grey: bool = True
    sizes: tuple[int, ...] = (480, 576, 640, 704, 800)
    zoom: tuple[float, float] = (0.1, 2.0)
    mixup: bool = True
    jitter: float = 0.3


PUBLISHED = {
    Config(): Reference("test_average_ap", 0.405, "YOLOX's repository, release 0.1.1")
}


def build(config: Config) -> Experiment:
    published = PUBLISHED.get(dataclasses.replace(config, seed=0))
    return yolox_recipe.build(config, reference=published)


if __name__ == "__main__":
    smoke = yolox_recipe.SMOKE | dict(sizes=(32,), mixup=True)
    run(build, Config, smoke=smoke)
