"""The nouns of the house.  Each is a value made of pure functions.

A `Model` maps images to named activations, a `Task` maps a model and a batch to a loss,
metrics and predictions, an `Optimizer` maps gradients to updates, and an `Experiment`
puts one of each together with its data.  One training loop (`engine/loop.py`) runs
every experiment and knows no task.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
import optax
from jax.sharding import PartitionSpec

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
"""What a step sees, by name.  B examples, K classes or keypoints, M objects at most.

`image` [B,H,W,C]: bytes from 0 to 255, until `ops.augment.normalise` makes floats.
`label` int32 [B]: the class.
`target` float [B,K]: the class as a distribution, where augmentation mixed examples.
`presence` uint8 [B,K]: 1 for every class that is in the image.
`segmentation` uint8 [B,H,W]: the class of each pixel; `UNKNOWN`: does not count.
`boxes` float32 [B,M,4]: x_min, y_min, x_max, y_max in pixels.  Coordinates are
continuous: the pixel in row r and column c covers [c, c+1] × [r, r+1].
`classes` int32 [B,M]: of each object; -1 for none, whose other entries are zeros.
`crowd` uint8 [B,M]: 1 for what is neither to be found nor a mistake if it is, such as
a group as one box (COCO) or an object that is hard to see (VOC).
`instances` uint8 [B,M,H,W]: 1 where the object is seen.
`keypoints` float32 [B,M,K,3]: x, y and 0 (not labelled; x = y = 0), 1 (labelled but
hidden) or 2 (visible), as in COCO.
`mask` bool [B]: False for the padding that completes the last batch of an evaluation.
"""

UNKNOWN = 255
"""The class, in `segmentation`, of a pixel that does not count."""

MAPS = ("segmentation", "instances")
"""What a batch holds for each pixel besides the image."""

Sums = PyTree
"""Metrics under way: arrays that add up over examples, batches, devices and hosts."""


class Model(NamedTuple):
    """A network as a pair of pure functions."""

    init: Callable[..., Variables]
    """`(key, *inputs) -> variables`; inputs may be abstract under `jax.eval_shape`."""
    apply: Callable[..., tuple[Outputs, ModelState]]
    """`(variables, *inputs, entry=None, train=False, key=None) -> (outputs, state)`.

    The first input is usually the images; a time step [B] or a condition may follow.
    `entry` names another function of the same network, such as its encoder; None: the
    whole network.  In training, `key` is for random draws."""
    rebuild: Callable[..., "Model"] | None = None
    """`(dtype=…, remat=…) -> Model`: the same network with the same variables, computed
    in another precision or with activations recomputed; None: there is no other."""


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
    items: Callable[..., Any]
    """`(rows=slice(None)) -> ItemIterator` in training, whose state is that of the
    whole batch, and `-> Iterator` over one pass in evaluation, whose items carry a bool
    `mask` [B], False for padding.  Items hold the given rows of each batch and no
    others, so that each of several processes reads its own."""
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
    step is then allocated once: ResNet-20 nearly doubles by 10.  Belongs to the
    numbers: another value compiles another program, which may round differently."""
    accumulate: int = 1
    """Parts in which a batch goes through the model, one after the other, with one
    update at the end: the gradient is that of the batch, the memory that of a part.
    Batch normalisation sees the parts, each by itself."""
    average: Callable[[Array], Array] | None = None
    """`step -> weight` of the newest parameters in an average that is evaluated beside
    them, as metrics called `average/…`: `optim.ema` or `optim.swa`."""
    param_dtype: Any = None
    """Of parameters and optimiser state; None: as the model makes them."""
    sharding: Sequence[tuple[str, PartitionSpec]] = ()
    """Which parameters lie where, as rules: a pattern that is searched in their paths,
    and the mesh axis (`data`, `fsdp`, `model`) that splits each of theirs.  The first
    rule that fits decides; `fsdp` then splits the largest axis left that it divides."""
    on_bad_loss: Literal["stop", "skip", "rollback"] = "stop"
    """What follows a loss that is not finite, or a spike: the run ends; or the step has
    no effect and is counted; or the run returns to the newest checkpoint and leaves the
    batch out.  The batch is saved in the run directory."""
    spike: float | None = None
    """A loss is also bad at so many times the running mean of the ones before."""
    pictures: Callable[..., Mapping[str, Any]] | None = None
    """`(examples, predictions, test_metrics) -> {file name: Figure}`: the `image` and
    `label` of the test split as they are read, and what `task.predict` made of them."""
    reference: Reference | None = None
