"""SSD of 300×300 pixels on Pascal VOC 2007 and 2012.  Liu et al. 2016

https://arxiv.org/abs/1512.02325

    python -m experiments.voc0712_ssd300 --dataset voc:VOC0712 --precision bf16

VOC0712 holds `JPEGImages/` and `Annotations/` of both years, and in `ImageSets/Main/`
the list `trainval.txt` of both, 16,551 images, and the `test.txt` of 2007, 4,952.  The
recipe: 120,000 steps of 32 images, momentum 0.9, a rate of 0.001 that falls tenfold at
80,000 and 100,000, frames of up to four times the size, windows around objects, other
colours.  Published are 77.2 %, by the rule of eleven points.

Departures: it begins with a VGG-16 whose dense layers are left out, where the authors
make convolutions of these; images are brought to 500×500 before they are cut; colours
change together, in half of the images; biases are not decayed; 3 in 100 training images
choose the checkpoint.

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import detection_recipe
from jaxvision import data, tasks
from jaxvision.errors import check
from jaxvision.runs import run
from jaxvision.types import Experiment, Optimizer, Reference


@dataclass(frozen=True)
class Config(detection_recipe.Config):
    dataset: str = "voc:VOC0712"
    size: tuple[int, int] = (300, 300)
    canvas: tuple[int, int] = (500, 500)
    """Height and width in pixels that training images are brought to, before windows
    are cut out of them."""
    encoder: str = "vgg16"
    """A VGG."""
    width: int = 64
    """Channels of its first stage; the next ones have 2, 4, 8 and 8 times as many."""
    validation: float = 0.03
    epochs: float = 239.3
    batch_size: int = 32
    peak_lr: float = 1e-3
    weight_decay: float = 5e-4
    validations: int = 40


PUBLISHED = {
    "voc:VOC0712": Reference(
        "test_voc_ap", 0.772, "Liu et al. 2016, table 6: SSD300*, 07+12"
    )
}


def build(config: Config) -> Experiment:
    check(
        (
            config.weights is None or config.width == 64,
            "--weights are of a VGG of width 64: leave out --width",
        )
    )
    features = tuple(config.width * times for times in (1, 2, 4, 8, 8))

    def optimizer(steps: int) -> Optimizer:
        return detection_recipe.in_steps(config, steps, drops=(2 / 3, 5 / 6))

    return detection_recipe.build(
        config,
        model="ssd300_vgg16",
        options={"encoder_options": {"features": features}},
        detector=tasks.ssd(),
        moves=detection_recipe.ssd_moves(config.size),
        resized=data.stretch,
        seen=config.canvas,
        rule="11 points",
        optimizer=optimizer,
        published=PUBLISHED,
    )


if __name__ == "__main__":
    smoke = dict(size=(300, 300), canvas=(300, 300), encoder="vgg11", width=4)
    run(build, Config, smoke=detection_recipe.SMOKE | smoke)
