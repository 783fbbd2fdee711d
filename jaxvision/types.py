"""The nouns of the house.  Each is a value made of pure functions.

A `Model` maps images to named activations, a `Task` maps a model and a batch to a loss,
metrics and predictions, an `Optimizer` maps gradients to updates, and an `Experiment`
puts one of each together with its data.  One training loop (`engine/loop.py`) runs
every experiment and knows no task.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
import optax

from jaxvision.errors import check

Array = jax.Array
PyTree = Any

Variables = Mapping[str, PyTree]
"""A model's arrays as plain nested dicts: `{"params": …, "batch_stats": …, …}`."""

ModelState = Mapping[str, PyTree]
"""What of `Variables` is not learned by gradient, such as running statistics."""

Outputs = Mapping[str, Array]
"""Named activations of a model: `"logits"`, `"pre_logits"`, `"stage3"`, …"""

Batch = Mapping[str, Array]
"""What a step sees: `"image"` [B,H,W,C] float, `"label"` [B] int32, and `"mask"` [B]
bool, False for the padding that completes the last batch of an evaluation."""

Sums = PyTree
"""Metrics under way: arrays that add up over examples, batches, devices and hosts."""


class Model(NamedTuple):
    """A network as a pair of pure functions."""

    init: Callable[..., Variables]
    """`(key, images) -> variables`; `images` may be abstract under `jax.eval_shape`."""
    apply: Callable[..., tuple[Outputs, ModelState]]
    """`(variables, images, *, train=False, key=None) -> (outputs, model_state)`."""


class Metrics(NamedTuple):
    """A measurement as a pair of pure functions; sums are merged by adding them."""

    update: Callable[..., Sums]
    """`(forward, batch) -> sums` over the unmasked examples of the batch, under jit."""
    compute: Callable[[Sums], dict[str, Any]]
    """`sums -> {"accuracy": 0.99, …}` on the host; arrays are allowed as values."""


class Task(NamedTuple):
    """What is to be learned, as functions of `forward` rather than of its outputs.

    `forward(images, *, state=None) -> (outputs, model_state)` is the model with its
    variables, mode and random key filled in.  A task may call it as often as it likes:
    once to classify, twice for two views, on noisy images for diffusion.  `state`
    hands the state of one call to the next.
    """

    loss: Callable[..., tuple[Array, tuple[ModelState, Sums]]]
    """`(forward, batch, *, key) -> (scalar, (model_state, sums))`; the sums go into
    the training log, and `metrics.compute` understands them."""
    metrics: Metrics
    predict: Callable[..., Mapping[str, Array]]
    """`(forward, batch) -> {"probabilities": …}`: per example, what a user looks at."""


class Optimizer(NamedTuple):
    """An optax transformation with the schedule it follows, so that both are seen."""

    transform: optax.GradientTransformation
    schedule: Callable[[Any], Any]
    """`step -> learning rate`; logged, and named when a run diverges."""


class ItemIterator(Protocol):
    """Yields items without end and can be put back to where it was.

    The state is a flat dict that JSON can hold; it goes into every checkpoint.
    """

    def __next__(self) -> Mapping[str, np.ndarray]: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any]) -> None: ...


class Pipeline(NamedTuple):
    """Where batches come from, cut where the host hands over to the device.

    The host yields small *items* whose arrays have B rows; `fetch` turns an item into
    a batch inside the jitted step, with the help of `resident` arrays that lie on the
    device.  For a set that fits in memory the resident arrays are the set itself and an
    item is B indices, so that a step costs the host next to nothing.
    """

    name: str
    batch_size: int
    num_examples: int
    num_batches: int
    """Batches in one pass: full ones in training, all that there are in evaluation."""
    resident: Callable[[], Mapping[str, np.ndarray]]
    """Reads the arrays to be placed on the devices; may take long the first time."""
    items: Callable[[], Any]
    """Training: `() -> ItemIterator`.  Evaluation: `() -> Iterator` over one pass,
    whose items carry a bool `mask` [B], False for padding."""
    fetch: Callable[..., Batch]
    """`(resident, item, key) -> batch`, under jit: gather, augment, normalise."""

    def steps(self, epochs: float) -> int:
        """Training steps that make `epochs` passes.  Raises `UsageError` if none."""
        steps = round(epochs * self.num_batches)
        check((steps >= 1, f"epochs must be positive, got {epochs}"))
        return steps


class Reference(NamedTuple):
    """The published number that a row of the results table stands beside."""

    metric: str
    """The key of `result.json` it is compared with, such as `"test_accuracy"`."""
    value: float
    source: str


class Experiment(NamedTuple):
    """All that decides the numbers of a run; built from a config by its file."""

    model: Model
    task: Task
    optimizer: Optimizer
    train: Pipeline
    validation: Pipeline
    """Chooses the best checkpoint, after each `eval_every` steps."""
    test: Pipeline
    """Is touched once, at the end, by the best checkpoint."""
    steps: int
    seed: int = 0
    monitor: str = "accuracy"
    """The validation metric by which the best checkpoint is chosen."""
    monitor_mode: Literal["max", "min"] = "max"
    """Whether more of it is better, or less."""
    log_every: int | None = None
    """Steps between rows of training metrics; None: an epoch."""
    eval_every: int | None = None
    """Steps between validations, each followed by a checkpoint; None: an epoch."""
    steps_per_dispatch: int = 1
    """Steps that run on the device for each call from Python, in a `lax.scan`.  More
    than one pays where Python is slower than a step, and on CPU, where the memory of a
    step is then allocated once: ResNet-20 gains a half from 4.  Belongs to the numbers:
    another value compiles another program, which may round differently."""
    pictures: Callable[..., Mapping[str, Any]] | None = None
    """`(examples, predictions, test_metrics) -> {file name: Figure}`: the `image` and
    `label` of the test split as they are read, and what `task.predict` made of them."""
    reference: Reference | None = None
