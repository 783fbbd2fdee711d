"""Blood cells under the microscope: red ones, white ones and platelets, by YOLOX-nano.

    python -m experiments.bccd_yolox --dataset voc:bccd

The data are those of `bccd_retinanet`: 205 images to train on, 87 to validate on and 72
to test on.  The network is trained from scratch, as the authors train it on COCO but
for a share of the passes.

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import bccd_retinanet, yolox_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(yolox_recipe.Config):
    dataset: str = "voc:bccd"
    model: str = "yolox_nano"
    size: tuple[int, int] | None = (416, 416)
    mosaic: float = 0.5
    jitter: float = 0.3
    epochs: float = 150
    batch_size: int = 16
    average: float = 0.998


ELSEWHERE = bccd_retinanet.PUBLISHED["voc:bccd"]
PUBLISHED = {Config(): ELSEWHERE._replace(metric="test_average_ap")}


def build(config: Config) -> Experiment:
    return yolox_recipe.build(config, published=PUBLISHED)


if __name__ == "__main__":
    run(build, Config, smoke=yolox_recipe.SMOKE)
