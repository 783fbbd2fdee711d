"""A series as an image: its Gramian angular difference field.

Wang & Oates 2015, https://arxiv.org/abs/1506.00327, on GunPoint: the hand of an actor
who draws a gun or points a finger, 50 series to train on and 150 to test.

    pip install --no-deps aeon
    python -m experiments.series_gramian
    python -m experiments.series_gramian --dataset series:OSULeaf
    python -m experiments.series_gramian --dataset series:PATH

Measured, one seed, two cores: 98.7 % of the test series of GunPoint.
"""

from dataclasses import dataclass

from jaxvision.ops.augment import normalise
from jaxvision.runs import run
from jaxvision.types import Experiment

from . import signal_convnet


@dataclass(frozen=True)
class Config(signal_convnet.Config):
    dataset: str = "series:GunPoint"
    """A set of the UCR archive that the package aeon carries, or `series:PATH`."""
    seed: int = 0
    """Decides the initial weights, the order of the images and dropout."""


def build(config: Config) -> Experiment:
    prepare = normalise(0.5, 0.35)
    return signal_convnet.build(config, augment=prepare, prepare=prepare)


if __name__ == "__main__":
    run(build, Config, smoke=dict(dataset="synthetic:64x64x1", epochs=1))
