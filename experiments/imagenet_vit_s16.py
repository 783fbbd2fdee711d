"""ViT-S/16 on ImageNet in 90 epochs.  Beyer et al. 2022

https://arxiv.org/abs/2205.01580: fixed positions, the mean of the tokens, batches of
1024, AdamW at 1e-3 with a warm-up of 10,000 steps, gradients clipped at a norm of 1,
RandAugment at its full strength and mixup: nothing else.  Published are 76.5 %, and
80.0 % in 300 epochs.

    python -m experiments.imagenet_vit_s16 --precision bf16
    python -m experiments.imagenet_vit_s16 --precision bf16 --epochs 300

Like the paper it holds one hundredth of the training images out.  Adam's first moment
is float32, where the paper keeps it in bfloat16.

Measured: not yet.
"""

from dataclasses import dataclass
from typing import Literal

from experiments import imagenet_recipe
from jaxvision import models, optim
from jaxvision.runs import run
from jaxvision.types import Experiment, Model, Optimizer


@dataclass(frozen=True)
class Config(imagenet_recipe.Config):
    depth: int = 12
    """Blocks."""
    features: int = 384
    """Units of a token; a multiple of the six heads."""
    warmup_epochs: float = 8.08
    """Passes in which the learning rate rises from 0 to its peak: 10,000 steps."""
    batch_size: int = 1024
    """Images per step, over all devices."""
    peak_lr: float = 1e-3
    """Highest learning rate of AdamW."""
    weight_decay: float = 0.1
    """Shrinks the kernels by rate × decay in each step: 1e-4 at the highest rate."""
    policy: Literal["none", "rand", "trivial"] = "rand"
    """RandAugment, of two operations at their full strength, or TrivialAugment."""
    mixup: float = 0.2
    """α of mixup; 0: none.  With CutMix too, an example is mixed by one of them."""


PUBLISHED = {Config(): 0.765, Config(epochs=300): 0.800}


def build(config: Config) -> Experiment:
    def model(classes: int) -> Model:
        return models.create(
            "vit_s16_plain",
            num_classes=classes,
            depth=config.depth,
            features=config.features,
            hidden=4 * config.features,
            representation_size=config.features,
        )

    def optimizer(network: Model, steps: int, warmup: int) -> Optimizer:
        return optim.adamw(
            optim.warmup_cosine(config.peak_lr, steps=steps, warmup=warmup),
            weight_decay=config.weight_decay,
            no_weight_decay=network.no_weight_decay,
            clip=1.0,
        )

    return imagenet_recipe.build(
        config,
        model=model,
        optimizer=optimizer,
        published=PUBLISHED,
        source="Beyer et al. 2022",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


if __name__ == "__main__":
    smoke = dict(
        dataset="synthetic:48x48x3",
        crop=32,
        test_crop=32,
        test_resize=36,
        validation=0.1,
        depth=2,
        features=96,
        epochs=6,
        warmup_epochs=1,
        batch_size=32,
        policy="none",
    )
    run(build, Config, smoke=smoke)
