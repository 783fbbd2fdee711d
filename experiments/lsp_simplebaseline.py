"""14 joints of people who do sports, by Simple Baseline.  Xiao et al. 2018

https://arxiv.org/abs/1804.06208

    python -m experiments.lsp_simplebaseline --dataset coco:lspet400 \\
        --encoder tf_efficientnet_lite0 --weights efficientnet-lite0-57934424.pth

The data are the first 400 people of Leeds Sports Pose Extended, with the joints that
are seen, of which a fifth is held out for testing.  Annotation 24 reaches a pixel
beyond its image and is named in `images/exclude.txt` (`train annotation 24`).
Published numbers are of other images and 27 times as many.  PCK is the share of joints
within a fifth of the torso, from the left shoulder to the right hip.  For two cores it
is at half of the resolution of the paper, with narrower up-convolutions, on a small
encoder that has ImageNet's weights.

Measured with `--epochs 30`, one seed, in six minutes of a core: 34.3 % PCK.  It was
still rising: on the validation split from 26 to 33 of a hundred in nine epochs.
"""

from dataclasses import dataclass

from experiments import pose_recipe
from jaxvision import tasks
from jaxvision.metrics.landmarks import between
from jaxvision.ops.augment import colour_jitter
from jaxvision.runs import run
from jaxvision.types import Experiment

TORSO = between(9, 2)
"""From the left shoulder to the right hip."""


@dataclass(frozen=True)
class Config(pose_recipe.Config):
    dataset: str = "coco:lspet400"
    size: tuple[int, int] = (128, 128)
    encoder: str = "tf_efficientnet_lite0"
    """Of the network: any classifier with a map of stride 32."""
    channels: int = 128
    """Of the up-convolutions."""
    epochs: float = 60
    batch_size: int = 16
    peak_lr: float = 2e-3
    weight_decay: float = 1e-2
    validations: int = 10


def build(config: Config) -> Experiment:
    return pose_recipe.build(
        config,
        model="simplebaseline_resnet50",
        options={"encoder": config.encoder, "channels": (config.channels,) * 3},
        localiser=tasks.heatmaps(),
        norms={14: TORSO},
        margin=1.4,
        moves=[colour_jitter(0.3, 0.3, 0.3, 0.05)],
        published={},
    )


if __name__ == "__main__":
    run(build, Config, smoke=pose_recipe.SMOKE | dict(channels=16))
