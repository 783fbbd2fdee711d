"""Training steps on CPU: ours against PyTorch's, in turns, in the same run.

    python -m benchmarks.speed --torch-python PATH           (about six minutes)
    make bench TORCH_PYTHON=PATH   (the same among others, compared with the record)

PATH is a Python with PyTorch, since this environment has none; its side of every row
is written out below.  Both sides train the same network on the same shapes from the
same recipe: float32, cross-entropy, momentum 0.9, one batch that lies in memory.
PyTorch has all cores and runs eagerly, in whichever of its two memory layouts is faster
for the row, as found before the first round.  Ours runs ten steps a dispatch, and 39 of
ResNet-20, as our experiments do.

With `--compare` a row fails whose ratio is less than a third of the recorded one: wide
enough for a busy machine, and no optimisation is lost unseen.
"""

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.peers import peer
from jaxvision import models, onednn
from jaxvision.errors import UsageError, unknown
from jaxvision.ops.activation import relu
from jaxvision.ops.batch_norm import batch_norm
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.pooling import max_pool
from jaxvision.ops.upsample import upsample
from jaxvision.runs import record
from jaxvision.types import Array

ROWS = {
    # shape of a batch, number of classes, steps in one dispatch of ours
    "lenet5": ((128, 32, 32, 1), 10, 10),
    "resnet20": ((128, 32, 32, 3), 10, 39),
    "resnet18": ((64, 64, 64, 3), 1000, 10),
    "resnet18_cifar": ((64, 32, 32, 3), 10, 10),
    "resnet50": ((32, 64, 64, 3), 1000, 10),
    "mobilenet_v2": ((64, 64, 64, 3), 1000, 10),
    "unet": ((16, 64, 64, 3), 2, 10),
}
RECORD = Path(__file__).parent / "results" / "speed.json"


@dataclasses.dataclass(frozen=True)
class Config:
    torch_python: Path
    """Interpreter in which `import torch` works."""
    rows: tuple[str, ...] = tuple(ROWS)
    """Networks to measure."""
    rounds: int = 7
    """Turns of each side; the median of their ratios counts."""
    seconds: float = 1.5
    """Of each turn, about."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    compare: bool = False
    """Fail if a row has lost two thirds of its recorded ratio."""


def main(config: Config) -> int:
    for row in config.rows:
        if row not in ROWS:
            raise unknown("row", row, ROWS)
    numbers: dict[str, Any] = record.provenance("benchmarks.speed", sys.argv[1:])
    numbers |= {"hardware": record.hardware(jax.devices()[0].device_kind, 1)}
    with peer(config.torch_python, TORCH) as torch:
        numbers["version_torch"] = torch("version")
        for row in config.rows:
            numbers |= measure(row, torch, config)
    text = json.dumps(numbers, indent=2)
    if config.output is not None:
        config.output.write_text(text + "\n", encoding="utf-8")
    print_table(config.rows, numbers)
    return slides(numbers, RECORD) if config.compare else 0


def measure(row: str, torch: Callable[..., Any], config: Config) -> dict[str, Any]:
    """Images per second of both sides, and the median of the ratios of each round."""
    shape, classes, in_dispatch = ROWS[row]
    step, state = make_step(row, shape, classes)
    ours, compile_seconds = timed(step, state, in_dispatch, onednn.jit)
    theirs, layout = torch("make", row, shape, classes)
    dispatches = max(1, round(config.seconds / (in_dispatch * ours(1))))
    steps = max(1, round(config.seconds / theirs))

    rates, ratios = [], []
    for _ in range(config.rounds):
        before = ours(dispatches)
        theirs = torch("steps", steps)
        around = (before + ours(dispatches)) / 2
        rates.append((around, theirs))
        ratios.append(theirs / around)
    own, other = (
        shape[0] / statistics.median(side) for side in zip(*rates, strict=True)
    )
    numbers = {
        "ours_images_per_second": own,
        "torch_images_per_second": other,
        "torch_layout": layout,
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "compile_seconds": compile_seconds,
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
    targets = shape[:3] if row == "unet" else shape[:1]
    labels = jnp.asarray(draw.integers(0, classes, targets))
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


def make_network(row: str, images: Array, classes: int):
    """`apply(params, model_state, images, key) -> (logits, model_state)`, variables."""
    if row in NETWORKS:
        network = NETWORKS[row]
        params: list[Array] = []

        def draw(*shape: int) -> Array:
            fan_in = np.prod(shape[:-1])
            key = jax.random.key(len(params))
            params.append(jax.random.normal(key, shape) * np.sqrt(2 / fan_in))
            return params[-1]

        network(draw, images[:2], classes)

        def apply(params, model_state, images, key):
            rest = iter(params)
            return network(lambda *shape: next(rest), images, classes), model_state

        return apply, (params, {})

    model = models.create(row, num_classes=classes)
    variables = dict(jax.jit(model.init)(jax.random.key(0), images[:1]))

    def apply_model(params, model_state, images, key):
        variables = {"params": params, **model_state}
        outputs, model_state = model.apply(variables, images, train=True, key=key)
        return outputs["logits"], model_state

    return apply_model, (variables.pop("params"), variables)


# Two networks that the registry does not have, as functions of `param`, which makes
# or remembers the next parameter of a given shape.


def conv_norm_relu(
    param, x: Array, out_channels: int, strides: int = 1, **options
) -> Array:
    """3×3 convolution, batch normalisation (without running averages), ReLU."""
    return relu(conv_norm(param, x, out_channels, strides, **options))


def conv_norm(param, x: Array, out_channels: int, strides: int = 1, *, kernel: int = 3):
    half = kernel // 2
    x = conv2d(
        x,
        param(kernel, kernel, x.shape[3], out_channels),
        strides=strides,
        padding=half,
    )
    return batch_norm(x, 1 + param(out_channels), param(out_channels), 1e-5)[0]


def resnet18_cifar(param, x: Array, classes: int) -> Array:
    """ResNet-18 whose stem is one 3×3 convolution, as everybody trains it on CIFAR."""
    x = conv_norm_relu(param, x, 64)
    for stage in range(4):
        for block in range(2):
            out_channels, strides = 64 * 2**stage, 2 if stage and not block else 1
            y = conv_norm_relu(param, x, out_channels, strides)
            y = conv_norm(param, y, out_channels)
            if strides > 1:
                x = conv_norm(param, x, out_channels, strides, kernel=1)
            x = relu(x + y)
    return x.mean((1, 2)) @ param(512, classes) + param(classes)


def unet(param, x: Array, classes: int) -> Array:
    """A U-Net of four levels with 16 to 128 channels, two convolutions a level."""
    levels = []
    for width in (16, 32, 64):
        x = conv_norm_relu(param, conv_norm_relu(param, x, width), width)
        levels.append(x)
        x = max_pool(x, 2)
    x = conv_norm_relu(param, conv_norm_relu(param, x, 128), 128)
    for width in (64, 32, 16):
        x = jnp.concatenate([levels.pop(), upsample(x)], axis=-1)
        x = conv_norm_relu(param, conv_norm_relu(param, x, width), width)
    return conv2d(x, param(1, 1, 16, classes)) + param(classes)


NETWORKS = {"resnet18_cifar": resnet18_cifar, "unet": unet}


TORCH = """
import time
import torch
from torch import nn
from torch.nn import functional as F

def conv(in_channels, out_channels, kernel=3, strides=1, groups=1):
    options = dict(padding=kernel // 2, groups=groups, bias=False)
    return nn.Conv2d(in_channels, out_channels, kernel, strides, **options)

class LeNet5(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.c5, self.f6 = nn.Linear(400, 120), nn.Linear(120, 84)
        self.output = nn.Linear(84, classes)
    def forward(self, x):
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c3(x)), 2)
        x = torch.tanh(self.f6(torch.tanh(self.c5(x.flatten(1)))))
        return self.output(x)

class Padded(nn.Module):  # the shortcut without parameters (option A)
    def __init__(self, strides, new):
        super().__init__()
        self.strides, self.new = strides, new
    def forward(self, x):
        x = x[:, :, :: self.strides, :: self.strides]
        return F.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))

class Residual(nn.Module):
    def __init__(self, branch, shortcut, last=True):
        super().__init__()
        self.branch, self.shortcut, self.last = branch, shortcut, last
    def forward(self, x):
        y = self.shortcut(x) + self.branch(x)
        return F.relu_(y) if self.last else y

def basic(in_channels, width, strides, option_a):
    branch = nn.Sequential(
        conv(in_channels, width, 3, strides), nn.BatchNorm2d(width), nn.ReLU(True),
        conv(width, width), nn.BatchNorm2d(width),
    )
    return Residual(branch, shortcut(in_channels, width, strides, option_a)), width

def bottleneck(in_channels, width, strides, option_a):
    out_channels = 4 * width
    branch = nn.Sequential(
        conv(in_channels, width, 1), nn.BatchNorm2d(width), nn.ReLU(True),
        conv(width, width, 3, strides), nn.BatchNorm2d(width), nn.ReLU(True),
        conv(width, out_channels, 1), nn.BatchNorm2d(out_channels),
    )
    short = shortcut(in_channels, out_channels, strides, option_a)
    return Residual(branch, short), out_channels

def shortcut(in_channels, out_channels, strides, option_a):
    if in_channels == out_channels and strides == 1:
        return nn.Identity()
    if option_a:
        return Padded(strides, out_channels - in_channels)
    projection = conv(in_channels, out_channels, 1, strides)
    return nn.Sequential(projection, nn.BatchNorm2d(out_channels))

def resnet(block, depths, width, classes, large_stem, option_a=False):
    stem = conv(3, width, 7, 2) if large_stem else conv(3, width)
    layers, in_channels = [stem, nn.BatchNorm2d(width), nn.ReLU(True)], width
    if large_stem:
        layers.append(nn.MaxPool2d(3, 2, 1))
    for stage, depth in enumerate(depths):
        for i in range(depth):
            strides = 2 if stage and not i else 1
            layer, in_channels = block(in_channels, width * 2**stage, strides, option_a)
            layers.append(layer)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, classes)]
    return nn.Sequential(*layers)

def mobilenet_v2(classes):
    layers, in_channels = [conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6(True)], 32
    for expansion, out_channels, repetitions, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):
        for i in range(repetitions):
            strides, wide, branch = 1 if i else first, in_channels * expansion, []
            if expansion > 1:
                branch += [conv(in_channels, wide, 1), nn.BatchNorm2d(wide)]
                branch += [nn.ReLU6(True)]
            branch += [
                conv(wide, wide, 3, strides, wide), nn.BatchNorm2d(wide),
                nn.ReLU6(True),
                conv(wide, out_channels, 1), nn.BatchNorm2d(out_channels),
            ]
            branch = nn.Sequential(*branch)
            same = in_channels == out_channels and strides == 1
            layers.append(Residual(branch, nn.Identity(), False) if same else branch)
            in_channels = out_channels
    layers += [conv(320, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6(True)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(1280, classes))

def twice(in_channels, width):
    return nn.Sequential(
        conv(in_channels, width), nn.BatchNorm2d(width), nn.ReLU(True),
        conv(width, width), nn.BatchNorm2d(width), nn.ReLU(True),
    )

class UNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.down = nn.ModuleList([twice(3, 16), twice(16, 32), twice(32, 64)])
        self.middle = twice(64, 128)
        self.up = nn.ModuleList([twice(192, 64), twice(96, 32), twice(48, 16)])
        self.head = nn.Conv2d(16, classes, 1)
    def forward(self, x):
        levels = []
        for level in self.down:
            x = level(x)
            levels.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for level in self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = level(torch.cat([levels.pop(), x], 1))
        return self.head(x)

NETWORKS = {
    "lenet5": LeNet5,
    "resnet20": lambda n: resnet(basic, (3, 3, 3), 16, n, False, option_a=True),
    "resnet18": lambda n: resnet(basic, (2, 2, 2, 2), 64, n, True),
    "resnet18_cifar": lambda n: resnet(basic, (2, 2, 2, 2), 64, n, False),
    "resnet50": lambda n: resnet(bottleneck, (3, 4, 6, 3), 64, n, True),
    "mobilenet_v2": mobilenet_v2,
    "unet": UNet,
}

def network_steps(row, shape, classes, layout):
    batch, height, width, channels = shape
    network = NETWORKS[row](classes).to(memory_format=layout)
    images = torch.randn(batch, channels, height, width).to(memory_format=layout)
    targets = (batch, height, width) if row == "unet" else (batch,)
    labels = torch.randint(0, classes, targets)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    def steps(count):
        started = time.perf_counter()
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        return (time.perf_counter() - started) / count
    return steps

def version():
    return torch.__version__

def make(row, shape, classes):
    # The seconds of a step in the faster layout, and which that is.
    global steps
    found = {}
    for layout in (torch.channels_last, torch.contiguous_format):
        timed = network_steps(row, shape, classes, layout)
        timed(2)
        found[min(timed(2) for _ in range(3))] = timed, str(layout)
    seconds = min(found)
    steps, layout = found[seconds]
    return seconds, layout
"""


def print_table(rows: tuple[str, ...], numbers: dict[str, Any]) -> None:
    print(f"{'':16}{'ours':>10}{'PyTorch':>10}{'ratio':>8}{'compile':>9}")
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
        print(f"{row:16}{ours:10,.0f}{theirs:10,.0f}{ratio:8.2f}{compiling:7.1f} s")


def slides(numbers: dict[str, Any], record: Path) -> int:
    """The exit code: 1 if a ratio is less than a third of the recorded one."""
    if not record.exists():
        raise UsageError(f"no record to compare with: make it with --output {record}")
    recorded = json.loads(record.read_text(encoding="utf-8"))
    ratios = {name: now for name, now in numbers.items() if name.endswith("_ratio")}
    lost = [
        f"{name} is {now:.2f} and was {before:.2f}"
        for name, now in ratios.items()
        if (before := recorded.get(name, 0)) > 3 * now
    ]
    print("\n".join(lost) or "No ratio has fallen to a third of the recorded one.")
    return 1 if lost else 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Config, description=__doc__)))
    except UsageError as error:
        sys.exit(str(error))
