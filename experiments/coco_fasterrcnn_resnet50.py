"""Faster R-CNN on COCO, as torchvision trains it.  Ren et al. 2015

https://arxiv.org/abs/1506.01497

    python -m experiments.coco_fasterrcnn_resnet50 --dataset coco:coco2017 \\
        --precision bf16

The folder holds `annotations/instances_train2017.json`, `…_val2017.json` and their
images.  The recipe: 26 epochs of batches of 16, momentum 0.9, a rate of 0.02 that rises
over 1,000 steps and falls tenfold after epochs 16 and 22, images that are mirrored or
not, and a ResNet-50 whose first stage and batch normalisation stay as they are.
Published are 37.0 %.

Departures: images fill a square of 1,024 pixels, where torchvision brings the shorter
side to 800 and the longer one to at most 1,333; images without objects are trained on;
batch normalisation and biases are not decayed; a hundredth of the training images
chooses the checkpoint.

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
        "test_ap", 0.370, "torchvision, fasterrcnn_resnet50_fpn, COCO_V1"
    )
}


def build(config: Config) -> Experiment:
    return rcnn_recipe.on_coco(
        config,
        drops=(16, 22),
        model="fasterrcnn_resnet50_fpn",
        detector=tasks.faster_rcnn,
        moves=[random_flip],
        published=PUBLISHED,
    )


if __name__ == "__main__":
    run(build, Config, smoke=rcnn_recipe.SMOKE)
