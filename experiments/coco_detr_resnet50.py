"""DETR on COCO, as its authors train it.  Carion et al. 2020

https://arxiv.org/abs/2005.12872

    python -m experiments.coco_detr_resnet50 --dataset coco:coco2017 --precision bf16

The folder holds `annotations/instances_train2017.json`, `…_val2017.json` and their
images.  The recipe: 500 epochs of batches of 64, AdamW whose rate of 1e-4, and of 1e-5
in the encoder, falls tenfold after epoch 400, gradients of a norm of at most 0.1,
images that are mirrored or not and of which half are windows, and a ResNet-50 whose
first stage and batch normalisation stay as they are.  Published are 42.0 %; 300 epochs
that fall after 200 are said to cost 1.5 %.

Departures: images fill a square of 1,024 pixels, where the authors bring the shorter
side to 480 … 800, and the longer one to at most 1,333, and no query looks at what was
added; windows have 0.3 to 1 of the image's area, and not fixed ranges of pixels; biases
and normalisations are not decayed; the weights of attention are not dropped; a
hundredth of the training images chooses the checkpoint.

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import detection_recipe
from jaxvision import data, optim, tasks
from jaxvision.ops.augment import random_flip, random_resized_crop, sometimes
from jaxvision.runs import run
from jaxvision.types import Experiment, Optimizer, Reference


@dataclass(frozen=True)
class Config(detection_recipe.Config):
    dataset: str = "coco:coco2017"
    size: tuple[int, int] = (1024, 1024)
    queries: int = 100
    """The most objects that are found in an image; none may have more."""
    layers: int = 6
    """That attend to the image alone, and as many with queries."""
    validation: float = 0.01
    epochs: float = 500
    batch_size: int = 64
    peak_lr: float = 1e-4
    weight_decay: float = 1e-4
    validations: int = 50
    frozen: str = "^backbone/(conv1|bn1|layer1)"
    """What keeps its weights, as a pattern of paths, where the encoder has some."""


PUBLISHED = {
    "coco:coco2017": Reference("test_ap", 0.42, "Carion et al. 2020, table 1, DETR")
}


def build(config: Config) -> Experiment:
    def optimizer(steps: int) -> Optimizer:
        schedule = optim.step(config.peak_lr, drops=[max(round(0.8 * steps), 1)])
        update = optim.adamw(schedule, weight_decay=config.weight_decay, clip=0.1)
        return optim.scale_rates(update, [("^backbone/", 0.1)])

    window = random_resized_crop(config.size, scale=(0.3, 1.0), ratio=(0.5, 2.0))
    return detection_recipe.build(
        config,
        model="detr_resnet50",
        options=dict(
            queries=config.queries,
            encoder_layers=config.layers,
            decoder_layers=config.layers,
        ),
        detector=tasks.detr(queries=config.queries, layers=config.layers),
        moves=[random_flip, sometimes(window, 0.5)],
        resized=data.letterbox,
        frozen=f"{config.frozen}|{detection_recipe.NORMS}",
        optimizer=optimizer,
        published=PUBLISHED,
    )


if __name__ == "__main__":
    run(build, Config, smoke=detection_recipe.SMOKE | dict(queries=20, layers=1))
