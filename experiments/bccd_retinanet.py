"""RetinaNet on blood cells under the microscope.  Lin et al. 2017

https://arxiv.org/abs/1708.02002

    python -m experiments.bccd_retinanet --dataset voc:bccd

BCCD's 364 images of 480×640 pixels have red and white cells, and platelets: 205 to
train on, 87 to validate on, 72 to test on, as its lists say.  Red cells that lie over
each other are not all annotated.  Published numbers are of another split, by networks
that begin with weights of COCO.  On two cores, at two fifths of the resolution:

    python -m experiments.bccd_retinanet --size 192 256 --anchors 0.5 --channels 64 \\
        --encoder tf_efficientnet_lite0 --weights efficientnet-lite0-57934424.pth \\
        --epochs 30 --batch-size 4 --validations 10

Measured so, 3 seeds, in 14 minutes of a core each: 53.3 ± 1.3 % average precision, and
89.4 of a hundred at an IoU of 0.5.  Many of the surest mistakes are cells that nobody
annotated.  The published 61 of a hundred began with weights of COCO.
"""

from dataclasses import dataclass

from experiments import detection_recipe
from jaxvision import data, tasks
from jaxvision.ops.augment import colour_jitter, random_flip, vertical_flip
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(detection_recipe.Config):
    channels: int = 256
    """Of the feature pyramid and the heads."""
    anchors: float = 1.0
    """Sides of anchors by those of the paper, which are 32 to 812 pixels."""


PUBLISHED = {
    "voc:bccd": Reference(
        "test_ap", 0.61, "AqsaRasheed: YOLOv7 from COCO's weights, on Roboflow's split"
    )
}


def build(config: Config) -> Experiment:
    return detection_recipe.build(
        config,
        model="retinanet_resnet50_fpn",
        options={"pyramid_channels": config.channels},
        detector=tasks.retinanet(scale=config.anchors),
        moves=[
            random_flip,
            vertical_flip(),
            colour_jitter(0.2, 0.2, 0.2, 0.02),
        ],
        resized=data.letterbox,
        frozen=detection_recipe.NORMS,
        published=PUBLISHED,
    )


if __name__ == "__main__":
    smoke = detection_recipe.SMOKE | dict(channels=32, anchors=0.5)
    run(build, Config, smoke=smoke)
