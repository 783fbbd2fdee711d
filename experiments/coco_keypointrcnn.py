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
from jaxvision.metrics.keypoints import COCO_SIGMAS
from jaxvision.ops.augment import horizontal_flip
from jaxvision.runs import run
from jaxvision.types import Experiment, Reference

DATASET = "coco:coco2017/annotations/person_keypoints_train2017.json"

MIRRORED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""The counterpart of each of COCO's 17 keypoints, nose, eyes, ears, shoulders, elbows,
wrists, hips, knees and ankles, the left ones first."""


@dataclass(frozen=True)
class Config(rcnn_recipe.Coco):
    dataset: str = DATASET
    epochs: float = 46
    keypoints: int = 17
    """Of each object; with others than COCO's, images are not mirrored, and all are
    measured with the same tolerance."""


PUBLISHED = {
    DATASET: Reference(
        "test_keypoint_ap", 0.650, "torchvision, keypointrcnn_resnet50_fpn, COCO_V1"
    )
}


def build(config: Config) -> Experiment:
    known = config.keypoints == len(MIRRORED)
    return rcnn_recipe.on_coco(
        config,
        drops=(36, 43),
        model="keypointrcnn_resnet50_fpn",
        options={"num_keypoints": config.keypoints},
        sigmas=COCO_SIGMAS if known else [0.05] * config.keypoints,
        detector=tasks.keypoint_rcnn,
        moves=[horizontal_flip(mirrored_keypoints=MIRRORED)] if known else [],
        published=PUBLISHED,
    )


if __name__ == "__main__":
    run(build, Config, smoke=rcnn_recipe.SMOKE | dict(keypoints=4))
