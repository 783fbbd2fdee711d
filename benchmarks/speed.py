"""Training steps on CPU, and evaluation at full resolution: ours against PyTorch's, in
turns, in the same run.

    python -m benchmarks.speed --torch-python PATH           (about six minutes)
    make bench TORCH_PYTHON=PATH   (the same among others, compared with the record)

PATH is a Python with PyTorch, since this environment has none; it runs
`peers/speed_torch.py`.  Both sides train the same network on the same shapes with the
same recipe: float32, cross-entropy, momentum 0.9, one batch that is kept in memory.
PyTorch uses all cores and runs eagerly, in whichever of its two memory layouts is
faster for the row, as found before the first round.  Ours runs ten steps in a dispatch,
and 39 of ResNet-20, as our experiments do.  SegNet and FCN-8s are a quarter as wide as
in their papers, see `networks.OPTIONS`; the FCN on ResNet-18 and DeepLabV3 on
MobileNetV3 are torchvision's over there, without auxiliary heads.

An evaluation goes through batches of images that are in memory, resizes the scores to
the masks, and sums the loss and the confusion of all pixels: ours by the task, PyTorch
as torchvision's reference script does.

With `--compare` the command fails if a ratio is less than a third of the recorded one.
That tolerates a busy machine and still notices when an optimisation is lost.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import cli, records, timing
from benchmarks.networks import make_network
from benchmarks.peers import peer
from jaxvision import models, onednn, tasks
from jaxvision.errors import unknown
from jaxvision.types import UNKNOWN, Forward

ROWS = {
    # shape of a batch, number of classes, steps in one dispatch of our side
    "lenet5": ((128, 32, 32, 1), 10, 10),
    "resnet20": ((128, 32, 32, 3), 10, 39),
    "resnet18": ((64, 64, 64, 3), 1000, 10),
    "resnet18_cifar": ((64, 32, 32, 3), 10, 10),
    "resnet50": ((32, 64, 64, 3), 1000, 10),
    "mobilenet_v2": ((64, 64, 64, 3), 1000, 10),
    "unet": ((16, 64, 64, 3), 2, 10),
    "segnet": ((8, 128, 128, 3), 11, 10),
    "fcn8s": ((8, 128, 128, 3), 11, 10),
    "fcn_resnet18": ((8, 192, 192, 3), 11, 10),
    "deeplabv3_mobilenet_v3_large": ((8, 192, 192, 3), 11, 10),
}
EVALUATIONS = {
    # shape of a batch, number of classes, height and width of the masks
    "unet_small_evaluation": ((8, 240, 320, 3), 11, (360, 480)),
}
RECORD = records.COMMITTED / "speed.json"


@dataclasses.dataclass(frozen=True)
class Config:
    torch_python: Path
    """Interpreter in which `import torch` works."""
    rows: tuple[str, ...] = (*ROWS, *EVALUATIONS)
    """Networks to measure."""
    rounds: int = 7
    """Turns of each side; the median of their ratios counts."""
    seconds: float = 1.5
    """Approximate duration of each turn."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    compare: bool = False
    """Fail if a ratio is less than a third of the recorded one."""


def main(config: Config) -> int:
    for row in config.rows:
        if row not in {**ROWS, **EVALUATIONS}:
            raise unknown("row", row, {**ROWS, **EVALUATIONS})
    numbers = records.begin("speed")
    with peer(config.torch_python, "speed_torch.py") as torch:
        numbers["version_torch"] = torch("version")
        for row in config.rows:
            sides = evaluation if row in EVALUATIONS else training
            turns = Turns(config.rounds, config.seconds)
            numbers |= measure(row, sides(row, torch), torch, turns)
    records.write(numbers, config.output)
    print_table(config.rows, numbers)
    return records.regressions(numbers, RECORD) if config.compare else 0


class Sides(NamedTuple):
    """What takes turns."""

    images: int
    """Of a step of either side."""
    ours: Callable[[int], float]
    """`dispatches -> seconds of a step`."""
    in_dispatch: int
    compile_seconds: float
    theirs: float
    """Seconds of a step over there, at the first attempt."""
    layout: str


def training(row: str, torch: Callable[..., Any]) -> Sides:
    shape, classes, in_dispatch = ROWS[row]
    step, state = make_step(row, shape, classes)
    ours, compile_seconds = timed(step, state, in_dispatch, onednn.jit)
    return Sides(
        shape[0],
        ours,
        in_dispatch,
        compile_seconds,
        *torch("make", row, shape, classes),
    )


def evaluation(row: str, torch: Callable[..., Any]) -> Sides:
    shape, classes, size = EVALUATIONS[row]
    network = row.removesuffix("_evaluation")
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.standard_normal(shape), jnp.float32)
    model = models.create(network, num_classes=classes)
    variables = jax.jit(model.init)(jax.random.key(0), images[:1])
    task = tasks.segmentation(classes)
    labels = draw.integers(0, classes, (shape[0], *size))
    labels[draw.uniform(size=labels.shape) < 0.1] = UNKNOWN
    batch = {
        "image": images,
        "segmentation": jnp.asarray(labels, jnp.uint8),
        "canvas": jnp.ones(labels.shape, jnp.uint8),
        "taken": jnp.tile(jnp.float32([[0, 0, size[1], size[0]]]), (shape[0], 1)),
    }

    def update(variables, batch):
        def call(images, **options):
            return model.apply(variables, images)

        forward = Forward(call, jnp.int32(0), {})
        return task.update(forward, batch, keys=None)[0]

    started = time.perf_counter()
    program = onednn.jit(update)
    program.lower(variables, batch).compile()
    compile_seconds = time.perf_counter() - started
    total: Any = 0

    def seconds(batches: int) -> float:
        """With the sums of all of them on the host, in 64 bits."""
        nonlocal total
        started = time.perf_counter()
        for _ in range(batches):
            sums = program(variables, batch)
            total = total + np.asarray(sums["confusion"]).astype(np.int64)
        return (time.perf_counter() - started) / batches

    seconds(1)
    theirs = torch("make_evaluation", network, shape, classes, size)
    return Sides(shape[0], seconds, 1, compile_seconds, *theirs)


class Turns(NamedTuple):
    """How often, and for about how many seconds, each side takes its turn."""

    rounds: int
    seconds: float


def measure(
    row: str, sides: Sides, torch: Callable[..., Any], turns: Turns
) -> dict[str, Any]:
    """Images per second of both sides, and the median of the ratios of each round."""
    ours, theirs = sides.ours, sides.theirs
    dispatches = max(1, round(turns.seconds / (sides.in_dispatch * ours(1))))
    steps = max(1, round(turns.seconds / theirs))

    rates, ratios = [], []
    for _ in range(turns.rounds):
        before = ours(dispatches)
        theirs = torch("steps", steps)
        around = (before + ours(dispatches)) / 2
        rates.append((around, theirs))
        ratios.append(theirs / around)
    own, other = (
        sides.images / statistics.median(side) for side in zip(*rates, strict=True)
    )
    numbers = {
        "ours_images_per_second": own,
        "torch_images_per_second": other,
        "torch_layout": sides.layout,
        **timing.spread("ratio", ratios),
        "compile_seconds": sides.compile_seconds,
    }
    print(f"{row}: {own:,.0f} against {other:,.0f} images/s", flush=True)
    return {f"{row}_{name}": value for name, value in numbers.items()}


def make_step(
    row: str, shape: tuple[int, int, int, int], classes: int
) -> tuple[Callable[..., Any], Any]:
    """`(state, key) -> (state, loss)`, a training step on one batch, and a state."""
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.standard_normal(shape), jnp.float32)
    apply, variables = make_network(row, images, classes)
    logits, _ = jax.eval_shape(apply, *variables, images, jax.random.key(0))
    labels = jnp.asarray(draw.integers(0, classes, logits.shape[:-1]))
    transform = optax.sgd(0.01, momentum=0.9)

    def loss(params, model_state, key):
        logits, model_state = apply(params, model_state, images, key)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), model_state

    def step(state, key):
        params, model_state, opt_state = state
        (value, model_state), gradients = jax.value_and_grad(loss, has_aux=True)(
            params, model_state, key
        )
        updates, opt_state = transform.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), model_state, opt_state), value

    params, model_state = variables
    return step, (params, model_state, transform.init(params))


def timed(
    step: Callable[..., Any], state: Any, steps: int, jit: Callable[..., Any]
) -> tuple[Callable[[int], float], float]:
    """`dispatches -> seconds of a step`, and the seconds it took to compile.

    A dispatch is a program, compiled by `jit`, of so many training steps.
    """

    def dispatch(state):
        keys = jax.random.split(jax.random.key(0), steps)
        # A function of its own: JAX remembers what it has traced of another.
        return jax.lax.scan(lambda state, key: step(state, key), state, keys)

    state = jax.tree.map(jnp.copy, state)  # since it is donated
    started = time.perf_counter()
    compiled = jit(dispatch, donate_argnums=0)
    compiled.lower(state).compile()
    compile_seconds = time.perf_counter() - started

    def seconds(dispatches: int) -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(dispatches):
            state, values = compiled(state)
        jax.block_until_ready((state, values))
        return (time.perf_counter() - started) / (dispatches * steps)

    seconds(1)
    return seconds, compile_seconds


def print_table(rows: Sequence[str], numbers: dict[str, Any]) -> None:
    wide = max(16, *map(len, rows)) if rows else 16
    print(f"{'':{wide}}{'ours':>10}{'PyTorch':>10}{'ratio':>8}{'compile':>9}")
    for row in rows:
        ours, theirs, ratio, compiling = (
            numbers[f"{row}_{name}"]
            for name in (
                "ours_images_per_second",
                "torch_images_per_second",
                "ratio",
                "compile_seconds",
            )
        )
        print(f"{row:{wide}}{ours:10,.0f}{theirs:10,.0f}{ratio:8.2f}{compiling:7.1f} s")


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
