"""SSDLite on blood cells under the microscope.  Sandler et al. 2018

https://arxiv.org/abs/1801.04381

    python -m experiments.bccd_ssdlite --dataset voc:bccd

The data are those of `bccd_retinanet`.  Default boxes, and frames around images, are
smaller than those for COCO, since a platelet is a sixteenth of an image wide.  On two
cores:

    python -m experiments.bccd_ssdlite --size 192 256 --epochs 60 --validations 10 \\
        --encoder tf_efficientnet_lite0 --weights efficientnet-lite0-57934424.pth \\
        --maps stage3 stage4

Measured so, 3 seeds, in 20 minutes of a core each: 55.3 ± 0.3 % average precision, and
87.9 of a hundred at an IoU of 0.5.
"""

from dataclasses import dataclass

from experiments import bccd_retinanet, detection_recipe
from jaxvision import data, tasks
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(detection_recipe.Config):
    size: tuple[int, int] = (320, 320)
    encoder: str = "mobilenet_v2"
    maps: tuple[str, str] = ("stage4", "stage5")
    """Activations of the encoder that are the first two maps, the finer one first."""
    scales: tuple[float, float] = (0.06, 0.6)
    """Of the smallest and the largest default boxes, as shares of the image."""
    frame: float = 1.5
    """Sides of the largest frame that training images are put into, by theirs."""


def build(config: Config) -> Experiment:
    fine, coarse = config.maps
    return detection_recipe.build(
        config,
        model="ssdlite320_mobilenet_v3_large",
        options={"fine_from": fine, "coarse_from": coarse},
        detector=tasks.ssdlite(range_of_scales=config.scales),
        moves=detection_recipe.ssd_moves(config.size, config.frame),
        resized=data.stretch,
        published=bccd_retinanet.PUBLISHED,
    )


if __name__ == "__main__":
    smoke = detection_recipe.SMOKE | dict(maps=("stage3", "stage4"))
    run(build, Config, smoke=smoke)
