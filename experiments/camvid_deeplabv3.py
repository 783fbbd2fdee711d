"""DeepLabv3 on the street scenes of CamVid.

Chen et al. 2017, https://arxiv.org/abs/1706.05587

    python -m experiments.camvid_deeplabv3 --dataset masks:camvid11

The data are those of `camvid_unet`.  Maps keep an eighth of the image's size by dilated
convolutions, and an auxiliary head learns beside the other.  On two cores, at a third
of the resolution:

    python -m experiments.camvid_deeplabv3 --reduce 3 --crop 128 160 --canvas 128 160 \\
        --model deeplabv3_mobilenet_v3_large

Measured: not yet.
"""

from dataclasses import dataclass
from typing import Literal

from experiments import segmentation_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(segmentation_recipe.Config):
    model: Literal[
        "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"
    ] = "deeplabv3_resnet50"
    """The network, by its encoder."""
    weights: str | None = "default"
    """Of the encoder: a file, a hub id or `default`; None: from scratch."""
    aux: float = 0.4
    """Weight of the auxiliary head's loss."""


PUBLISHED = {
    "masks:camvid11": Reference(
        "test_mean_iou", 0.616, "Jegou et al. 2017, table 3: DeepLab-LFOV"
    )
}


def build(config: Config) -> Experiment:
    return segmentation_recipe.build(
        config,
        model=config.model,
        weights=config.weights,
        outputs={"logits": 1.0, "aux_logits": config.aux},
        published=PUBLISHED,
    )


if __name__ == "__main__":
    smoke = segmentation_recipe.SMOKE | dict(
        model="deeplabv3_mobilenet_v3_large", weights=None
    )
    run(build, Config, smoke=smoke)
