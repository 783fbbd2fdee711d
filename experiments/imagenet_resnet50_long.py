"""ResNet-50 on ImageNet in 600 epochs: torchvision's recipe of 2021.

The network of `imagenet_resnet50`, with the training behind torchvision's
`IMAGENET1K_V2` weights, https://pytorch.org/blog/how-to-train-state-of-the-art-models:
batches of 1024, half a cosine after a warm-up, weight decay 2e-5, label smoothing,
TrivialAugment, random erasing, mixup or CutMix, every image four times in a batch, and
a moving average of the parameters; trained at 176 pixels and tested at 224.  Published
are 80.858 %, of one run.

    python -m experiments.imagenet_resnet50_long --precision bf16

Departures: the warm-up rises from 0, not from a hundredth; the average moves at each
step, where torchvision's moves at every 32nd by as much as that makes; and one
hundredth of the training images chooses the best checkpoint.

Measured: not yet.
"""

from dataclasses import dataclass
from typing import Literal

from experiments import imagenet_resnet50
from experiments.imagenet_resnet50 import SMOKE
from jaxvision.runs import run
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config(imagenet_resnet50.Config):
    crop: int = 176
    """Side in pixels of the random resized crops of training."""
    test_resize: int = 232
    """To what the shorter side of images is resized before their central crops."""
    epochs: float = 600
    """Passes over the training images."""
    warmup_epochs: float = 5
    """Passes in which the learning rate rises from 0 to its peak."""
    batch_size: int = 1024
    """Images per step, over all devices."""
    peak_lr: float = 0.5
    """Highest learning rate."""
    schedule: Literal["step", "cosine"] = "cosine"
    """`cosine` takes the rate to zero; `step` divides it by 10 after 1/3, 2/3 and 8/9
    of the run."""
    weight_decay: float = 2e-5
    """Shrinks the kernels, but neither biases nor norms."""
    label_smoothing: float = 0.1
    """Label smoothing ε of the training targets."""
    policy: Literal["none", "rand", "trivial"] = "trivial"
    """RandAugment, of two operations at their full strength, or TrivialAugment."""
    mixup: float = 0.2
    """α of mixup; 0: none.  With CutMix too, an example is mixed by one of them."""
    cutmix: float = 1.0
    """α of CutMix; 0: none."""
    erasing: float = 0.1
    """Probability with which a rectangle of a training image is covered by noise."""
    repeats: int = 4
    """How often an image is in a batch, each time with another crop."""
    average: float | None = 1 - (1 - 0.99998) * 1024 / 600
    """Decay, per step, of a moving average of the parameters that is tested; None: the
    parameters themselves are."""


def build(config: Config) -> Experiment:
    source = "torchvision, ResNet50_Weights.IMAGENET1K_V2"
    return imagenet_resnet50.build(config, {Config(): 0.80858}, source)


if __name__ == "__main__":
    # Mixed by less, so that an untrained network is told from one that learns.
    mixed = dict(mixup=0.1, cutmix=0.1)
    smoke = SMOKE | mixed | dict(warmup_epochs=1, policy="none", average=0.9)
    run(build, Config, smoke=smoke)
