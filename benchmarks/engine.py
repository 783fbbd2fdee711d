"""What the engine costs: its speed against the bare jitted step, and start-up times.

    python -m benchmarks.engine                    (about five minutes)
    python -m benchmarks.engine --output engine.json

Both sides train the same model on the same images in the same process, in turns.
The bare step is what one would write by hand for speed alone: one jitted function with
donated state over batches that are on the device already; no shuffling, no
normalisation, no metrics, no checks, no log.  The engine does all of that.  Its time
includes logging but neither validation nor checkpoints, whose frequency is an option.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from rich.console import Console

from benchmarks import cli, records, timing
from experiments import cifar10_resnet20, mnist_lenet5
from jaxvision import onednn
from jaxvision.engine import sharding
from jaxvision.engine.loop import fit
from jaxvision.types import Experiment

CASES = {
    "lenet5": (mnist_lenet5, "synthetic:28x28x1", 430),
    "resnet20": (cifar10_resnet20, "synthetic:32x32x3", 39),
}
"""For each model: its experiment, a data set, and the steps of each round.  430 steps
are an epoch of MNIST, 39 are one dispatch of ResNet-20; at the end of a round the
engine logs, validates and saves."""


@dataclasses.dataclass(frozen=True)
class Config:
    rounds: int = 5
    """Turns of each side; the median of their ratios counts."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


def main(config: Config) -> None:
    numbers = records.begin("engine")
    numbers |= startup()
    for name, (module, dataset, steps) in CASES.items():
        experiment = module.build(module.Config(dataset=dataset))
        experiment = experiment._replace(steps=steps, log_every=steps, eval_every=steps)
        numbers |= compare(name, experiment, config.rounds)
    print(json.dumps(numbers, indent=2))
    records.write(numbers, config.output)


def compare(name: str, experiment: Experiment, rounds: int) -> dict[str, float]:
    """Images per second of both sides, and the median of the ratios of each round."""
    bare = make_bare(experiment)
    engine_rates, bare_rates = [], []
    for turn in range(rounds + 1):
        before, engine, after = bare(), engine_rate(experiment), bare()
        if turn > 0:  # the first round compiles
            bare_rates.append((before + after) / 2)
            engine_rates.append(engine)
            print(f"{name}: engine {engine:,.0f}, bare {bare_rates[-1]:,.0f} images/s")
    return {
        f"{name}_engine_images_per_second": statistics.median(engine_rates),
        f"{name}_bare_images_per_second": statistics.median(bare_rates),
        **timing.spread(f"{name}_ratio", timing.ratios(engine_rates, bare_rates)),
    }


def engine_rate(experiment: Experiment) -> float:
    with tempfile.TemporaryDirectory() as workdir, open(os.devnull, "w") as silence:
        fitted = fit(
            experiment,
            Path(workdir),
            mesh=sharding.make_mesh(1),
            console=Console(file=silence),
            compile_seconds=CLOCK,
        )
    return fitted.trained_images / fitted.train_seconds


def make_bare(experiment: Experiment):
    """`() -> images per second` of a hand-written loop over prepared batches."""
    model, transform = experiment.model, experiment.optimizer.transform
    items, resident = experiment.train.items(), experiment.train.resident()
    keys = iter(jax.random.split(jax.random.key(0), 8))
    fetch = jax.jit(experiment.train.fetch)
    batches = [fetch(resident, next(items), key) for key in keys]

    def loss(params, model_state, batch):
        outputs, model_state = model.apply(
            {"params": params, **model_state}, batch["image"], train=True
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(
            outputs["logits"], batch["label"]
        )
        return losses.mean(), model_state

    def step(params, model_state, opt_state, batch):
        (_, model_state), gradients = jax.value_and_grad(loss, has_aux=True)(
            params, model_state, batch
        )
        updates, opt_state = transform.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), model_state, opt_state

    jitted = onednn.jit(step, donate_argnums=(0, 1, 2))
    example = jnp.zeros_like(batches[0]["image"][:1])
    variables = dict(jax.jit(model.init)(jax.random.key(0), example))
    params = variables.pop("params")
    state = [params, variables, jax.jit(transform.init)(params)]

    def rate() -> float:
        nonlocal state
        jax.block_until_ready(state)
        started = time.perf_counter()
        for index in range(experiment.steps):
            state = jitted(*state, batches[index % len(batches)])
        jax.block_until_ready(state)
        seconds = time.perf_counter() - started
        return experiment.steps * experiment.train.batch_size / seconds

    rate()
    return rate


IMPORT = """
import time
import jax, flax.linen, optax
started = time.perf_counter()
import jaxvision, jaxvision.models, jaxvision.tasks, jaxvision.optim, jaxvision.data
import jaxvision.runs.execute
print(time.perf_counter() - started)
"""

FIRST_STEP = """
import os, runpy, sys, time
from jaxvision.engine import loop
make = loop.make_train_step
def make_and_stop(*arguments, **options):
    step = make(*arguments, **options)
    def first(*arguments):
        _, report = step(*arguments)
        report.bad_step.block_until_ready()
        print(time.time())
        sys.stdout.flush()
        os._exit(0)
    return first
loop.make_train_step = make_and_stop
sys.argv = ["mnist_lenet5", "--dataset", "mnist_5k", "--workdir", sys.argv[1]]
runpy.run_module("experiments.mnist_lenet5", run_name="__main__", alter_sys=True)
"""


def startup() -> dict[str, float]:
    """Seconds of importing the package, and from launch to the first finished step."""

    def python(*arguments, **environment) -> float:
        done = subprocess.run(
            [sys.executable, "-c", *arguments],
            env=os.environ | environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return float(done.stdout.split()[-1])

    def first_step(cache: str) -> float:
        with tempfile.TemporaryDirectory() as workdir:
            started = time.time()
            finished = python(FIRST_STEP, workdir, JAX_COMPILATION_CACHE_DIR=cache)
        return finished - started

    with tempfile.TemporaryDirectory() as cache:
        cold = first_step(cache)
        warm = [first_step(cache) for _ in range(3)]
    return {
        "import_seconds": statistics.median(python(IMPORT) for _ in range(5)),
        "first_step_cold_seconds": cold,
        "first_step_warm_seconds": statistics.median(warm),
    }


if __name__ == "__main__":
    from jaxvision.engine.compilation import CompileClock

    CLOCK = CompileClock()
    cli.run(main, Config, __doc__)
