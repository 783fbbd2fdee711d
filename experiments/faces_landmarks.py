"""68 landmarks of a face: brows, eyes, nose, mouth and the line of the jaw.

    python -m experiments.faces_landmarks --dataset landmarks:face_landmarks68

The data are 3,462 and 770 grey crops of 96² pixels around faces of YouTube videos.  The
same people appear in both splits, so that the numbers are about new pictures of known
faces, and none that is published is of this split.  The network is a small one with
heatmaps at a quarter of the size (Xiao et al. 2018), read by their soft-argmax (Sun et
al. 2018), and trained from scratch, with narrow up-convolutions and few passes, since
it is meant for two cores.

NME is the mean error of the landmarks by the distance between the outer corners of the
eyes (inter-ocular).

Measured, one seed, in 19 min of a core: an NME of 5.09 %, or 1.8 pixels; for 3.5 of a
hundred faces it is above 8.  The line of the jaw is the hardest: of its points 73 of a
hundred are found within that distance, of the brows 85, of the mouth 89, of the eyes 92
and of the nose 93.
"""

from dataclasses import dataclass
from typing import Any, Literal

from experiments import pose_recipe
from jaxvision import tasks
from jaxvision.metrics.landmarks import between
from jaxvision.ops.augment import colour_jitter
from jaxvision.runs import run
from jaxvision.skeletons import skeleton
from jaxvision.types import Experiment


def mirrored() -> list[int]:
    """Of the 68 landmarks of 300-W (https://ibug.doc.ic.ac.uk/resources/300-W/)."""
    others = list(range(68))
    for one, other in (
        *((i, 16 - i) for i in range(8)),  # jaw
        *((17 + i, 26 - i) for i in range(5)),  # brows
        *((31 + i, 35 - i) for i in range(2)),  # nostrils
        *((36 + i, 45 - i) for i in range(4)),  # eyes, the upper lids
        *((40 + i, 47 - i) for i in range(2)),  # and the lower ones
        *((48 + i, 54 - i) for i in range(3)),  # outer lips
        *((55 + i, 59 - i) for i in range(2)),
        *((60 + i, 64 - i) for i in range(2)),  # inner lips
        (65, 67),
    ):
        others[one], others[other] = other, one
    return others


def limbs() -> list[tuple[int, int]]:
    """Lines along the parts of the face."""
    lines = [(first, last) for first, last in ((0, 16), (17, 21), (22, 26), (27, 30))]
    lines += [(31, 35), (36, 41), (42, 47), (48, 59), (60, 67)]
    pairs = [(i, i + 1) for first, last in lines for i in range(first, last)]
    return [*pairs, (36, 41), (42, 47), (48, 59), (60, 67)]


FACE = skeleton([str(i) for i in range(68)], limbs=limbs(), mirrored=mirrored())
EYES = between(36, 45)
"""Their outer corners."""


@dataclass(frozen=True)
class Config(pose_recipe.Config):
    dataset: str = "landmarks:face_landmarks68"
    size: tuple[int, int] = (96, 96)
    method: Literal["soft_argmax", "heatmaps", "coordinates"] = "soft_argmax"
    """How landmarks are learned and found: by maps and their mean place, by maps and
    their highest place, or as numbers."""
    encoder: str = "resnet18"
    """Of the network: any classifier with a map of stride 32."""
    channels: int = 64
    """Of the up-convolutions."""
    epochs: float = 15
    batch_size: int = 32
    peak_lr: float = 2e-3
    weight_decay: float = 1e-2
    degrees: float = 25.0
    zoom: float = 0.15
    validations: int = 10


METHODS = {
    "soft_argmax": tasks.soft_argmax(),
    "heatmaps": tasks.heatmaps(1.5, rounded=False),
    "coordinates": tasks.coordinates(),
}


def build(config: Config) -> Experiment:
    model: str = config.encoder
    options: dict[str, Any] = {}
    if config.method != "coordinates":
        model = "simplebaseline_resnet50"
        options = {"encoder": config.encoder, "channels": (config.channels,) * 3}
    return pose_recipe.build(
        config,
        model=model,
        options=options,
        localiser=METHODS[config.method],
        known=FACE,
        norms={68: EYES},
        measured=dict(threshold=0.08, headline="nme"),
        moves=[colour_jitter(0.3, 0.3, 0.0, 0.0)],
        published={},
    )


if __name__ == "__main__":
    run(build, Config, smoke=pose_recipe.SMOKE | dict(channels=16))
