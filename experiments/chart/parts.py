"""What the networks of the chart share: the digits, the training, the pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvision import data, optim, visualise
from jaxvision.errors import check
from jaxvision.measures import Measure
from jaxvision.ops.augment import normalise
from jaxvision.runs import Trained, trained
from jaxvision.types import Experiment, Model, Optimizer, Task, Variables
from jaxvision.visualise.neuron_diagram import Diagram

PER_DISPATCH = 50
"""Training steps that run on the device for each call from Python."""

ACCURACY = Measure("accuracy", "%", "higher", 1)
RMSE = Measure("rmse", "", "lower", 3)
"""Of pixels from 0 to 1."""


class Digits(NamedTuple):
    """The images that all networks of a chart learn from."""

    train: data.Source
    validation: data.Source
    test: data.Source
    images: np.ndarray
    """float32 [N,H,W,1] from 0 to 1, those of `train`."""
    labels: np.ndarray
    """int32 [N]."""
    test_images: np.ndarray
    test_labels: np.ndarray
    effort: float
    """Multiplies the steps of all trainings."""
    seed: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    @property
    def classes(self) -> int:
        return len(self.train.class_names)

    def steps(self, planned: int) -> int:
        """`planned` times the effort, in whole dispatches where there are some."""
        steps = max(round(planned * self.effort), 1)
        return steps if steps < PER_DISPATCH else steps // PER_DISPATCH * PER_DISPATCH


class Learned(NamedTuple):
    """A network of the chart after its training."""

    numbers: Mapping[str, float]
    """By the names of the network's measures."""
    picture: np.ndarray
    """uint8 [S,T,3]."""
    parameters: int
    """Numbers that were learned."""


class Network(NamedTuple):
    """A node of the chart."""

    title: str
    words: str
    """What it is, and what its number and its picture are."""
    source: str
    diagram: Diagram
    measures: Sequence[Measure]
    """The first is its number."""
    learn: Callable[[Digits], Learned]


def read(dataset: str, effort: float, seed: int) -> Digits:
    """The images of a set with classes, the same for all networks.

    Raises `UsageError` for images that are not grey, whose sides differ or are no
    multiples of 4 from 16 on, and where there are no classes.
    """
    splits = data.load(dataset)
    height, width, channels = splits.train.image_shape
    check(
        (
            channels == 1,
            f"the networks of the chart look at grey images, and {dataset} has "
            f"{channels} channels: choose a set such as mnist_5k or fashion_mnist",
        ),
        (
            height is not None and height == width and height % 4 == 0 and height >= 16,
            f"images must be squares whose side is a multiple of 4 from 16 on, and "
            f"those of {dataset} are {height}×{width}: choose a set such as mnist_5k",
        ),
    )
    train, validation = data.train_and_validation(splits, 0.1)
    arrays = [part.read() for part in (train, splits.test)]
    check(
        (
            all("label" in each for each in arrays),
            f"{dataset} has no classes: choose a set such as mnist_5k",
        )
    )
    images = [each["image"].astype(np.float32) / 255 for each in arrays]
    labels = [each["label"] for each in arrays]
    return Digits(
        train, validation, splits.test,
        images[0], labels[0], images[1], labels[1], effort, seed,
    )  # fmt: skip


def by_gradient(
    digits: Digits,
    model: Model,
    task: Task,
    *,
    steps: int,
    rate: float = 2e-3,
    batch_size: int = 50,
    optimizer: Optimizer | None = None,
    initial: Callable[[], Variables] | None = None,
) -> Trained:
    """The model after a training by the loop that trains every experiment.

    steps: at an effort of 1.  rate: the highest of Adam in a one-cycle schedule, unless
    there is another `optimizer`.
    """
    steps = digits.steps(steps)
    pixels = normalise(0, 1)
    batch_size = min(batch_size, digits.train.size)
    train = data.train(digits.train, batch_size, transform=pixels, seed=digits.seed)
    evaluations = [
        data.evaluation(part, 200, transform=pixels)
        for part in (digits.validation, digits.test)
    ]
    return trained(
        Experiment(
            model=model,
            task=task,
            optimizer=optimizer or optim.adam(optim.one_cycle(rate, steps=steps)),
            train=train,
            validation=evaluations[0],
            test=evaluations[1],
            steps=steps,
            seed=digits.seed,
            initial=initial,
            log_every=steps,
            eval_every=steps,
            steps_per_dispatch=math.gcd(steps, PER_DISPATCH),
        )
    )


def accuracy(answers: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The share of answers [N] that are the labels."""
    return {"accuracy": float((np.asarray(answers) == labels).mean())}


def tiles(images: Any, columns: int = 10, *, side: int = 56) -> np.ndarray:
    """Images [N,H,W] or [N,H,W,1] from 0 to 1 in rows, uint8 [S,T,3]."""
    grey = np.asarray(images, np.float32)
    grey = grey.reshape(*grey.shape[:3], 1)
    levels = (255 * np.clip(grey, 0, 1)).round().astype(np.uint8)
    return visualise.sheet([visualise.enlarged(each, side) for each in levels], columns)


def weights(filters: Any, shape: tuple[int, int, int], columns: int = 10) -> np.ndarray:
    """Weights [H·W, units] from pixels to units as a sheet, red above 0, blue below."""
    kernels = np.asarray(filters).reshape(*shape, -1)
    return visualise.filter_sheet(kernels, columns, side=56)


def one_of_each(labels: np.ndarray, classes: int, count: int = 1) -> np.ndarray:
    """Indices of the first `count` examples of each class, class by class."""
    found = [np.flatnonzero(labels == k)[:count] for k in range(classes)]
    return np.concatenate(found)
