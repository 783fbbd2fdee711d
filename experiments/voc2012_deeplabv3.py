"""DeepLabv3 on Pascal VOC 2012, as MMSegmentation trains it.

Chen et al. 2017, https://arxiv.org/abs/1706.05587

    python -m experiments.voc2012_deeplabv3 --dataset masks:VOC2012 --precision bf16

VOC2012 holds the folders of the challenge, and in `SegmentationClass/` also the masks
of Hariharan et al. 2011, whose images `ImageSets/Segmentation/train.txt` lists besides:
10,582 to train on, and the 1,449 of `val.txt` to test on.  The recipe: 20,000 steps of
16 windows of 512², images between half and twice their size, momentum 0.9, a rate of
0.01 that falls to 0 by a power of 0.9, an auxiliary head with a weight of 0.4.
Published are 76.17 % mean intersection over union.

Departures: images are scaled from their own size, where MMSegmentation first brings the
shorter side to 512 pixels; the stem of the ResNet is its paper's; batch normalisation
and biases are not decayed; a tenth of the training images chooses the checkpoint.

Measured: not yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from experiments import segmentation_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(segmentation_recipe.Config):
    dataset: str = "masks:VOC2012"
    crop: tuple[int, int] = (512, 512)
    canvas: tuple[int, int] = (512, 512)
    zoom: tuple[float, float] = (0.5, 2.0)
    jitter: float = 0.5
    epochs: float = 33.6
    batch_size: int = 16
    peak_lr: float = 0.01
    weight_decay: float = 5e-4
    encoder: str = "resnet50"
    """Any classifier whose strides can become dilations: ResNets, MobileNets …"""
    weights: str | None = "default"
    """Of the encoder: a file, a hub id or `default`; None: from scratch."""
    aux: float = 0.4
    """Weight of the auxiliary head's loss."""


PUBLISHED = {
    "masks:VOC2012": Reference(
        "test_mean_iou", 0.7617, "MMSegmentation, DeepLabV3 R-50-D8, 20k steps"
    )
}


def build(config: Config, published: Mapping[str, Reference] = PUBLISHED) -> Experiment:
    """The experiment of a config; `published` is what other sets are compared with."""
    model, options = "deeplabv3_resnet50", {"encoder": config.encoder}
    return segmentation_recipe.build(
        config,
        model=model,
        options=options,
        initial=segmentation_recipe.of_encoder(model, config.weights, **options),
        outputs={"logits": 1.0, "aux_logits": config.aux},
        optimizer=segmentation_recipe.polynomial,
        published=published,
    )


if __name__ == "__main__":
    smoke = segmentation_recipe.SMOKE | dict(encoder="resnet18", weights=None)
    run(build, Config, smoke=smoke)
