"""Keypoint R-CNN on the people of COCO, as torchvision trains it.  He et al. 2017

https://arxiv.org/abs/1703.06870, section 5

    python -m experiments.coco_keypointrcnn --precision bf16 \\
        --dataset coco:coco2017/annotations/person_keypoints_train2017.json

The folder holds `annotations/person_keypoints_train2017.json`, `…_val2017.json` and
their images.  The recipe is that of `coco_fasterrcnn_resnet50`, but for 46 epochs, of
which the rate falls after 36 and 43.
Published are 65.0 % of keypoints, and 54.6 % of boxes.

Departures: images fill a square of 1,024 pixels, where torchvision brings the shorter
side to one of 640 to 800 and the longer one to at most 1,333; images without people, or
whose people have few keypoints, are trained on; batch normalisation and biases are not
decayed; a hundredth of the training images chooses the checkpoint.

Measured: not yet.
"""

from dataclasses import dataclass

from experiments import rcnn_recipe
from jaxvision import tasks
from jaxvision.data import Source
from jaxvision.errors import check
from jaxvision.ops.augment import random_flip
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference

DATASET = "coco:coco2017/annotations/person_keypoints_train2017.json"


@dataclass(frozen=True)
class Config(rcnn_recipe.Coco):
    dataset: str = DATASET
    epochs: float = 46
    flip: bool = True
    """Mirror half of the images; keypoints must tell left from right then."""
    keypoint_channels: int = 512
    """Of the eight convolutions of the head of keypoints."""


PUBLISHED = {
    DATASET: Reference(
        "test_keypoint_ap", 0.650, "torchvision, keypointrcnn_resnet50_fpn, COCO_V1"
    )
}


def build(config: Config) -> Experiment:
    return rcnn_recipe.on_coco(
        config,
        drops=(36, 43),
        model="keypointrcnn_resnet50_fpn",
        options=lambda train: {
            "num_keypoints": number_of_keypoints(train),
            "keypoint_channels": config.keypoint_channels,
        },
        detector=tasks.keypoint_rcnn,
        moves=[random_flip] if config.flip else [],
        published=PUBLISHED,
    )


def number_of_keypoints(train: Source) -> int:
    """As many as the set has names for."""
    check(
        (
            train.skeleton is not None,
            f"{train.dataset} has no keypoints with names: choose a set that has them",
        )
    )
    assert train.skeleton is not None
    return len(train.skeleton.names)


if __name__ == "__main__":
    run(build, Config, smoke=rcnn_recipe.SMOKE | dict(flip=False, keypoint_channels=16))
