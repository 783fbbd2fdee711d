"""U-Net on the street scenes of CamVid, with a classifier as its encoder.

Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597

    python -m experiments.camvid_unet --dataset masks:camvid11

CamVid's 367 training, 101 validation and 233 test images have 11 classes (Brostow et
al. 2009; the split of Badrinarayanan et al. 2017).  Its folder holds `train/`, `val/`
and `test/`, each with `images/` and `labels/`, and a `classes.txt` whose twelfth line
is `void`.  In a quarter of an hour on one core, at a quarter of the resolution and from
published weights:

    python -m experiments.camvid_unet --reduce 4 --crop 96 128 --canvas 96 128 \\
        --batch-size 4 --epochs 30 --validations 10 --channels 96 64 48 32 16 \\
        --encoder tf_efficientnet_lite0 --weights efficientnet-lite0-57934424.pth

Measured so, 3 seeds: 47.4 ± 0.8 % mean intersection over union of the test images,
against a published 49.8 of a hundred at full resolution.  What is missing is thin:
poles, which are less than a pixel wide here, overlap by less than one in two hundred.
"""

from dataclasses import dataclass

from experiments import segmentation_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(segmentation_recipe.Config):
    encoder: str = "resnet34"
    """Any classifier with maps of strides 2, 4, 8, 16 and 32."""
    weights: str | None = "default"
    """Of the encoder: a file, a hub id or `default`; None: from scratch."""
    channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    """Of the five steps on the way back up."""


PUBLISHED = {
    "masks:camvid11": Reference(
        "test_mean_iou", 0.498, "GitLanx, Semantic-Segmentation-PyTorch: U-Net"
    )
}


def build(config: Config) -> Experiment:
    options = {"encoder": config.encoder, "decoder_channels": config.channels}
    return segmentation_recipe.build(
        config,
        model="unet",
        options=options,
        initial=segmentation_recipe.of_encoder("unet", config.weights, **options),
        published=PUBLISHED,
    )


if __name__ == "__main__":
    smoke = segmentation_recipe.SMOKE | dict(encoder="resnet18", weights=None)
    run(build, Config, smoke=smoke)
