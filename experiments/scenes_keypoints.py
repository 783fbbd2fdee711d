"""The outermost points of digits in drawn scenes, by a small Simple Baseline.

    python -m experiments.scenes_keypoints

Each digit of a scene is an example; the network sees the crop around its box, with what
lies over it or beside it.  PCK is the share of points within a tenth of the longer side
of the box.  From scratch, and small enough for two cores.

Measured, 3 seeds, in 11 to 14 minutes of a core each: 53.7 ± 0.3 % PCK, and a mean
error of 2.8 pixels.  In the picture the largest errors are in heaps, where the point
that is found is another digit's, and on strokes, of whose ends either may be outermost.
"""

from dataclasses import dataclass

from experiments import pose_recipe
from jaxvision import tasks
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(pose_recipe.Config):
    dataset: str = "objects:scenes:64x64x3:1500:300"
    size: tuple[int, int] = (64, 64)
    encoder: str = "resnet18"
    """Of the network: any classifier with a map of stride 32."""
    channels: int = 64
    """Of the up-convolutions."""
    epochs: float = 8
    batch_size: int = 64
    peak_lr: float = 2e-3
    weight_decay: float = 1e-2
    degrees: float = 0.0
    """Turned digits have other outermost points."""
    zoom: float = 0.1
    validations: int = 8


def build(config: Config) -> Experiment:
    return pose_recipe.build(
        config,
        model="simplebaseline_resnet50",
        options={"encoder": config.encoder, "channels": (config.channels,) * 3},
        localiser=tasks.soft_argmax(),
        measured={"threshold": 0.1},
        margin=1.0,
        published={},
    )


if __name__ == "__main__":
    run(build, Config, smoke=pose_recipe.SMOKE | dict(channels=16))
