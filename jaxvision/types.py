"""The types of the architecture.  Each is a value made of pure functions.

A `Model` maps images to named activations, a `Task` maps a model and a batch to a loss,
metrics and predictions, an `Optimizer` maps gradients to updates, and an `Experiment`
puts one of each together with its data.  One training loop (`engine/loop.py`) runs
every experiment and knows no task.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
import optax
from jax.sharding import PartitionSpec

from jaxvision.errors import check, unknown
from jaxvision.measures import Measure

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
`presence` uint8 [B,K]: 1 for every class that is in the image; `UNKNOWN`: not known.
`segmentation` uint8 [B,H,W]: the class of each pixel; `UNKNOWN`: does not count.
`boxes` float32 [B,M,4]: x_min, y_min, x_max, y_max in pixels.  Coordinates are
continuous: the pixel in row r and column c covers [c, c+1] × [r, r+1].
`classes` int32 [B,M]: of each object; -1 for none, whose other entries are zeros.
`crowd` uint8 [B,M]: 1 for what is neither to be found nor a mistake if it is, such as
a group as one box (COCO) or an object that is hard to see (VOC).
`instances` uint8 [B,M,H,W]: 1 where the object is seen.
`keypoints` float32 [B,M,K,3]: x, y and 0 (not labelled; x = y = 0), 1 (labelled but
hidden) or 2 (visible), as in COCO.
`mirrored` int32 [B,K]: beside `keypoints`, in training; of each keypoint what it is
called in the mirror image (`skeletons`).
`origin` int32 [B]: of an object that is an example of its own, the number of the image
of its set that it is in.
`taken` float32 [B,4]: where it is there, annotations and predictions belong to the
original image, and this is the part of it that `image` shows, as a box in its pixels,
which may reach beyond it.
`canvas` uint8 [B,H,W]: beside `taken`; 1 in the rows and columns of the original image,
from the first on, and 0 beyond.  Maps have its size.
`mask` bool [B]: False for the padding that completes the last batch of an evaluation.
"""

UNKNOWN = 255
"""In `segmentation` the class of a pixel that does not count, and in `presence` the
answer that does not."""

MAPS = ("segmentation", "instances")
"""What a batch holds for each pixel besides the image."""

Sums = PyTree
"""Metrics under way: arrays that add up over examples, batches, devices and hosts."""

Rows = Mapping[str, Array]
"""What is kept of every example of an evaluation, by name [B,…]."""


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
    no_weight_decay: Sequence[str] = ()
    """Which parameters weight decay leaves alone, beside biases and norms, as patterns
    that are searched in their paths: position embeddings, learned scales."""


class Forward(NamedTuple):
    """The model as a task sees it: a function of inputs, and what belongs to the step.

        outputs, model_state = forward(batch["image"])

    A task may call it as often as it likes: once to classify, twice for two views, on
    noisy images for diffusion.  Each call in training draws from a key of its own.
    """

    call: Callable[..., tuple[Outputs, ModelState]]
    """See `__call__`."""
    step: Array
    """int32: updates of the parameters before this one."""
    frozen: PyTree
    """What `Task.frozen` returned, on the devices."""

    def __call__(
        self,
        *inputs: Array,
        entry: str | None = None,
        state: ModelState | None = None,
        average: bool = False,
        fixed: bool = False,
        train: bool | None = None,
    ) -> tuple[Outputs, ModelState]:
        """Named activations, and the model state after the call.

        Args:
          inputs: what the model takes, images first.
          entry: another entry of the model than its usual one, such as a head.
          state: the state that an earlier call of this step has left; None: that at its
            beginning.
          average: use the averaged parameters and state (`Experiment.average`), which
            are constants to the gradient: the teacher of a mean teacher.
          fixed: use the parameters as constants: gradients reach the inputs only, as
            when a generator learns from a discriminator.
          train: the mode of dropout and batch normalisation; None: that of the step.
        """
        return self.call(
            *inputs, entry=entry, state=state, average=average, fixed=fixed, train=train
        )


def image_only(batch: Batch) -> tuple[Array, ...]:
    """`Task.inputs` of models that look at the image alone."""
    return (batch["image"],)


class Part(NamedTuple):
    """One thing that a network says of an image, to be explained."""

    number: Array
    """int32: its class, or which of several numbers it is."""
    region: Array
    """bool [H,W]: the pixels that it is said of, of the image as the network takes
    it."""
    place: Array
    """int32: which of the network's anchors says it; 0 where there are none."""


class Explained(NamedTuple):
    """What of a network's outputs can be explained, and the number behind each."""

    choose: Callable[..., Part]
    """`(outputs, size, number=None, pixel=None) -> Part` of one image, on the host.

    `outputs` are those of the image, without the axis of the batch, and `size` is that
    of the image as the network takes it.  `number` is the class that is asked for, and
    `pixel` the row and column; None: what the network says most clearly.  Raises
    `UsageError` for outputs of another network, and for what there is not."""
    score: Callable[[Outputs, Part], Array]
    """`(outputs, part) -> [B]`: how strongly it is said of each image of a batch,
    before any softmax, so that gradients do not vanish where the network is sure."""
    share: Callable[[Outputs, Part], Array]
    """`(outputs, part) -> [B]`: the same as a probability, where it is one."""
    words: Callable[[Part, Sequence[str]], str]
    """`(part, classes) ->` what is explained, such as `"cat, at row 3, column 7"`."""


class Task(NamedTuple):
    """What is to be learned and measured, as functions of `forward`, see `Forward`."""

    loss: Callable[..., tuple[tuple[PyTree, PyTree], tuple[ModelState, Sums]]]
    """`(forward, batch, *, key) -> ((total, weight), (model_state, sums))`.

    What is minimised is `total / weight`: a sum over whatever the mean is taken of
    (examples, pixels that count, positive anchors), and how many there are.  Parts of a
    batch then add up to the batch exactly.  Several means are two dicts with the same
    keys, whose quotients are added.  The gradient does not see the weight.

    `sums` go into the training log; `compute` understands them."""
    update: Callable[..., tuple[Sums, Rows]]
    """`(forward, batch, *, keys) -> (sums, rows)` of a batch in evaluation.

    Sums are added over all batches; `mask` tells the examples that count.  Rows, by
    name [B,…], are collected in the order of the examples without padding, for what no
    sum can tell: average precision, retrieval.  `keys` [B] are a random key for each
    example, the same in any batch, on any number of devices."""
    compute: Callable[[Sums, Mapping[str, np.ndarray]], dict[str, Any]]
    """`(sums, rows) -> {"accuracy": 0.99, …}` on the host; values may be arrays.  Given
    the sums of `loss` and no rows, what these can tell."""
    measures: Sequence[Measure]
    """What the numbers are.  The first one is the headline: it chooses the best
    checkpoint and stands in tables, unless the experiment says otherwise."""
    predict: Callable[..., Mapping[str, Array]]
    """`(forward, batch, *, keys) -> {"probabilities": …}`: per example, what a user
    looks at.  The batch may hold inputs only."""
    difficulty: Callable[[Batch, Mapping[str, Array]], Array] | None = None
    """`(batch, predictions) -> float [B]`: how wrong a prediction is.  Pictures show
    the highest first; None: they show a sample only."""
    reads: Sequence[str] = ()
    """What it looks at in a batch beside the image, such as `label`: an experiment
    whose data have none is refused before it begins.  May be left empty."""
    inputs: Callable[[Batch], tuple[Array, ...]] = image_only
    """`batch ->` what the model is initialised for: with a time step, for example."""
    frozen: Callable[[], PyTree] = dict
    """Arrays on the host that no gradient changes, such as the variables of a teacher:
    read once, given to the programs as arguments, and found in `forward.frozen`."""
    tuned: Callable[[Sums, Mapping[str, np.ndarray]], "Task"] | None = None
    """`(sums, rows)` of the validation set by the best checkpoint `-> Task`: the same
    task with all that is to be chosen on validation, such as thresholds.  It is what
    the test measures and predictions are made by, and what the run keeps; None: there
    is nothing to choose."""
    fits: Callable[[Batch], None] | None = None
    """Raises `UsageError` for a batch with images of a size that it cannot measure, as
    where they are smaller than its windows.  Is asked of abstract batches, before the
    training; None: it measures all."""
    advice: Callable[[Outputs, Sequence[Batch]], Sequence[str]] | None = None
    """`(outputs, batches) ->` warnings, in words, of what does not fit together well:
    of the shapes of the model's outputs, and of the first batches of training on the
    host, as the model is given them.  Is asked once, before the training."""
    explained: Explained | None = None
    """What of the outputs explanations are of; None: the scores of classes, where the
    model has `logits` [B,K]."""


class Optimizer(NamedTuple):
    """An optax transformation with the schedule it follows, so that both are seen."""

    transform: optax.GradientTransformation
    schedule: Callable[[Any], Any]
    """`step -> learning rate`; logged, and named when a run diverges."""
    no_weight_decay: Sequence[str] | None = None
    """What its weight decay was told to leave alone; None: it has no weight decay, or
    decides by itself."""
    rescheduled: Callable[[Callable[[Any], Any]], "Optimizer"] | None = None
    """`schedule -> Optimizer`: the same rule at other rates, for the range test of
    `--find-lr`; None: there is no other."""


class ItemIterator(Protocol):
    """Yields items without end and can be put back to where it was.

    The state is a flat dict that JSON can hold; it goes into every checkpoint.
    """

    def __next__(self) -> Mapping[str, np.ndarray]: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any]) -> None: ...


class Pipeline(NamedTuple):
    """Where batches come from, cut where the host hands over to the device.

    The host yields small *items* whose arrays have B rows; inside the jitted step
    `gather` turns an item into a batch, with the help of `resident` arrays that lie on
    the device, and `transform` augments and normalises it.  For a set that fits in
    memory the resident arrays are the set itself and an item is B indices, so that a
    step costs the host next to nothing.
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
    others, so that each of several processes reads its own.  Those of training may have
    a handful of shapes, each of which is compiled; a dispatch has items of one."""
    gather: Callable[[Mapping[str, Array], Batch], Batch]
    """`(resident, item) -> batch`, under jit: the examples of the item as they are
    stored, with images in bytes."""
    transform: Callable[[Array, Batch], Batch]
    """`(key, batch) -> batch`, under jit: from bytes to what the model takes."""
    annotations: Sequence[str] = ()
    """What is surely in a batch as it was read; empty: ask `stored`."""
    stored: Callable[[], Mapping[str, Any]] | None = None
    """The shapes and types of a batch as it was read, `jax.ShapeDtypeStruct` by name,
    without decoding an image where the source can do without; None: not known."""
    choice: str = ""
    """Of a test or validation split: which examples it consists of and who says so, in
    words."""
    preparation: Any = None
    """A `data.feed.preparation.Preparation`, which makes the same input of images that
    are not in the set; None where that has no meaning, as in training, whose crops are
    random.  (`Any`, since the types do not import the package of the data.)"""

    def fetch(self, resident: Mapping[str, Array], item: Batch, key: Array) -> Batch:
        """The batch of an item, gathered and transformed, under jit."""
        return self.transform(key, self.gather(resident, item))

    def check_read_by(self, task: "Task") -> None:
        """Raises `UsageError` if its batches lack what the task reads."""
        if set(task.reads) <= {*self.annotations} or self.stored is None:
            return
        stored = self.stored()
        if set(task.reads) <= stored.keys():
            return
        try:
            batch = jax.eval_shape(self.transform, jax.random.key(0), stored)
        except KeyError:  # the transform lacks it first
            batch = stored
        missing = [name for name in task.reads if name not in batch]
        check(
            (
                not missing,
                f"the task reads {', '.join(missing)}, and the examples of {self.name} "
                f"have {', '.join(sorted(stored))}: choose a set that has it, or an "
                "experiment for what this one has",
            )
        )

    def check_measured_by(self, task: "Task") -> None:
        """Raises `UsageError` also where the task cannot measure its images."""
        self.check_read_by(task)
        if task.fits is not None and self.stored is not None:
            key = jax.random.key(0)
            task.fits(jax.eval_shape(self.transform, key, self.stored()))

    def steps(self, epochs: float) -> int:
        """Training steps that make `epochs` passes.

        Raises `UsageError` for less than one step, or more than 32 bits can count.
        """
        steps = epochs * self.num_batches
        check(
            (
                0.5 < steps < 2**31,
                f"epochs must make between 1 and 2^31 steps of {self.batch_size} "
                f"images, got {epochs} epochs of {self.num_batches} steps",
            )
        )
        return round(steps)


class Reference(NamedTuple):
    """The published number that a row of the results table stands beside."""

    metric: str
    """The key of `result.json` it is compared with, such as `"test_accuracy"`."""
    value: float
    source: str


class Evaluation(NamedTuple):
    """A further set that a model is measured on, beside validation and test."""

    pipeline: Pipeline
    task: Task | None = None
    """None: the experiment's."""
    in_training: bool = False
    """Whether it is also measured after every validation, for the log."""


class Gallery(NamedTuple):
    """A few examples of an evaluation, on the host, for pictures.

    `example`, `input` and `prediction` are arrays by name with N rows.
    """

    indices: np.ndarray
    """int32 [N]: which examples of the set they are."""
    difficulty: np.ndarray
    """float32 [N], see `Task.difficulty`."""
    example: Mapping[str, np.ndarray]
    """As they were read, with what they are annotated with."""
    input: Mapping[str, np.ndarray]
    """The same after the pipeline's transform, which the predictions refer to."""
    prediction: Mapping[str, np.ndarray]
    """What `Task.predict` made of them."""


class Galleries(NamedTuple):
    """What an evaluation keeps for pictures."""

    worst: Gallery
    """In falling difficulty; empty for a task that has none."""
    sample: Gallery
    """Spread evenly over the set, in its order."""


class Pictured(NamedTuple):
    """What was predicted of one of several pictures."""

    name: str
    """Of its file."""
    size: tuple[int, int]
    """Height and width in pixels."""
    prediction: Mapping[str, np.ndarray]


class Show(NamedTuple):
    """How a task's predictions are shown, wherever they are: after a run, by `predict`,
    in explanations.  Made of the names of the classes."""

    draw: Callable[..., np.ndarray]
    """`(example, prediction) -> uint8 [S,T,3]`: the image and what was predicted."""
    words: Callable[[Mapping[str, np.ndarray]], Sequence[str]]
    """`prediction ->` lines such as `"7  99.1 %"`, the most important first."""
    figures: Callable[[Galleries, Mapping[str, Any]], Mapping[str, Any]]
    """`(galleries, test_metrics) -> {file name: Figure}`."""
    values: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]] | None = None
    """`prediction ->` the same for programs, as JSON can hold it; None: its arrays."""
    files: Callable[..., Mapping[str, bytes]] | None = None
    """`(example, prediction) -> {ending: content}`: what is kept of one prediction as
    files, such as `{".png": …}`, at the size of the image; None: nothing but words."""
    together: Callable[[Sequence[Pictured]], Mapping[str, bytes]] | None = None
    """`pictures -> {file name: content}`: what is kept of all predictions together,
    such as one list of annotations."""


class Moment(NamedTuple):
    """The state of a run after a validation, for `Experiment.on_evaluation`."""

    step: int
    variables: Variables
    average: Variables | None
    """Those of the averaged parameters, if the experiment has them."""
    metrics: Mapping[str, Any]
    """Of the validation."""
    monitored: Measure
    """What chooses the best checkpoint, under the name that it has in the metrics."""
    history: Sequence[Mapping[str, Any]]
    """The validations of the run so far, this one last: `step` and the metrics that are
    one number, None where it is not finite.  It comes from the log, which checkpoints
    hold, so that a hook which decides by it decides alike in a run that was
    interrupted."""
    galleries: Galleries | None = None
    """Of the validation, where its pictures are due (`--pictures-every`)."""


class Stop(NamedTuple):
    """What `Experiment.on_evaluation` returns to end the training.

    What follows is as after the last step: the best checkpoint is tested, and the
    record is written, with the reason as `stopped`.
    """

    reason: str
    figures: Mapping[str, Any] = MappingProxyType({})


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
    classes: Sequence[str] = ()
    """The names of the classes, in the order of their numbers; in regression those of
    the numbers."""
    show: Callable[[Sequence[str]], Show] | None = None
    """`classes -> Show`, such as `visualise.classification`; None: no pictures."""
    evaluations: Mapping[str, Evaluation] = MappingProxyType({})
    """More sets by name, on which the best checkpoint is measured at the end, such as
    robustness sets.  The metrics of `night` are recorded as `night_accuracy`."""
    monitor: str | None = None
    """The validation metric by which the best checkpoint is chosen; None: the task's
    headline.  Its measure says whether more of it is better."""
    initial: Callable[[], Variables] | None = None
    """Returns arrays on the host that the model begins with, such as published weights;
    what they leave out is drawn as usual.  Is called when a run starts from nothing."""
    on_evaluation: Callable[[Moment], Mapping[str, Any] | Stop | None] | None = None
    """Is called after each validation, in every process; the figures that it returns,
    by file name, are saved in the run directory under `pictures/step-N`.  A `Stop` ends
    the training, such as that of `runs.early_stopping`; process 0 decides."""
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
    reference: Reference | None = None

    def monitored(self) -> Measure:
        """The measure that chooses the best checkpoint, under the name of its metric.

        Raises `UsageError` for a metric that is not measured or has no better end.
        """
        measures = {measure.name: measure for measure in self.task.measures}
        if self.average is not None:
            averaged = (f"average/{name}" for name in list(measures))
            measures |= zip(averaged, self.task.measures, strict=True)
        name = self.monitor or next(iter(measures), "")
        if name not in measures:
            raise unknown("metric to monitor", name, measures)
        check(
            (
                measures[name].better is not None,
                f"neither more nor less of {name} is better: monitor another metric",
            )
        )
        return measures[name]._replace(name=name)

    def check(self) -> None:
        """Raises `UsageError` for what does not fit together, before any long work."""
        self.monitored()
        self.train.check_read_by(self.task)
        for pipeline in (self.validation, self.test):
            pipeline.check_measured_by(self.task)
        for further in self.evaluations.values():
            further.pipeline.check_measured_by(further.task or self.task)
        decay = self.optimizer.no_weight_decay
        check(
            (
                decay is None or set(self.model.no_weight_decay) <= set(decay),
                f"the model's {', '.join(self.model.no_weight_decay)} are not for "
                "weight decay: give no_weight_decay=model.no_weight_decay to the "
                "optimizer",
            ),
            *(
                (
                    name.isidentifier() and name not in ("train", "validation", "test"),
                    f"an evaluation is called {name!r}: its name begins the keys of "
                    "its metrics, so it is a word other than train, validation, test",
                )
                for name in self.evaluations
            ),
        )
