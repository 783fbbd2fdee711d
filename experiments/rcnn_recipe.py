"""Detectors of two stages on photographs: boxes, and masks or keypoints in them.

This is the recipe that `pennfudan_maskrcnn`, `scenes_maskrcnn`,
`coco_fasterrcnn_resnet50`, `coco_maskrcnn_resnet50` and `coco_keypointrcnn` share, and
no experiment of its own: `detection_recipe` with the sizes of such networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments import detection_recipe
from jaxvision import data, tasks
from jaxvision.types import Experiment, Optimizer


@dataclass(frozen=True)
class Config(detection_recipe.Config):
    channels: int = 256
    """Of the feature pyramid and of the heads of proposals and masks."""
    units: int = 1024
    """Of the dense layers of the head of boxes."""
    anchors: float = 1.0
    """Sides of anchors by those of the paper, which are 32 to 512 pixels."""
    proposals: int = 2000
    """Boxes of an image from which regions are drawn in training, at most; half of them
    are looked at in evaluation."""
    regions: int = 512
    """Of an image that teach, at most."""


def build(
    config: Config,
    *,
    model: str,
    detector: Callable[..., tasks.Detector],
    options: Callable[[data.Source], Mapping[str, Any]] = lambda train: {},
    **recipe: Any,
) -> Experiment:
    """The experiment of a config.

    Args:
      model: its name, and `options` what makes further ones of `models.create` of the
        training split.
      detector: such as `tasks.mask_rcnn`.
      recipe: of `detection_recipe.build`.
    """
    tested = max(config.proposals // 2, 1)
    return detection_recipe.build(
        config,
        model=model,
        options=lambda train: {
            "pyramid_channels": config.channels,
            "box_units": config.units,
            **options(train),
        },
        detector=detector(
            scale=config.anchors,
            candidates_in_training=config.proposals,
            proposals_in_training=config.proposals,
            candidates=tested,
            proposals=tested,
            regions=config.regions,
        ),
        resized=data.letterbox,
        **recipe,
    )


@dataclass(frozen=True)
class Coco(Config):
    """As torchvision trains on COCO: 26 epochs of batches of 16."""

    dataset: str = "coco:coco2017"
    size: tuple[int, int] = (1024, 1024)
    validation: float = 0.01
    epochs: float = 26
    batch_size: int = 16
    peak_lr: float = 0.02
    weight_decay: float = 1e-4
    validations: int = 26
    frozen: str = "^backbone/(conv1|bn1|layer1)"
    """What keeps its weights, as a pattern of paths, where the encoder has some."""


def on_coco(config: Coco, drops: tuple[int, ...], **options: Any) -> Experiment:
    """The experiment whose rate falls tenfold after these epochs of torchvision's."""

    def optimizer(steps: int) -> Optimizer:
        whole = type(config)().epochs
        shares = [epoch / whole for epoch in drops]
        return detection_recipe.in_steps(config, steps, drops=shares, warmup=1000)

    return build(
        config,
        frozen=f"{config.frozen}|{detection_recipe.NORMS}",
        optimizer=optimizer,
        **options,
    )


SMOKE = detection_recipe.SMOKE | dict(
    channels=32, units=32, anchors=0.25, proposals=64, regions=32
)
"""Small values for the experiments that share this."""
