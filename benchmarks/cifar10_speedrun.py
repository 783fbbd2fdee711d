"""CIFAR-10 to 94, 95 or 96 % in seconds: airbench's recipes, each as one JAX program.

    python -m benchmarks.cifar10_speedrun --variant 94 --runs 50 --torch-python PATH
    python -m benchmarks.cifar10_speedrun --smoke      (tiny; its numbers mean nothing)

Jordan 2024, https://arxiv.org/abs/2404.00498, and for 94 % his recipe with Muon,
https://github.com/KellerJordan/cifar10-airbench: 2.59 s on an A100, 94.01 % as the mean
of 200 runs.  The images lie on the device as bytes.  One jitted program whitens, trains
in `lax.scan` and tests every image in six views.  The clock runs from its call to its
result, and neither over its compilation, whose time is stated, nor over a first call.

With `--torch-python`, an interpreter that has PyTorch, the same recipe runs there in
turns with ours (`peers/cifar10_speedrun_torch.py`: torch.compile, fp16, channels-last).
`--vmap 8` also trains eight seeds in one program.  A full run is too long for a CPU:
there, try --epochs, --images and --widths, or --smoke.

Shapes: B batch, N images, S steps, H W height and width, C channels in, O out.
"""

import contextlib
import dataclasses
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from rich.console import Console
from rich.table import Table

from benchmarks import cli, records
from benchmarks.peers import peer
from jaxvision import data, onednn
from jaxvision.errors import check
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.pooling import max_pool
from jaxvision.types import Array, PyTree

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
SIDE, CLASSES = 32, 10
PEER = "cifar10_speedrun_torch.py"
WHITENING_IMAGES = 5000
WHITENING_EPOCHS = 3
"""Epochs in which the bias of the whitening layer is trained; its filters never are."""
LOOKAHEAD = 5
"""Steps between updates of the average."""
SHIFTS = ((0, 0), (-1, -1), (1, 1))
"""Shifts down and right of the views of a test image; each is also mirrored."""
VIEW_WEIGHTS = (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)
"""Weights of each view and its mirror image, in the order of `SHIFTS`."""

Params = dict[str, Array]
"""`whiten` [24], `conv0` … [3,3,C,O], `norm0` … [O], `head` [C,10]."""


class Muon(NamedTuple):
    """Orthogonalised updates of the filters, SGD of the rest; all rates fall to 0."""

    filter_rate: float = 0.24
    filter_momentum: float = 0.6
    bias_rate: float = 0.053
    head_rate: float = 0.67
    momentum: float = 0.85
    decay: float = 2e-6
    """Share of a parameter, times the batch size, that a step at full rate removes."""


class Triangle(NamedTuple):
    """SGD whose rate rises and falls, with every 5th step pulled back to an average.

    Rate and decay are for 1024 examples, and independent of momentum and of each other.
    """

    rate: float
    decay: float
    momentum: float = 0.85
    bias_factor: float = 64.0
    """Factor on the learning rate of the biases of normalisation."""
    start: float = 0.2
    peak: float = 0.23
    """Share of the steps at which the rate is the highest."""
    end: float = 0.07


class Recipe(NamedTuple):
    """All numbers of a variant."""

    epochs: float
    batch_size: int
    widths: tuple[int, int, int]
    """Channels of each group of convolutions."""
    convs: int
    """Convolutions in a group; of three, the last two have a shortcut."""
    optimizer: Muon | Triangle
    translate: int
    """Largest translation of an image, in pixels."""
    cutout: int
    """Side of the square that is cut out, in pixels; 0: none."""
    norm_decay: float
    """Share of the running statistics that a step keeps."""
    smoothing: float = 0.2
    """Share of the label that is spread over all classes."""


RECIPES = {
    94: Recipe(8, 2000, (64, 256, 256), 2, Muon(), 2, 0, 0.6),
    95: Recipe(15, 1024, (128, 384, 384), 2, Triangle(10.0, 0.0153), 2, 0, 0.6),
    96: Recipe(
        37, 1024, (128, 384, 512), 3, Triangle(9.0, 0.012, peak=0.1, end=0), 4, 12, 0.9
    ),
}
"""By the test accuracy that they reach, in per cent."""


class Data(NamedTuple):
    """Both splits: images uint8 [N,32,32,3], labels int32 [N]."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


# The network -----------------------------------------------------------------


def whitening_filters(images_NxHxWx3: Array, epsilon: float = 5e-4) -> Array:
    """The 24 filters [2,2,3,24] whose outputs on 2×2 patches are uncorrelated.

    They are the eigenvectors of the patches' second moments, each divided by the root
    of its eigenvalue, and their negatives.
    """
    h, w = images_NxHxWx3.shape[1] - 1, images_NxHxWx3.shape[2] - 1
    corners = [images_NxHxWx3[:, i : i + h, j : j + w] for i in (0, 1) for j in (0, 1)]
    patches = jnp.concatenate(corners, axis=-1).reshape(-1, 12)
    moments = jnp.matmul(patches.T, patches, precision="highest") / len(patches)
    values, vectors = jnp.linalg.eigh(moments)
    filters = vectors / jnp.sqrt(values + epsilon)
    return jnp.concatenate([filters, -filters], axis=1).reshape(2, 2, 3, 24)


def init(key: Array, recipe: Recipe) -> tuple[Params, dict[str, Array]]:
    """Parameters, and running means and variances [2,O], all float32.

    The first C filters of a convolution are the identity; the others and the head are
    drawn from PyTorch's default distribution.
    """
    count = 3 * recipe.convs
    made = [recipe.widths[number // recipe.convs] for number in range(count)]
    taken = [24, *made[:-1]]
    shapes: list[tuple[int, ...]]
    shapes = [(3, 3, c, o) for c, o in zip(taken, made, strict=True)]
    shapes += [(made[-1], CLASSES), (12, 2)]
    # One draw for all of them: every other takes the compiler as long as a layer.
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    noise = jax.random.uniform(key, (int(ends[-1]),), minval=-1, maxval=1)
    *filters, head, bias = (
        part.reshape(shape) / math.sqrt(math.prod(shape[:-1]))
        for part, shape in zip(jnp.split(noise, ends[:-1]), shapes, strict=True)
    )
    params, running = {"head": head, "whiten": jnp.zeros(24)}, {}
    if isinstance(recipe.optimizer, Muon):
        params |= {"head": head / head.std(), "whiten": bias.reshape(24)}
    for number, (c, o) in enumerate(zip(taken, made, strict=True)):
        same = min(c, o)
        centre = jnp.eye(c, same)[None, None]
        identity = jnp.pad(centre, ((1, 1), (1, 1), (0, 0), (0, 0)))
        kept = filters[number][..., same:]
        params[f"conv{number}"] = jnp.concatenate([identity, kept], axis=-1)
        params[f"norm{number}"] = jnp.zeros(o)
        running[f"norm{number}"] = jnp.stack([jnp.zeros(o), jnp.ones(o)])
    return params, running


def network(
    params: Params,
    running: dict[str, Array],
    filters: Array,
    images_BxHxWx3: Array,
    recipe: Recipe,
    *,
    train: bool,
) -> tuple[Array, dict[str, Array]]:
    """Scores float32 [B,10] and the running statistics; computes in the images' type.

    whitening 2×2 → three groups of (3×3 → 2×2 max-pool → 3×3 …) → max-pool → linear
    """
    dtype = images_BxHxWx3.dtype
    running = dict(running)
    x = conv2d(images_BxHxWx3, filters.astype(dtype), padding="VALID")
    x = shortcut = gelu(x + params["whiten"].astype(dtype))
    for number in range(3 * recipe.convs):
        name, place = f"norm{number}", number % recipe.convs
        x = conv2d(x, params[f"conv{number}"].astype(dtype))
        if place == 0:
            x = max_pool(x, 2)
        x, running[name] = batch_norm(
            x, params[name], running[name], train=train, decay=recipe.norm_decay
        )
        if place == 2:
            x = x + shortcut
        x = gelu(x)
        if place == 0:
            shortcut = x
    x = max_pool(x, x.shape[1]).reshape(len(x), -1)
    scale = 1 / x.shape[1] if isinstance(recipe.optimizer, Muon) else 1 / 9
    return (x @ params["head"].astype(dtype)).astype(jnp.float32) * scale, running


gelu = partial(jax.nn.gelu, approximate=False)


def batch_norm(
    x_BxHxWxC: Array, bias: Array, running: Array, *, train: bool, decay: float
) -> tuple[Array, Array]:
    """Normalisation without a scale; statistics are float32."""
    if train:
        wide = x_BxHxWxC.astype(jnp.float32)
        mean = wide.mean((0, 1, 2))
        variance = jnp.square(wide).mean((0, 1, 2)) - jnp.square(mean)
        count = wide.size // wide.shape[-1]
        unbiased = variance * (count / (count - 1))  # as PyTorch stores it
        running = decay * running + (1 - decay) * jnp.stack([mean, unbiased])
    else:
        mean, variance = running
    scale = lax.rsqrt(jnp.maximum(variance, 0) + 1e-12)
    return ((x_BxHxWxC - mean) * scale + bias).astype(x_BxHxWxC.dtype), running


# The batches -----------------------------------------------------------------


class Plan(NamedTuple):
    """Random choices of all S steps, drawn before the first of them."""

    examples: Array
    """int32 [S,B]: each epoch is a new permutation, its remainder dropped."""
    flips: Array
    """bool [S,B]: random in the first epoch; from then on each image is flipped in
    every other epoch."""
    shifts: Array
    """int32 [S,B,2]: from 0 to 2·`translate`, down and right."""
    blanks: Array | None
    """int32 [S,B,2]: the top left corner of the cutout; None: there is none."""


def make_plan(key: Array, recipe: Recipe, size: int) -> Plan:
    """The plan of `recipe.epochs` passes over `size` examples."""
    per_epoch, steps = count_steps(recipe, size)
    shape = (steps, recipe.batch_size)
    epochs = -(-steps // per_epoch)
    order_key, flip_key, shift_key, blank_key = jax.random.split(key, 4)
    keys = jax.random.split(order_key, epochs)
    order = jax.vmap(lambda key: jax.random.permutation(key, size))(keys)
    examples = order[:, : per_epoch * shape[1]].reshape(-1, shape[1])[:steps]
    flips = jax.random.bernoulli(flip_key, shape=(size,))[examples]
    odd = jnp.arange(steps) // per_epoch % 2 == 1
    return Plan(
        examples=examples,
        flips=flips ^ odd[:, None],
        shifts=jax.random.randint(shift_key, (*shape, 2), 0, 2 * recipe.translate + 1),
        blanks=jax.random.randint(blank_key, (*shape, 2), 0, SIDE - recipe.cutout + 1)
        if recipe.cutout
        else None,
    )


def count_steps(recipe: Recipe, size: int) -> tuple[int, int]:
    """Steps of an epoch of `size` examples, and of all epochs."""
    per_epoch = size // recipe.batch_size
    return per_epoch, math.ceil(recipe.epochs * per_epoch)


def pad(images_NxHxWx3: Array, width: int) -> Array:
    """Pad every side by `width` pixels, which mirror those inside."""
    sides = ((0, 0), (width, width), (width, width), (0, 0))
    return jnp.pad(images_NxHxWx3, sides, mode="reflect")


def make_batch(padded_NxHxWx3: Array, row: Plan, cutout: int, dtype: Any) -> Array:
    """The images [B,32,32,3] of one step of the plan: cropped, flipped, normalised."""

    def window(example, flip, shift):
        start = (example, shift[0], shift[1], jnp.zeros_like(example))
        image = lax.dynamic_slice(padded_NxHxWx3, start, (1, SIDE, SIDE, 3))[0]
        return jnp.where(flip, image[:, ::-1], image)

    images = jax.vmap(window)(row.examples, row.flips, row.shifts)
    images = normalise(images, dtype)
    if row.blanks is not None:
        distance = jnp.arange(SIDE) - row.blanks[:, :, None]
        inside = (distance >= 0) & (distance < cutout)
        blank = inside[:, 0, :, None] & inside[:, 1, None, :]
        images = jnp.where(blank[..., None], 0, images)
    return images


def normalise(images: Array, dtype: Any) -> Array:
    """Bytes to floats of mean 0 and deviation 1 over CIFAR-10."""
    scale = 1 / (255 * jnp.array(STD))
    shift = jnp.array(MEAN) / jnp.array(STD)
    return (images.astype(jnp.float32) * scale - shift).astype(dtype)


# The optimiser ---------------------------------------------------------------


def make_optimizer(
    recipe: Recipe, per_epoch: int, steps: int
) -> optax.GradientTransformation:
    """The optimiser of all parameters; `whiten` is trained for three epochs only."""
    rule = recipe.optimizer
    whitening = min(WHITENING_EPOCHS * per_epoch, steps)

    def sgd(rate: float, schedule: optax.Schedule) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(decay / rate),
            optax.trace(rule.momentum, nesterov=True),
            optax.scale_by_learning_rate(lambda step: rate * schedule(step)),
        )

    def while_whitening(schedule: optax.Schedule) -> optax.Schedule:
        return lambda step: schedule(step) * (step < whitening)

    if isinstance(rule, Muon):
        decay = rule.decay * recipe.batch_size
        falling = optax.linear_schedule(1, 0, steps)
        rules = {
            "whiten": sgd(
                rule.bias_rate, while_whitening(optax.linear_schedule(1, 0, whitening))
            ),
            "conv": muon(rule.filter_rate, rule.filter_momentum, falling),
            "norm": sgd(rule.bias_rate, falling),
            "head": sgd(rule.head_rate, falling),
        }
    else:
        # A gradient moves a parameter 1 + 1/(1 - m) times over, at once and through
        # Nesterov's momentum; the rates of a recipe are free of that.
        scale = 1024 * (1 + 1 / (1 - rule.momentum))
        rate, decay = rule.rate / scale, rule.decay * recipe.batch_size / scale
        shape = triangle(rule, steps)
        rules = {
            "whiten": sgd(rate, while_whitening(shape)),
            "conv": sgd(rate, shape),
            "norm": sgd(rate * rule.bias_factor, shape),
            "head": sgd(rate, shape),
        }
    return optax.partition(
        rules, lambda params: {name: name.rstrip("0123456789") for name in params}
    )


def triangle(rule: Triangle, steps: int) -> optax.Schedule:
    """From `start` up to 1 at `peak`·steps and down to `end`, in straight lines."""
    peak = int(rule.peak * steps)
    return optax.join_schedules(
        [
            optax.linear_schedule(rule.start, 1, peak),
            optax.linear_schedule(1, rule.end, steps - peak),
        ],
        [peak],
    )


def muon(
    rate: float, momentum: float, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Momentum, orthogonalised, of filters whose norm is reset before every step.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
    """

    def reset_norm(updates: PyTree, params: PyTree) -> PyTree:
        def add(update, filters):
            norm = jnp.linalg.norm(filters)
            return update + filters * (math.sqrt(filters.shape[-1]) / norm - 1)

        return jax.tree.map(add, updates, params)

    return optax.chain(
        optax.trace(momentum, nesterov=True),
        optax.stateless(lambda updates, params: orthogonalise(updates)),
        optax.scale_by_learning_rate(lambda step: rate * schedule(step)),
        optax.stateless(reset_norm),
    )


def orthogonalise(filters: PyTree) -> PyTree:
    """Bring the singular values of each filter, as a matrix [9·C,O], near to 1.

    Three steps of Newton-Schulz.  Zeros change nothing, so that all filters are padded
    to one size and go as one batch: small products are slow by their number.
    """
    leaves, structure = jax.tree.flatten(filters)
    if not leaves:
        return filters
    matrices = [leaf.reshape(-1, leaf.shape[-1]) for leaf in leaves]
    rows = max(m.shape[0] for m in matrices)
    columns = max(m.shape[1] for m in matrices)
    padded = [
        jnp.pad(m, ((0, rows - m.shape[0]), (0, columns - m.shape[1])))
        for m in matrices
    ]
    # optax's Muon without momentum, which it takes otherwise than airbench does.
    newton_schulz = optax.contrib.scale_by_muon(
        ns_steps=3,
        beta=0.0,
        eps=1e-7,
        nesterov=False,
        weight_dimension_numbers=optax.contrib.MuonDimensionNumbers(1, 2),
    )
    stack = jnp.stack(padded)
    stack, _ = newton_schulz.update(stack, newton_schulz.init(stack))
    found = [
        whole[: m.shape[0], : m.shape[1]].reshape(leaf.shape)
        for whole, m, leaf in zip(stack, matrices, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, found)


# The program -----------------------------------------------------------------


class State(NamedTuple):
    """Everything that a step changes."""

    params: Params
    running: dict[str, Array]
    optimizer: PyTree
    average: PyTree
    """Average of `params` and `running`; None if the recipe has none."""


def make_run(
    recipe: Recipe, train_size: int, dtype: Any
) -> Callable[[Array, Data], tuple[Array, Array]]:
    """`(key, data) -> (test accuracy, loss of each step [S])`.

    The function is all of a run, from the whitening to the test, and is to be jitted.
    """
    per_epoch, steps = count_steps(recipe, train_size)
    whitening = min(WHITENING_EPOCHS * per_epoch, steps)
    transform = make_optimizer(recipe, per_epoch, steps)
    averages = isinstance(recipe.optimizer, Triangle)

    def run(key: Array, data: Data) -> tuple[Array, Array]:
        init_key, plan_key = jax.random.split(key)
        first = normalise(data.train_images[:WHITENING_IMAGES], jnp.float32)
        filters = whitening_filters(first)
        padded = pad(data.train_images, recipe.translate)
        plan = make_plan(plan_key, recipe, train_size)

        def step(state: State, item: tuple[Array, Plan], *, whiten: bool):
            number, row = item
            images = make_batch(padded, row, recipe.cutout, dtype)
            labels = data.train_labels[row.examples]
            state, loss = train_step(
                state, images, labels, filters, recipe, transform, whiten=whiten
            )
            if averages:
                state = lookahead(state, number + 1, steps)
            return state, loss

        params, running = init(init_key, recipe)
        average = (params, running) if averages else None
        state = State(params, running, transform.init(params), average)
        numbered = (jnp.arange(steps), plan)
        # Two loops, so that the second need not go back to the whitening layer.
        losses = []
        for part, whiten in ((slice(whitening), True), (slice(whitening, None), False)):
            items = jax.tree.map(lambda array, part=part: array[part], numbered)
            if len(items[0]):
                state, loss = lax.scan(partial(step, whiten=whiten), state, items)
                losses.append(loss)
        final = state.average if averages else (state.params, state.running)
        accuracy = evaluate(final, filters, data, recipe, dtype)
        return accuracy, jnp.concatenate(losses)

    return run


def train_step(
    state: State,
    images_BxHxWx3: Array,
    labels: Array,
    filters: Array,
    recipe: Recipe,
    transform: optax.GradientTransformation,
    *,
    whiten: bool,
) -> tuple[State, Array]:
    """The next state, and the mean loss; the gradient is that of the sum."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), recipe.smoothing)

    def objective(params: Params):
        if not whiten:
            params = params | {"whiten": lax.stop_gradient(params["whiten"])}
        logits, running = network(
            params, state.running, filters, images_BxHxWx3, recipe, train=True
        )
        return optax.softmax_cross_entropy(logits, targets).sum(), running

    (loss, running), gradients = jax.value_and_grad(objective, has_aux=True)(
        state.params
    )
    updates, optimizer = transform.update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    state = state._replace(params=params, running=running, optimizer=optimizer)
    return state, loss / len(labels)


def lookahead(state: State, done: Array, steps: int) -> State:
    """Every fifth step, move the average to the parameters, and these onto it.

    The average keeps 0.95⁵·(t/T)³ of itself.  Zhang et al. 2019,
    https://arxiv.org/abs/1907.08610.
    """
    keep = 0.95**LOOKAHEAD * (done / steps) ** 3
    due = done % LOOKAHEAD == 0
    current = (state.params, state.running)
    average = jax.tree.map(
        lambda old, new: jnp.where(due, keep * old + (1 - keep) * new, old),
        state.average,
        current,
    )
    params, running = jax.tree.map(
        lambda old, new: jnp.where(due, old, new), average, current
    )
    return state._replace(params=params, running=running, average=average)


def evaluate(
    variables: tuple[Params, dict[str, Array]],
    filters: Array,
    data: Data,
    recipe: Recipe,
    dtype: Any,
) -> Array:
    """Share of the test images whose class has the highest mean score of six views."""
    size = len(data.test_labels)
    batch = math.gcd(size, 2000)

    def correct(part: tuple[Array, Array]) -> Array:
        images, labels = part
        views = make_views(normalise(images, dtype))
        logits, _ = network(
            *variables, filters, views.reshape(-1, SIDE, SIDE, 3), recipe, train=False
        )
        logits = jnp.array(VIEW_WEIGHTS) @ logits.reshape(len(VIEW_WEIGHTS), -1)
        return (logits.reshape(batch, CLASSES).argmax(1) == labels).sum()

    parts = (
        data.test_images.reshape(-1, batch, SIDE, SIDE, 3),
        data.test_labels.reshape(-1, batch),
    )
    return lax.map(correct, parts).sum() / size


def make_views(images_BxHxWx3: Array) -> Array:
    """[6,B,H,W,3]: each of `SHIFTS` and its mirror image."""
    padded = pad(images_BxHxWx3, 1)
    height, width = images_BxHxWx3.shape[1:3]
    views = []
    for down, right in SHIFTS:
        rows = slice(1 + down, 1 + down + height)
        view = padded[:, rows, 1 + right : 1 + right + width]
        views += [view, view[:, :, ::-1]]
    return jnp.stack(views)


# The measurement -------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Config:
    variant: Literal[94, 95, 96] = 94
    """The test accuracy that the recipe reaches, in per cent."""
    runs: int = 50
    """Runs of each side, each with another seed."""
    seed: int = 0
    """Seed of the first run; each further run has the next one."""
    minutes: float | None = None
    """Time limit; a run that would exceed it is not begun.  None: no limit."""
    vmap: int = 0
    """Also train so many seeds at once in one program; 0: do not."""
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: without PyTorch's side."""
    torch_mode: str | None = None
    """Mode of torch.compile; None: `max-autotune` on a GPU, not compiled on CPU."""
    dataset: str = "cifar10"
    """A data set of 32×32 colour images in ten classes."""
    epochs: float | None = None
    """Replaces the recipe's.  This and the next four options are for trying out."""
    batch_size: int | None = None
    """Replaces the recipe's."""
    widths: tuple[int, int, int] | None = None
    """Replaces the recipe's."""
    images: int | None = None
    """Train on the first images only, so many of them."""
    test_images: int | None = None
    """Test on the first images only, so many of them."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Type in which the network computes; auto: bfloat16, or float32 on CPU."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    smoke: bool = False
    """Two runs of two epochs of a narrow network on synthetic images."""


SMOKE: dict[str, Any] = dict(
    dataset="synthetic:32x32x3",
    runs=2,
    epochs=2.0,
    batch_size=50,
    widths=(8, 16, 16),
    images=1000,
    test_images=500,
)


def main(config: Config) -> None:
    launched = time.perf_counter()
    # Leave memory to the peer.  Read when JAX looks for devices, below.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if config.smoke:
        config = dataclasses.replace(config, **SMOKE)
    recipe = choose(config)
    resident = load(config)
    check_sizes(config, recipe, resident)
    device = jax.devices()[0]
    dtype = choose_dtype(config.dtype)
    console = Console()
    if device.platform == "cpu":
        console.print("There is no accelerator: times on a CPU mean nothing here.")
    if recipe != RECIPES[config.variant] or len(resident.train_labels) != 50_000:
        console.print("The recipe was changed: do not compare its accuracy.")

    run = make_run(recipe, len(resident.train_labels), dtype)
    ours, compile_seconds = compiled(run, jax.random.key(config.seed), resident)
    numbers = records.begin("cifar10_speedrun")
    numbers |= {
        "variant": config.variant,
        "recipe": "published" if recipe == RECIPES[config.variant] else "changed",
        "train_images": len(resident.train_labels),
        "dtype": jnp.dtype(dtype).name,
        "ours_compile_seconds": compile_seconds,
    }
    console.print(f"compiled in {compile_seconds:.1f} s")

    results: dict[str, list[tuple[float, float]]] = {"ours": []}
    sides = {"ours": lambda seed: timed(ours, jax.random.key(seed), resident)}
    with contextlib.ExitStack() as stack:
        if config.torch_python is not None:
            started = time.perf_counter()
            ask = stack.enter_context(torch_side(config, recipe, resident))
            numbers["version_torch"] = ask("version")
            numbers["torch_warm_up_seconds"] = time.perf_counter() - started
            results["torch"] = []
            sides["torch"] = lambda seed: tuple(ask("timed", seed))
        longest = 0.0
        for seed in range(config.seed, config.seed + config.runs):
            now = time.perf_counter()
            left = 60 * (config.minutes or math.inf) - (now - launched)
            if len(results["ours"]) >= 2 and longest > left:
                console.print("no time for more runs")
                break
            for name, side in sides.items():
                results[name].append(side(seed))
            longest = max(longest, time.perf_counter() - now)
            print(*(f"{n} {a[-1][0]:.4f}" for n, a in results.items()), flush=True)
    if config.vmap:
        found, seconds = many(run, config, resident)
        results["vmap"] = found
        numbers["vmap_compile_seconds"] = seconds
        numbers["vmap_seeds"] = config.vmap
    numbers |= summarise(results)
    console.print(make_table(config, numbers))
    records.write(numbers, config.output)


def choose(config: Config) -> Recipe:
    """The recipe of the variant, changed by the options that replace parts of it."""
    recipe = RECIPES[config.variant]
    for name in ("epochs", "batch_size", "widths"):
        if (value := getattr(config, name)) is not None:
            recipe = recipe._replace(**{name: value})
    return recipe


def choose_dtype(name: str) -> Any:
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)


def load(config: Config) -> Data:
    """The first images of both splits, on the device."""
    splits = data.load(config.dataset)
    for split in (splits.train, splits.test):
        check(
            (
                split.image_shape == (SIDE, SIDE, 3)
                and len(split.class_names) == CLASSES,
                f"{split.name} has images of {split.image_shape} in "
                f"{len(split.class_names)} classes: give a set like CIFAR-10",
            )
        )
    train, test = splits.train.read(), splits.test.read()
    return Data(
        jnp.asarray(train["image"][: config.images]),
        jnp.asarray(train["label"][: config.images]),
        jnp.asarray(test["image"][: config.test_images]),
        jnp.asarray(test["label"][: config.test_images]),
    )


def check_sizes(config: Config, recipe: Recipe, resident: Data) -> None:
    """Raises `UsageError` before anything is compiled."""
    size = len(resident.train_labels)
    check(
        (config.runs >= 2, f"an interval needs runs of 2 or more, got {config.runs}"),
        (config.vmap != 1, "one seed in one program is a run: give vmap 0 or more"),
        (config.vmap >= 0, f"vmap must not be negative, got {config.vmap}"),
        (recipe.epochs > 0, f"epochs must be positive, got {recipe.epochs}"),
        (
            1 <= recipe.batch_size <= size,
            f"batch size must be between 1 and the {size} images, "
            f"got {recipe.batch_size}",
        ),
        (min(recipe.widths) >= 1, f"widths must be positive, got {recipe.widths}"),
        (len(resident.test_labels) >= 1, "test_images must be positive"),
    )


def compiled(run, *arguments):
    """The compiled program, which was called once, and the seconds to compile it."""
    started = time.perf_counter()
    program = onednn.jit(run)
    program.lower(*arguments).compile()
    seconds = time.perf_counter() - started
    jax.block_until_ready(program(*arguments))
    return program, seconds


def timed(program, key: Array, resident: Data) -> tuple[float, float]:
    """Test accuracy and seconds of a run."""
    jax.block_until_ready((key, resident))
    started = time.perf_counter()
    accuracy, _ = jax.block_until_ready(program(key, resident))
    return float(accuracy), time.perf_counter() - started


def many(run, config: Config, resident: Data):
    """Test accuracy and seconds of each seed of one program; seconds to compile it."""
    keys = jax.vmap(jax.random.key)(jnp.arange(config.vmap) + config.seed)
    program, compile_seconds = compiled(
        jax.vmap(run, in_axes=(0, None)), keys, resident
    )
    started = time.perf_counter()
    accuracies, _ = jax.block_until_ready(program(keys, resident))
    seconds = (time.perf_counter() - started) / config.vmap
    return [(float(accuracy), seconds) for accuracy in accuracies], compile_seconds


@contextlib.contextmanager
def torch_side(config: Config, recipe: Recipe, resident: Data) -> Iterator[Callable]:
    """Calls of the PyTorch side, which is ready to run the recipe."""
    assert config.torch_python is not None
    with (
        tempfile.TemporaryDirectory() as folder,
        peer(config.torch_python, PEER) as ask,
    ):
        images = Path(folder) / "data.npz"
        np.savez(images, **resident._asdict())
        ask("begin", to_json(recipe), str(images), config.torch_mode)
        yield ask


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe for the peer, with the kind of its optimiser by name."""
    kind = type(recipe.optimizer).__name__
    return recipe._asdict() | {"optimizer": recipe.optimizer._asdict() | {"kind": kind}}


def summarise(results: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Means with their 95 % confidence intervals, and ours against the others."""
    numbers: dict[str, Any] = {}
    for name, pairs in results.items():
        accuracies, seconds = zip(*pairs, strict=True)
        numbers |= {
            f"{name}_runs": len(pairs),
            f"{name}_accuracy": statistics.mean(accuracies),
            f"{name}_accuracy_std": statistics.stdev(accuracies),
            f"{name}_accuracy_interval": half_interval(accuracies),
            f"{name}_seconds": statistics.mean(seconds),
            f"{name}_seconds_std": statistics.stdev(seconds),
            f"{name}_seconds_interval": half_interval(seconds),
        }
    if "torch" in results:
        numbers["time_ratio"] = numbers["ours_seconds"] / numbers["torch_seconds"]
        numbers["accuracy_difference"] = (
            numbers["ours_accuracy"] - numbers["torch_accuracy"]
        )
        # Welch's standard error, for the difference of two independent means.
        numbers["accuracy_difference_interval"] = math.hypot(
            numbers["ours_accuracy_interval"], numbers["torch_accuracy_interval"]
        )
    if "vmap" in results:
        numbers["vmap_ratio"] = numbers["vmap_seconds"] / numbers["ours_seconds"]
    return numbers


def half_interval(values) -> float:
    """Half the 95 % interval of the mean, by Student's t."""
    from scipy import stats

    count = len(values)
    error = statistics.stdev(values) / math.sqrt(count)
    return float(stats.t.ppf(0.975, count - 1) * error)


def make_table(config: Config, numbers: dict[str, Any]) -> Table:
    """A row for each side."""
    table = Table(title=f"CIFAR-10, {config.variant} %, {numbers['hardware']}")
    for column in ("", "runs", "accuracy", "95 % interval", "seconds a run", "compile"):
        table.add_column(column, justify="left" if not column else "right")
    titles = {
        "ours": f"jaxvision, {numbers['dtype']}",
        "torch": f"PyTorch {numbers.get('version_torch')}",
        "vmap": f"jaxvision, {config.vmap} seeds at once",
    }
    compiling = {
        "ours": f"{numbers['ours_compile_seconds']:.1f} s",
        "torch": f"{numbers.get('torch_warm_up_seconds', 0):.1f} s (with warm-up)",
        "vmap": f"{numbers.get('vmap_compile_seconds', 0):.1f} s",
    }
    for name, title in titles.items():
        if f"{name}_runs" in numbers:
            mean, half = (
                numbers[f"{name}_accuracy"],
                numbers[f"{name}_accuracy_interval"],
            )
            table.add_row(
                title,
                f"{numbers[f'{name}_runs']}",
                f"{mean:.2%} ± {numbers[f'{name}_accuracy_std']:.2%}",
                f"{mean - half:.2%} to {mean + half:.2%}",
                f"{numbers[f'{name}_seconds']:.3f} ± "
                f"{numbers[f'{name}_seconds_std']:.3f}",
                compiling[name],
            )
    notes = []
    if "time_ratio" in numbers:
        notes.append(
            f"{numbers['time_ratio']:.3f} of PyTorch's time; accuracy "
            f"{100 * numbers['accuracy_difference']:+.2f} ± "
            f"{100 * numbers['accuracy_difference_interval']:.2f} points"
        )
    if "vmap_ratio" in numbers:
        notes.append(f"in one program {numbers['vmap_ratio']:.2f} of a run's time each")
    table.caption = "\n".join(notes) or None
    return table


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
