"""Mask R-CNN on COCO, as torchvision trains it.  He et al. 2017

https://arxiv.org/abs/1703.06870

    python -m experiments.coco_maskrcnn_resnet50 --dataset coco:coco2017 \\
        --precision bf16

The folder holds `annotations/instances_train2017.json`, `…_val2017.json` and their
images.  The recipe is that of `coco_fasterrcnn_resnet50`, with its departures.
Published are 34.6 % of masks, and 37.9 % of boxes.

Measured: not yet.
"""

from experiments import rcnn_recipe
from jaxvision import tasks
from jaxvision.ops.augment import random_flip
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference

Config = rcnn_recipe.Coco

PUBLISHED = {
    "coco:coco2017": Reference(
        "test_mask_ap", 0.346, "torchvision, maskrcnn_resnet50_fpn, COCO_V1"
    )
}


def build(config: Config) -> Experiment:
    return rcnn_recipe.on_coco(
        config,
        drops=(16, 22),
        model="maskrcnn_resnet50_fpn",
        detector=tasks.mask_rcnn,
        moves=[random_flip],
        published=PUBLISHED,
    )


if __name__ == "__main__":
    run(build, Config, smoke=rcnn_recipe.SMOKE)
