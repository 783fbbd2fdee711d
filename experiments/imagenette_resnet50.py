"""ResNet-50 on Imagenette, ten classes of ImageNet that are easy to tell apart.

https://github.com/fastai/imagenette, at 128 pixels and in 80 epochs, as on its
leaderboard, with what of `imagenet_resnet50_long` fits into so few: half a cosine,
label smoothing and mixup.  The leaderboard says 93.55 % for that size and budget, the
mean of five runs of an xse_resnext50 with the Ranger optimiser; there is no number for
a ResNet-50.

    python -m experiments.imagenette_resnet50
    python -m experiments.imagenette_resnet50 --dataset imagewoof/160px-v2

Its tests are the validation images of ImageNet, and a tenth of its training images
chooses the best checkpoint.

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
    dataset: str = "imagenette/160px-v2"
    """Any set of colour photographs: of TFDS, or `folder:PATH`."""
    crop: int = 128
    """Side in pixels of the random resized crops of training."""
    test_crop: int = 128
    """Side in pixels of the central crops of validation and test."""
    test_resize: int = 146
    """To what their shorter side is resized before."""
    validation: float = 0.1
    """Share of the training split that chooses the best checkpoint, where the data
    declare no validation split beside a test split."""
    epochs: float = 80
    """Passes over the training images."""
    warmup_epochs: float = 5
    """Passes in which the learning rate rises from 0 to its peak."""
    batch_size: int = 64
    """Images per step, over all devices."""
    peak_lr: float = 0.05
    """Highest learning rate."""
    weight_decay: float = 5e-4
    """Shrinks the kernels, but neither biases nor norms."""
    schedule: Literal["step", "cosine"] = "cosine"
    """`cosine` takes the rate to zero; `step` divides it by 10 after 1/3, 2/3 and 8/9
    of the run."""
    label_smoothing: float = 0.1
    """Label smoothing ε of the training targets."""
    mixup: float = 0.2
    """α of mixup; 0: none.  With CutMix too, an example is mixed by one of them."""


def build(config: Config) -> Experiment:
    source = "fastai/imagenette, 128 px and 80 epochs, xse_resnext50"
    return imagenet_resnet50.build(config, {Config(): 0.9355}, source)


if __name__ == "__main__":
    run(build, Config, smoke=SMOKE | dict(warmup_epochs=1))
