"""FCN-8s on the street scenes of CamVid.  Long et al. 2015

https://arxiv.org/abs/1411.4038

    python -m experiments.camvid_fcn8s --dataset masks:camvid11

The data are those of `camvid_unet`.  The dense layers of VGG16 are convolutions, and
begin with what it has learned.  In nine minutes on one core, at a quarter of the
resolution and with a quarter of the channels:

    python -m experiments.camvid_fcn8s --reduce 4 --crop 96 128 --canvas 96 128 \\
        --batch-size 4 --epochs 30 --validations 10 \\
        --width 16 --hidden 256 --padding maps --weights None

Measured so, 3 seeds: 35.7 ± 1.4 % mean intersection over union of the test images,
against a published 57.0 of a hundred with VGG16's weights, at full resolution and
width.
"""

from dataclasses import dataclass
from typing import Literal

from experiments import segmentation_recipe
from jaxvision import models, runs
from jaxvision.errors import check
from jaxvision.types import Experiment, Reference, Variables


@dataclass(frozen=True)
class Config(segmentation_recipe.Config):
    width: int = 64
    """Channels of the first stage; the next ones have 2, 4, 8 and 8 times as many."""
    hidden: int = 4096
    """Channels of the two layers that were dense."""
    padding: Literal["image", "maps"] = "image"
    """Where zeros are added: 100 around the image, as the authors do, or around the
    map that the dense layers slide over, which is much less to compute."""
    weights: str | None = "default"
    """Of a `vgg16`: a file or `default`; None: from scratch."""


PUBLISHED = {
    "masks:camvid11": Reference("test_mean_iou", 0.570, "Jegou et al. 2017, table 3")
}


def build(config: Config) -> Experiment:
    check(
        (
            config.weights is None or (config.width, config.hidden) == (64, 4096),
            "--weights are of a VGG16 of width 64: leave out --width and --hidden",
        )
    )

    def initial() -> Variables:
        return models.dense_as_convolutions(runs.backbone("vgg16", str(config.weights)))

    features = tuple(config.width * times for times in (1, 2, 4, 8, 8))
    return segmentation_recipe.build(
        config,
        model="fcn8s",
        options=dict(features=features, hidden=config.hidden, padding=config.padding),
        initial=None if config.weights is None else initial,
        published=PUBLISHED,
    )


if __name__ == "__main__":
    smoke = dict(width=4, hidden=16, padding="maps", weights=None)
    runs.run(build, Config, smoke=segmentation_recipe.SMOKE | smoke)
