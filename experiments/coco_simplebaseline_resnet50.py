"""17 joints of people in photographs, by Simple Baseline on a ResNet-50.

Xiao et al. 2018, https://arxiv.org/abs/1804.06208

    python -m experiments.coco_simplebaseline_resnet50 --dataset objects:coco:COCO

The recipe of the authors: crops of 256×192 around people, which are turned, zoomed and
mirrored; Adam for 140 passes, whose rate falls tenfold after 90 and 120; the mean with
the mirror image.  The published 70.4 % are with boxes that a detector found (AP
56.4 %), and these are the annotated ones, which are easier.

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import pose_recipe
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference


@dataclass(frozen=True)
class Config(pose_recipe.Config):
    dataset: str = "objects:coco:COCO"
    encoder: str = "resnet50"
    """Of the network: any classifier with a map of stride 32."""
    weights: str | None = "default"
    epochs: float = 140
    batch_size: int = 128


PUBLISHED = {
    "objects:coco:COCO": Reference(
        "test_ap", 0.704, "Xiao et al. 2018, with the boxes of a detector"
    )
}


def build(config: Config) -> Experiment:
    return pose_recipe.coco(
        config,
        "simplebaseline_resnet50",
        {"encoder": config.encoder},
        drops=(90 / 140, 120 / 140),
        published=PUBLISHED,
    )


if __name__ == "__main__":
    run(build, Config, smoke=pose_recipe.SMOKE | dict(encoder="resnet18", weights=None))
