"""What models cost here: compile time, and images per second forward and in training.

    python -m benchmarks.models --models resnet18 mobilenet_v2
    python -m benchmarks.models --torch-python PATH --output models.json

A training step is the forward pass, the gradients of the cross-entropy and plain SGD.
Ours runs four of them in a dispatch.
With `--torch-python`, an interpreter that has PyTorch, torchvision and timm, theirs are
timed in the same run: before and after ours, and the mean of both is what ours is
compared with.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import tyro

from jaxvision import models, onednn
from jaxvision.engine import sharding
from jaxvision.runs import record

STEPS = 4
"""In one dispatch."""


@dataclasses.dataclass(frozen=True)
class Config:
    models: tuple[str, ...] = (
        "resnet18",
        "resnet50",
        "resnext50_32x4d",
        "mobilenet_v2",
        "efficientnet_b0",
        "densenet121",
        "vit_tiny_patch16_224",
        "swin_t",
    )
    batch_size: int = 8
    size: int = 224
    """Height and width of the images."""
    dtype: str = "float32"
    """Or bfloat16; PyTorch is timed in float32."""
    repeats: int = 5
    """Calls that are timed; the median counts."""
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: no comparison."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


def main(config: Config) -> None:
    device = sharding.describe(sharding.make_mesh(1))
    numbers: dict[str, Any] = record.provenance("benchmarks.models", sys.argv[1:])
    numbers |= {"hardware": record.hardware(**device)}
    for name in config.models:
        before = peer(name, config)
        found = ours(name, config)
        after = peer(name, config)
        for key in before:
            rate = statistics.mean([before[key], after[key]])
            found |= {f"{key}_pytorch": rate, f"{key}_ratio": found[key] / rate}
        print(name, *(f"{key} {value:.3g}" for key, value in found.items()), sep="  ")
        numbers |= {f"{name}_{key}": value for key, value in found.items()}
    if config.output is not None:
        text = json.dumps(numbers, indent=2)
        config.output.write_text(text + "\n", encoding="utf-8")


def ours(name: str, config: Config) -> dict[str, float]:
    """Seconds to compile and images per second, forward and in training."""
    model = models.create(name, dtype=jnp.dtype(config.dtype))
    key = jax.random.key(0)
    images = jax.random.normal(key, (config.batch_size, config.size, config.size, 3))
    labels = jnp.zeros(config.batch_size, jnp.int32)
    variables = dict(jax.jit(model.init)(key, images))
    params = variables.pop("params")

    def forward(params, state, images):
        return model.apply({"params": params, **state}, images)[0]["logits"]

    def step(params, state, images):
        def loss(params):
            outputs, new_state = model.apply(
                {"params": params, **state}, images, train=True, key=key
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(
                outputs["logits"], labels
            )
            return losses.mean(), new_state

        gradients, new_state = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), new_state

    def steps(params, state, images):
        def one(carry, _):
            params, state = carry
            return step(params, state, images), None

        return jax.lax.scan(one, (params, state), length=STEPS)[0]

    found = {}
    for what, function, count in (("forward", forward, 1), ("training", steps, STEPS)):
        program = onednn.jit(function)

        def call(program=program):
            jax.block_until_ready(program(params, variables, images))

        started = time.perf_counter()
        call()
        first = time.perf_counter() - started
        seconds = median_seconds(call, config.repeats)
        found[f"{what}_compile_seconds"] = first - seconds
        found[what] = count * config.batch_size / seconds
    return found


def median_seconds(call: Callable[[], None], repeats: int) -> float:
    """Of a call, after one that does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def peer(name: str, config: Config) -> dict[str, float]:
    """Images per second of PyTorch, forward and in training; empty without it."""
    if config.torch_python is None:
        return {}
    arguments = [name, config.batch_size, config.size, config.repeats]
    ended = subprocess.run(
        [config.torch_python, "-c", PYTORCH, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])


PYTORCH = """
import json, statistics, sys, time
import torch, torchvision

name, batch_size, size, repeats = sys.argv[1], *map(int, sys.argv[2:])
if name in torchvision.models.list_models():
    model = torchvision.models.get_model(name, weights=None)
else:
    import timm
    model = timm.create_model(name)
device = "cuda" if torch.cuda.is_available() else "cpu"
model = model.to(device)
images = torch.randn(batch_size, 3, size, size, device=device)
labels = torch.zeros(batch_size, dtype=torch.long, device=device)
optimizer = torch.optim.SGD(model.parameters(), 0.01)

def forward():
    model.eval()
    with torch.no_grad():
        model(images)

def training():
    model.train()
    outputs = model(images)
    outputs = getattr(outputs, "logits", outputs)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(outputs, labels).backward()
    optimizer.step()

rates = {}
for call in (forward, training):
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    rates[call.__name__] = batch_size / statistics.median(seconds[1:])
print(json.dumps(rates))
"""


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
