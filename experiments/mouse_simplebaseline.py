"""Four points of a mouse that is seen from above, by Simple Baseline.

    python -m experiments.mouse_simplebaseline --dataset coco:mouse_openfield \\
        --weights efficientnet-lite0-57934424.pth

The data are 116 grey frames of 640×480 pixels of DeepLabCut's example, with the snout,
both ears and the base of the tail; a fifth is held out for testing.  They are of one
video, so that the numbers are about other frames of the same mouse.  Mathis et al. 2018
(https://doi.org/10.1038/s41593-018-0209-y) report a human error of 2.7 pixels and a
root mean square error of 4.2 for all 1,080 frames, in another split.  The network sees
three fifths of the resolution and begins with ImageNet's weights, so that two cores can
train it.

Measured, 3 seeds, in 9 to 13 min of a core: a mean error of 6.30 ± 0.77 pixels: 3.4 at
the base of the tail, 6.5 and 7.4 at the ears and 8.0 at the snout.  The mouse is often
in a corner, and some turns of 90 degrees take it out of the image: fewer may do better.
"""

from dataclasses import dataclass

from experiments import pose_recipe
from jaxvision import tasks
from jaxvision.ops.augment import colour_jitter
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(pose_recipe.Config):
    dataset: str = "coco:mouse_openfield"
    size: tuple[int, int] = (288, 384)
    encoder: str = "tf_efficientnet_lite0"
    """Of the network: any classifier with a map of stride 32."""
    channels: int = 64
    """Of the up-convolutions."""
    epochs: float = 40
    batch_size: int = 8
    peak_lr: float = 2e-3
    weight_decay: float = 1e-2
    degrees: float = 90.0
    zoom: float = 0.2
    validations: int = 10


def build(config: Config) -> Experiment:
    return pose_recipe.build(
        config,
        model="simplebaseline_resnet50",
        options={"encoder": config.encoder, "channels": (config.channels,) * 3},
        localiser=tasks.heatmaps(rounded=False),
        measured={"headline": "mean_error"},
        moves=[colour_jitter(0.3, 0.3, 0.3, 0.05)],
        published={},
    )


if __name__ == "__main__":
    run(build, Config, smoke=pose_recipe.SMOKE | dict(channels=16))
