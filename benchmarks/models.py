"""What models cost: compile time, and images per second forward and in training.

    python -m benchmarks.models --models resnet18 mobilenet_v2
    python -m benchmarks.models --torch-python PATH --output models.json

A training step is the forward pass, the gradients of the cross-entropy and plain SGD.
Ours runs four of them in a dispatch.  With `--torch-python`, an interpreter that has
PyTorch, torchvision and timm, their models are timed in the same run, before and after
ours, which is compared with the mean of both.
"""

import contextlib
import dataclasses
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import cli, records
from benchmarks.peers import peer
from benchmarks.timing import Stopwatch, timer
from jaxvision import models, onednn

STEPS = 4
"""Training steps in one dispatch."""


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
    """Names in our registry."""
    batch_size: int = 8
    """Images in a call."""
    size: int = 224
    """Height and width of the images."""
    dtype: str = "float32"
    """Type in which ours computes, such as bfloat16; PyTorch is timed in float32."""
    repeats: int = 5
    """Number of timed calls; the median counts."""
    torch_python: Path | None = None
    """Interpreter in which `import torch` works; None: without PyTorch's side."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


def main(config: Config) -> None:
    numbers = records.begin("models")
    with contextlib.ExitStack() as stack:
        torch = None
        if config.torch_python is not None:
            torch = stack.enter_context(peer(config.torch_python, "models_torch.py"))
        for name in config.models:
            found = compare(name, config, torch)
            cells = (f"{key} {value:.3g}" for key, value in found.items())
            print(name, *cells, sep="  ")
            numbers |= {f"{name}_{key}": value for key, value in found.items()}
    records.write(numbers, config.output)


def compare(
    name: str, config: Config, torch: Callable[..., Any] | None
) -> dict[str, float]:
    """The numbers of a model; with PyTorch also its rates, and ours over these."""
    if torch is None:
        return ours(name, config)
    ask = partial(torch, "rates", name, config.batch_size, config.size, config.repeats)
    before, found, after = ask(), ours(name, config), ask()
    for key in before:
        rate = statistics.mean([before[key], after[key]])
        found |= {f"{key}_pytorch": rate, f"{key}_ratio": found[key] / rate}
    return found


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
        program = partial(onednn.jit(function), params, variables, images)
        watch = Stopwatch()
        jax.block_until_ready(program())
        first = watch.seconds()
        call_seconds = timer(program)
        seconds = statistics.median(call_seconds(1) for _ in range(config.repeats))
        found[f"{what}_compile_seconds"] = first - seconds
        found[what] = count * config.batch_size / seconds
    return found


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
