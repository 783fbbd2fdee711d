"""RetinaNet on COCO, as torchvision trains it.  Lin et al. 2017

https://arxiv.org/abs/1708.02002

    python -m experiments.coco_retinanet_resnet50 --dataset coco:coco2017 \\
        --precision bf16

The folder holds `annotations/instances_train2017.json`, `…_val2017.json` and their
images: 117,266 with objects and 1,021 without to train on, 5,000 to test on.  The
recipe: 26 epochs of batches of 16, momentum 0.9, a rate of 0.01 that rises over 1,000
steps and falls tenfold after epochs 16 and 22, images that are mirrored or not, and a
ResNet-50 whose first stage and batch normalisation stay as they are.  Published are
36.4 %.

Departures: images fill a square of 1,024 pixels, where torchvision brings the shorter
side to 800 and the longer one to at most 1,333; images without objects are trained on;
batch normalisation and biases are not decayed; a hundredth of the training images
chooses the checkpoint.

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import detection_recipe
from jaxvision import data, tasks
from jaxvision.ops.augment import random_flip
from jaxvision.runs import run
from jaxvision.types import Experiment, Optimizer, Reference


@dataclass(frozen=True)
class Config(detection_recipe.Config):
    dataset: str = "coco:coco2017"
    size: tuple[int, int] = (1024, 1024)
    validation: float = 0.01
    epochs: float = 26
    batch_size: int = 16
    peak_lr: float = 0.01
    weight_decay: float = 1e-4
    validations: int = 26
    frozen: str = "^backbone/(conv1|bn1|layer1)"
    """What keeps its weights, as a pattern of paths, where the encoder has some."""


PUBLISHED = {
    "coco:coco2017": Reference(
        "test_ap", 0.364, "torchvision, retinanet_resnet50_fpn, COCO_V1"
    )
}


def build(config: Config) -> Experiment:
    def optimizer(steps: int) -> Optimizer:
        drops = (16 / 26, 22 / 26)
        return detection_recipe.in_steps(config, steps, drops=drops, warmup=1000)

    return detection_recipe.build(
        config,
        model="retinanet_resnet50_fpn",
        options={},
        detector=tasks.retinanet(),
        moves=[random_flip],
        resized=data.letterbox,
        frozen=f"{config.frozen}|{detection_recipe.NORMS}",
        optimizer=optimizer,
        published=PUBLISHED,
    )


if __name__ == "__main__":
    run(build, Config, smoke=detection_recipe.SMOKE)
