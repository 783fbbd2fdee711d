"""Training throughput on one accelerator at ImageNet's size, beside PyTorch's.

    python -m benchmarks.imagenet_throughput --torch-python PATH
    python -m benchmarks.imagenet_throughput --models resnet50 --profile FOLDER
    python -m benchmarks.imagenet_throughput --models resnet50 --photos FOLDER

A step is the forward pass, the gradients of the cross-entropy and the optimiser's
update, SGD with momentum or AdamW as the model is usually trained, on random images
that are on the device; bfloat16 with float32 parameters.  The batch size grows as long
as that makes training faster and fits.  PyTorch (`peers/imagenet_throughput_torch.py`)
has torch.compile, AMP in bfloat16, channels-last and fused optimisers, and its own best
batch size.  Each measurement has a process of its own, so that one that runs out of
memory harms no other, and its peak memory is that of one model.

`--profile` writes a trace for TensorBoard or Perfetto and names the five operations
that take most of the device's time.  `--photos` trains on the JPEG files of a folder,
through the loader that experiments use, and prints how much slower that is.

The share of the peak is images/s · 6 · multiply-adds over the peak that the vendor
states.  On CPU everything is tiny, and the numbers mean nothing.
"""

import collections
import dataclasses
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from rich.console import Console
from rich.table import Table

from benchmarks import cli, peers, photographs, records
from benchmarks.photographs import MEAN, STD
from jaxvision import data, models, optim
from jaxvision.engine import costs, profiling
from jaxvision.errors import UsageError, check, unknown
from jaxvision.models import measures
from jaxvision.ops.augment import compose, normalise, random_flip
from jaxvision.types import Array, PyTree

MODELS = (
    "resnet50",
    "resnet18",
    "vit_small_patch16_224",
    "vit_b_16",
    "convnext_tiny",
    "efficientnet_b0",
)
ADAMW = ("vit", "convnext", "swin")
"""Prefixes of the names of models that are trained with AdamW."""
WORTH = 1.02
"""Factor by which a larger batch must be faster for the next one to be tried."""
FILLED = 4
"""Batches that the loader prefetches, and that are used up before the clock starts."""

Ask = Callable[[dict[str, Any]], dict[str, Any] | None]
"""`request -> answer` of a process, None if it failed."""


@dataclasses.dataclass(frozen=True)
class Config:
    models: tuple[str, ...] = ()
    """Names in our registry; empty: six of them, or resnet18 on CPU."""
    batch_sizes: tuple[int, ...] = ()
    """Batch sizes to try, in ascending order; empty: 256, 512 and 1024, or 4 on CPU."""
    image_size: int | None = None
    """Height and width; None: 224, or 32 on CPU."""
    steps: int | None = None
    """Timed steps, in three rounds whose median counts; None: 30, or 3 on CPU."""
    minutes: float | None = None
    """Time limit; measurements that would exceed it are left out.  None: no limit."""
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: without PyTorch's side."""
    torch_modes: tuple[str, ...] = ()
    """Modes of torch.compile, the fastest of which counts; `eager` does not compile.
    Empty: `default` and `max-autotune`, or `eager` on CPU."""
    photos: Path | None = None
    """A folder of JPEG files, searched in all depths, to train on as well."""
    profile: Path | None = None
    """Write a trace of each model to a folder in this one."""
    output: Path | None = None
    """Write the numbers to this JSON file, after each model."""


def main(config: Config) -> None:
    deadline = time.monotonic() + 60 * config.minutes if config.minutes else None
    for name in config.models:
        if name not in models.names():
            raise unknown("model", name, models.names())
    check(
        (
            list(config.batch_sizes) == sorted(set(config.batch_sizes)),
            f"batch sizes must ascend, got {config.batch_sizes}",
        ),
        (
            config.photos is None or config.photos.is_dir(),
            f"no folder at {config.photos}: give one with JPEG files",
        ),
    )
    console = Console(width=110)
    ours = process([sys.executable, "-c", OURS], deadline)
    device = ours({"what": "device"})
    if device is None:
        raise UsageError("JAX could not be started: see its message above")
    config = sized(config, device["platform"])
    if device["platform"] == "cpu":
        console.print(
            "There is no accelerator: this only shows that everything runs, and its "
            "numbers mean nothing."
        )
    numbers = records.begin("imagenet_throughput", device["kind"])
    numbers["image_size"] = config.image_size
    theirs = None
    if config.torch_python is not None:
        peer = peers.FOLDER / "imagenet_throughput_torch.py"
        theirs = process([str(config.torch_python), str(peer)], deadline)
    for name in config.models:
        numbers |= compare(name, config, ours, theirs, device["kind"], console)
        records.write(numbers, config.output)
    console.print(make_table(config, numbers))


def sized(config: Config, platform: str) -> Config:
    """The config with its open values filled in, for a CPU or an accelerator."""
    on_cpu = platform == "cpu"
    return dataclasses.replace(
        config,
        models=config.models or (("resnet18",) if on_cpu else MODELS),
        batch_sizes=config.batch_sizes or ((4,) if on_cpu else (256, 512, 1024)),
        image_size=config.image_size or (32 if on_cpu else 224),
        steps=config.steps or (3 if on_cpu else 30),
        torch_modes=config.torch_modes
        or (("eager",) if on_cpu else ("default", "max-autotune")),
    )


def compare(
    name: str,
    config: Config,
    ours: Ask,
    theirs: Ask | None,
    device_kind: str,
    console: Console,
) -> dict[str, Any]:
    """The numbers of one model, under keys that begin with its name."""
    request = {
        "what": "train",
        "model": name,
        "image_size": config.image_size,
        "steps": config.steps,
        "adamw": name.startswith(ADAMW),
    }
    found: dict[str, Any] = {}
    best = best_batch(ours, request, config.batch_sizes)
    if best is None:
        console.print(f"{name}: not measured, see above")
        return {}
    found |= {f"ours_{key}": value for key, value in best.items()}
    rate = best["images_per_second"]
    console.print(f"{name}: {rate:,.0f} images/s in batches of {best['batch_size']}")
    found["utilisation"] = utilisation(name, config.image_size, rate, device_kind)
    if theirs is not None:
        tried = [
            best_batch(theirs, request | {"mode": mode}, config.batch_sizes)
            for mode in config.torch_modes
        ]
        measured = [one for one in tried if one is not None]
        if measured:
            other = max(measured, key=lambda one: one["images_per_second"])
            found |= {f"torch_{key}": value for key, value in other.items()}
            found["ratio"] = rate / other["images_per_second"]
    request["batch_size"] = best["batch_size"]
    if config.profile is not None:
        folder = str(config.profile / name)
        profile = ours(request | {"what": "profile", "folder": folder})
        if profile is not None:
            console.print(cost_table(name, profile["costs"]))
            found["top_costs"] = [
                f"{share:.1%} {words}" for words, share in profile["costs"]
            ]
    if config.photos is not None:
        fed = ours(request | {"what": "fed", "photos": str(config.photos)})
        if fed is not None:
            found |= fed
            found["fed_loss"] = 1 - fed["fed_images_per_second"] / rate
            console.print(
                f"{name}: fed from JPEG files {fed['fed_images_per_second']:,.0f} "
                f"images/s, {found['fed_loss']:.0%} less; the loader alone "
                f"{fed['loader_images_per_second']:,.0f}"
            )
    return {f"{name}_{key}": value for key, value in found.items()}


def best_batch(
    ask: Ask, request: dict[str, Any], batch_sizes: tuple[int, ...]
) -> dict[str, Any] | None:
    """The fastest answer, with its `batch_size`; None if none fits."""
    measured: list[dict[str, Any]] = []
    for size in batch_sizes:
        found = ask(request | {"batch_size": size})
        if found is None:
            break
        measured.append(found | {"batch_size": size})
        rates = [one["images_per_second"] for one in measured]
        if len(rates) > 1 and rates[-1] < WORTH * rates[-2]:
            break
    return max(measured, key=lambda one: one["images_per_second"], default=None)


def utilisation(
    name: str, image_size: int | None, rate: float, device_kind: str
) -> float | None:
    """Share of the peak; None for another size than the model's, or no known peak."""
    peak = costs.peak_flops(device_kind)
    known = measures.recorded().get(name)
    if peak is None or known is None or models.default_input(name)[0] != image_size:
        return None
    return rate * 6 * known.multiply_adds / peak


def process(command: list[str], deadline: float | None) -> Ask:
    """Ask a new process for each request; request and answer are a line of JSON.

    It answers None, and prints the reason, if the process fails or the deadline (of
    `time.monotonic`) has passed.
    """

    def ask(request: dict[str, Any]) -> dict[str, Any] | None:
        left = None if deadline is None else deadline - time.monotonic()
        what = " ".join(str(v) for k, v in request.items() if k != "folder")
        if left is not None and left <= 0:
            print(f"no time for {what}", file=sys.stderr, flush=True)
            return None
        try:
            ended = subprocess.run(
                command,
                input=json.dumps(request),
                capture_output=True,
                text=True,
                timeout=left,
                env=ENVIRONMENT | os.environ,
            )
        except subprocess.TimeoutExpired:
            print(f"no time for the end of {what}", file=sys.stderr, flush=True)
            return None
        if ended.returncode:
            last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"{what}: {last[:300]}", file=sys.stderr, flush=True)
            return None
        return json.loads(ended.stdout.splitlines()[-1])

    return ask


ENVIRONMENT = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92"}
"""Of the measuring processes, unless set: each has the device to itself."""

OURS = "from benchmarks.imagenet_throughput import answer; answer()"


# Our side, in its process ----------------------------------------------------


def answer() -> None:
    """Read a request from the standard input, and write its answer."""
    request = json.loads(sys.stdin.readline())
    what = request.pop("what")
    print(json.dumps(ANSWERS[what](**request)))


def tell_device() -> dict[str, Any]:
    device = jax.devices()[0]
    return {"platform": device.platform, "kind": device.device_kind}


class Training:
    """A compiled training step and what it changes."""

    def __init__(self, model: str, batch_size: int, image_size: int, adamw: bool):
        on_cpu = jax.default_backend() == "cpu"
        dtype = jnp.float32 if on_cpu else jnp.bfloat16
        key, shape = jax.random.key(0), (batch_size, image_size, image_size, 3)
        self.batch = {
            "image": jax.random.normal(key, shape, dtype),
            "label": jax.random.randint(key, (batch_size,), 0, 1000),
        }
        network = models.create(model, num_classes=1000, dtype=dtype)
        rate = optim.constant(1e-3)
        if adamw:
            alone = network.no_weight_decay
            rule = optim.adamw(rate, no_weight_decay=alone)
        else:
            rule = optim.sgd(rate, momentum=0.9)

        def begin(key: Array, images: Array):
            variables = dict(network.init(key, images))
            params = variables.pop("params")
            return params, variables, rule.transform.init(params)

        def step(state: PyTree, batch: dict[str, Array], key: Array):
            params, rest, optimizer = state

            def loss(params):
                outputs, new = network.apply(
                    {"params": params, **rest}, batch["image"], train=True, key=key
                )
                losses = optax.softmax_cross_entropy_with_integer_labels(
                    outputs["logits"], batch["label"]
                )
                return losses.mean(), new

            (value, rest), gradients = jax.value_and_grad(loss, has_aux=True)(params)
            updates, optimizer = rule.transform.update(gradients, optimizer, params)
            return (optax.apply_updates(params, updates), rest, optimizer), value

        self.step = step
        self.state = jax.jit(begin)(key, self.batch["image"][:1])
        self.key = key
        started = time.perf_counter()
        self.compiled = (
            jax.jit(step, donate_argnums=0).lower(self.state, self.batch, key).compile()
        )
        self.compile_seconds = time.perf_counter() - started

    def run(self, steps: int) -> float:
        """Take so many steps, and return images per second."""
        started = time.perf_counter()
        for _ in range(steps):
            self.state, loss = self.compiled(self.state, self.batch, self.key)
        jax.block_until_ready((self.state, loss))
        return steps * len(self.batch["label"]) / (time.perf_counter() - started)


def train(steps: int, **options: Any) -> dict[str, Any]:
    """Throughput on images that are on the device."""
    training = Training(**options)
    training.run(3)
    part = max(1, steps // 3)
    rates = [training.run(part) for _ in range(3)]
    return {
        "images_per_second": statistics.median(rates),
        "peak_bytes": profiling.memory_peak(),
        "compile_seconds": training.compile_seconds,
    }


def profile(folder: str, steps: int, **options: Any) -> dict[str, Any]:
    """Write a trace of five steps; the five costliest operations with their share."""
    training = Training(**options)
    training.run(3)
    with jax.profiler.trace(folder):
        training.run(5)
    return {"costs": top_costs(Path(folder), training.compiled.as_text() or "")[:5]}


def top_costs(folder: Path, program: str) -> list[tuple[str, float]]:
    """Each operation of the newest trace, and its share of the device's time.

    An operation has the compiler's name for it and the layer that it came from.
    """
    traces = sorted(folder.rglob("*.xplane.pb"), key=lambda file: file.stat().st_mtime)
    spent: collections.Counter[str] = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the reader's own types
        for plane in jax.profiler.ProfileData.from_file(str(traces[-1])).planes:
            on_device = plane.name.startswith("/device:")
            for event in itertools.chain.from_iterable(
                line.events for line in plane.lines
            ):
                name = dict(event.stats).get(
                    "hlo_op", event.name if on_device else None
                )
                if name is not None:
                    spent[str(name)] += event.duration_ns
    origins = dict(
        re.findall(r'^\s*(?:ROOT )?%?([\w.-]+) = .*op_name="([^"]*)"', program, re.M)
    )
    total = sum(spent.values())
    return [
        (f"{name} {origins.get(name, '')}".strip(), time / total)
        for name, time in spent.most_common()
    ]


def fed(
    photos: str, steps: int, batch_size: int, image_size: int, **options: Any
) -> dict[str, Any]:
    """Throughput of the same step on JPEG files, and that of the loader alone."""
    training = Training(batch_size=batch_size, image_size=image_size, **options)
    files = photographs.find(Path(photos))
    pipeline = data.train(
        photographs.source(photographs.repeat(files, (steps + FILLED) * batch_size)),
        batch_size,
        crop=data.random_resized_crop(image_size),
        transform=compose(random_flip, normalise(MEAN, STD)),
        seed=0,
        prefetch=FILLED,
    )
    dtype = training.batch["image"].dtype

    def step(state: PyTree, item: dict[str, Array], key: Array):
        batch = dict(pipeline.fetch({}, item, key))
        batch["image"] = batch["image"].astype(dtype)
        return training.step(state, batch, key)

    items, key = pipeline.items(), training.key
    item = jax.device_put(next(items))
    program = jax.jit(step, donate_argnums=0).lower(training.state, item, key).compile()
    state, before = program(training.state, item, key)

    def run(count: int) -> float:
        """Images per second, with two steps in flight as in the training loop."""
        nonlocal state, before
        started = time.perf_counter()
        for _ in range(count):
            state, loss = program(state, jax.device_put(next(items)), key)
            jax.block_until_ready(before)
            before = loss
        jax.block_until_ready(before)
        return count * batch_size / (time.perf_counter() - started)

    def load(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            next(items)
        return count * batch_size / (time.perf_counter() - started)

    run(FILLED)  # what was decoded while the compiler worked
    found = {"fed_images_per_second": run(steps)}
    load(FILLED)
    return found | {
        "loader_images_per_second": load(steps),
        "loader_cores": len(os.sched_getaffinity(0)),
    }


ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "device": tell_device,
    "train": train,
    "profile": profile,
    "fed": fed,
}


# The tables ------------------------------------------------------------------


def make_table(config: Config, numbers: dict[str, Any]) -> Table:
    """A row for each model, with empty cells for what was not measured."""
    title = f"training, {config.image_size}², {numbers['hardware']}"
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for column in (
        "batch",
        "images/s",
        "of peak",
        "memory",
        "compile",
        "PyTorch",
        "its batch",
        "memory",
        "ratio",
        "from JPEG",
    ):
        table.add_column(column, justify="right")
    rows = (
        ("ours_batch_size", "{:,}"),
        ("ours_images_per_second", "{:,.0f}"),
        ("utilisation", "{:.1%}"),
        ("ours_peak_bytes", "{gigabytes:.1f} GB"),
        ("ours_compile_seconds", "{:.0f} s"),
        ("torch_images_per_second", "{:,.0f}"),
        ("torch_batch_size", "{:,}"),
        ("torch_peak_bytes", "{gigabytes:.1f} GB"),
        ("ratio", "{:.2f}"),
        ("fed_images_per_second", "{:,.0f}"),
    )
    for name in config.models:
        cells = []
        for key, words in rows:
            value = numbers.get(f"{name}_{key}")
            cells.append(
                "" if value is None else words.format(value, gigabytes=value / 1e9)
            )
        table.add_row(name, *cells)
    return table


def cost_table(name: str, found: list[tuple[str, float]]) -> Table:
    """The costliest operations, with their share of the device's time."""
    table = Table(title=f"{name}: what costs the device most")
    table.add_column("share", justify="right")
    table.add_column("operation", overflow="fold")
    for words, share in found:
        table.add_row(f"{share:.1%}", words)
    return table


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
