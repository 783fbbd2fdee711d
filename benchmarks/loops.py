"""What a loop inside a program costs: `lax.scan` against the same, unrolled.

    python -m benchmarks.loops                             (about three minutes)

XLA's own gradients of convolutions are up to 190 times slower inside a loop on CPU,
https://github.com/jax-ml/jax/issues/12868; ours should not be.  The loops are over
training steps in one dispatch, over batches whose gradients are added up, and over
equal blocks of a network.  The ratio is the time of the unrolled program over that of
the loop, measured in turns in one run; it should be 0.9 or more.
"""

import dataclasses
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cli, records, timing
from benchmarks.networks import conv_norm, conv_norm_relu
from jaxvision import models, onednn
from jaxvision.models.vit import EncoderBlock
from jaxvision.ops.activation import relu
from jaxvision.types import Array

RECORD = records.COMMITTED / "loops.json"
COUNT = 4
"""Iterations of each loop."""


@dataclasses.dataclass(frozen=True)
class Config:
    rounds: int = 7
    """Turns of each side; the median of their ratios counts."""
    seconds: float = 1.0
    """Approximate duration of each turn."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    compare: bool = False
    """Fail if a ratio is less than a third of the recorded one."""


def main(config: Config) -> int:
    numbers = records.begin("loops")
    for name, make in LOOPS.items():
        looped = timing.timer(compiled(*make(1)))
        unrolled = timing.timer(compiled(*make(COUNT)))
        calls = max(1, round(config.seconds / looped(1)))
        ratios = [unrolled(calls) / looped(calls) for _ in range(config.rounds)]
        numbers[f"{name}_seconds"] = looped(calls)
        numbers |= timing.spread(f"{name}_ratio", ratios)
        print(f"{name:28}{statistics.median(ratios):6.2f}", flush=True)
    records.write(numbers, config.output)
    return records.regressions(numbers, RECORD) if config.compare else 0


def compiled(function: Callable[..., Any], *operands: Any) -> Callable[[], Any]:
    return partial(onednn.jit(function), *operands)


def resnet20(batch: int) -> tuple[Callable[[Any, Array], Any], Any, Array]:
    """The gradient of a loss, the parameters, and COUNT batches [COUNT,B,32,32,3]."""
    model = models.create("resnet20", num_classes=10)
    draw = np.random.default_rng(0).standard_normal((COUNT, batch, 32, 32, 3))
    images = jnp.asarray(draw, jnp.float32)
    variables = dict(jax.jit(model.init)(jax.random.key(0), images[0, :1]))
    params = variables.pop("params")

    def loss(params, images):
        outputs, _ = model.apply({"params": params, **variables}, images, train=True)
        return jax.nn.logsumexp(outputs["logits"], axis=-1).mean()

    return jax.grad(loss), params, images


def descend(gradient, params, batches=None, *, length=None, unroll=1):
    """The parameters after gradient descent, one batch a step, or `length` steps."""

    def step(params, batch):
        slopes = gradient(params, batch)
        return jax.tree.map(lambda p, s: p - 1e-3 * s, params, slopes), None

    return jax.lax.scan(step, params, batches, length=length, unroll=unroll)[0]


def steps(unroll: int):
    """Gradient descent on COUNT batches."""
    gradient, params, images = resnet20(64)
    return partial(descend, gradient, unroll=unroll), params, images


def accumulation(unroll: int):
    """The mean gradient of the batches."""
    gradient, params, images = resnet20(32)

    def accumulate(params, images):
        def add(total, batch):
            return jax.tree.map(jnp.add, total, gradient(params, batch)), None

        zeros = jax.tree.map(jnp.zeros_like, params)
        total, _ = jax.lax.scan(add, zeros, images, unroll=unroll)
        return jax.tree.map(lambda sum_: sum_ / COUNT, total)

    return accumulate, params, images


def blocks(unroll: int, width: int = 64, size: int = 16, checkpoint: bool = False):
    """Residual blocks of two convolutions."""
    draw = np.random.default_rng(0).standard_normal
    x = jnp.asarray(draw((32, size, size, width)), jnp.float32)
    shapes = 2 * ((3, 3, width, width), (width,), (width,))
    params = [jnp.asarray(0.05 * draw((COUNT, *s)), jnp.float32) for s in shapes]

    def block(params, x):
        rest = iter(params)

        def param(*shape):
            return next(rest)

        return relu(x + conv_norm(param, conv_norm_relu(param, x, width), width))

    return stacked(block, params, x, unroll, checkpoint)


def encoder_blocks(unroll: int, checkpoint: bool = False):
    """Encoder blocks of ViT-Ti on 64 tokens of 16 images."""
    block = EncoderBlock(3, 768, dropout=lambda y: y, dtype=jnp.float32)
    draw = np.random.default_rng(0).standard_normal
    x = jnp.asarray(draw((16, 64, 192)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), COUNT)
    params = jax.jit(jax.vmap(lambda key: block.init(key, x)))(keys)
    return stacked(lambda p, x: block.apply(p, x), params, x, unroll, checkpoint)


def stacked(
    block: Callable[[Any, Array], Any],
    params: Any,
    x: Array,
    unroll: int,
    checkpoint: bool,
):
    """Five steps of gradient descent of equal blocks, whose parameters are stacked.

    A loop copies what the gradient needs into stacked arrays and back, which takes a
    noticeable share of the time where blocks are narrow.  With `checkpoint` it copies
    only the input of each block, and computes the rest twice.  The training steps are a
    loop on both sides: a dispatch of a single step spends most of its time on memory
    that was allocated anew.
    """
    block = jax.checkpoint(block) if checkpoint else block

    def loss(params, x):
        y, _ = jax.lax.scan(lambda x, p: (block(p, x), None), x, params, unroll=unroll)
        return jnp.square(y).mean()

    def train(params, x):
        return descend(lambda p, _: jax.grad(loss)(p, x), params, length=5)

    return train, params, x


LOOPS: dict[str, Callable[..., Any]] = {
    "steps": steps,
    "accumulation": accumulation,
    "blocks": blocks,
    "wide_blocks": partial(blocks, width=256, size=8),
    "checkpointed_blocks": partial(blocks, checkpoint=True),
    "encoder_blocks": encoder_blocks,
    "checkpointed_encoder_blocks": partial(encoder_blocks, checkpoint=True),
}


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
