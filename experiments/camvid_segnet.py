"""SegNet on the street scenes of CamVid.

Badrinarayanan et al. 2017, https://arxiv.org/abs/1511.00561

    python -m experiments.camvid_segnet --dataset masks:camvid11 --weights default

The data are those of `camvid_unet`.  As in the paper, classes are weighed by the median
of their frequencies, and the encoder begins as VGG16, here with batch normalisation.
In ten minutes on one core, at a quarter of the resolution and with a quarter of the
channels:

    python -m experiments.camvid_segnet --reduce 4 --crop 96 128 --canvas 96 128 \\
        --batch-size 4 --epochs 30 --validations 10 --width 16 --no-balance

Measured so, 3 seeds: 32.4 ± 0.7 % mean intersection over union of the test images,
against a published 46.4 of a hundred at full resolution and width.  These 2,730
updates from scratch are few for its 26 layers; with classes weighed they came to 26 of
a hundred.
"""

from dataclasses import dataclass

from experiments import segmentation_recipe
from jaxvision import models, runs
from jaxvision.errors import check
from jaxvision.types import Experiment, Reference, Variables


@dataclass(frozen=True)
class Config(segmentation_recipe.Config):
    balance: bool = True
    width: int = 64
    """Channels of the first stage; the next ones have 2, 4, 8 and 8 times as many."""
    weights: str | None = None
    """Of a `vgg16_bn` for the encoder: a file or `default`; None: from scratch."""


PUBLISHED = {
    "masks:camvid11": Reference("test_mean_iou", 0.464, "Jegou et al. 2017, table 3")
}


def build(config: Config) -> Experiment:
    check(
        (
            config.weights is None or config.width == 64,
            "--weights are of a VGG16 of width 64: leave out --width",
        )
    )

    def initial() -> Variables:
        return models.trunk(runs.backbone("vgg16_bn", str(config.weights)))

    features = tuple(config.width * times for times in (1, 2, 4, 8, 8))
    return segmentation_recipe.build(
        config,
        model="segnet",
        options={"features": features},
        initial=None if config.weights is None else initial,
        published=PUBLISHED,
    )


if __name__ == "__main__":
    runs.run(build, Config, smoke=segmentation_recipe.SMOKE | dict(width=4))
