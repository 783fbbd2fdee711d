"""What scaling costs and saves: checkpoints, memory per device, and step options.

    python -m benchmarks.scale                     (some minutes on a CPU)
    python -m benchmarks.scale --devices 8         (on eight fake CPU devices)
    python -m benchmarks.scale --model resnet50 --batch-size 256     (on a GPU)

It answers three questions.  How long does a checkpoint block the training, for 1, 10
and 100 MB of state, against the bare copy from the device to the host?  How many bytes
of parameters and optimiser state does a device hold, replicated and fully sharded?  And
how fast is a training step with each of the options?  The utilisation is added where
the peak of the device is known.
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cli, records
from jaxvision import data, models, optim, tasks
from jaxvision.engine import costs, sharding
from jaxvision.engine.checkpoint import Checkpoints
from jaxvision.engine.state import TrainState
from jaxvision.engine.step import Constants, make_init, make_train_step
from jaxvision.ops.augment import compose, normalise, random_flip
from jaxvision.types import Experiment


@dataclass(frozen=True)
class Config:
    model: str = "resnet20"
    """Whose training speed is measured, on synthetic images of its input size."""
    batch_size: int = 64
    """Images per step, over all devices."""
    steps: int = 20
    """Timed steps of each measurement; the median counts."""
    megabytes: tuple[float, ...] = (1, 10, 100)
    """Sizes of state whose checkpoints are measured."""
    devices: int | None = None
    """Pretend to have so many CPU devices, for the memory of a device."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


def main(config: Config) -> None:
    if config.devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", config.devices)
    numbers = records.begin("scale", **sharding.describe(sharding.make_mesh()))
    numbers["devices"] = jax.device_count()
    numbers["checkpoints"] = [checkpoint(size) for size in config.megabytes]
    numbers["memory"] = memory(config)
    numbers["speed"] = speed(config)
    print(json.dumps(numbers, indent=2))
    records.write(numbers, config.output)


def checkpoint(megabytes: float, saves: int = 11) -> dict[str, float]:
    """Milliseconds that a save blocks the training, that a bare copy to the host takes,
    and until the checkpoint is on the disk: medians of all saves but the first."""
    leaves = 16
    size = max(int(megabytes * 1e6 / 4 / leaves), 1)
    touch = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree))
    params = {f"layer{i}": jnp.zeros(size) for i in range(leaves)}
    memory = {name: np.empty(size, np.float32) for name in params}
    blocked, copied, written = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints", warn=print)
        for step in range(saves):
            params = jax.block_until_ready(touch(params))
            began = time.perf_counter()
            for name, leaf in params.items():
                np.copyto(memory[name], leaf)
            copied.append(time.perf_counter() - began)
            params = jax.block_until_ready(touch(params))
            key = jax.random.key_data(jax.random.key(0))
            state = TrainState(jnp.int32(step), params, {}, (), key, None)
            began = time.perf_counter()
            checkpoints.save(state, {}, score=None)
            blocked.append(time.perf_counter() - began)
            checkpoints.wait()
            written.append(time.perf_counter() - began)
        checkpoints.close()
    median = {
        name: 1e3 * statistics.median(times[1:])
        for name, times in (("blocked_ms", blocked), ("copy_ms", copied),
                            ("written_ms", written))
    }  # fmt: skip
    ratios = [one / other for one, other in zip(blocked, copied, strict=True)]
    row = {
        "megabytes": megabytes,
        **median,
        "blocked_to_copy": statistics.median(ratios[1:]),
        # Of a run that saves once a minute.
        "share_blocked": median["blocked_ms"] / 60_000,
    }
    print(json.dumps(row))
    return row


def memory(config: Config) -> list[dict[str, Any]]:
    """Bytes of parameters and optimiser state on a device, from its actual arrays."""
    count, rows = jax.device_count(), []
    for axes in ({"data": count}, {"fsdp": count}):
        mesh = sharding.make_mesh(None, axes)
        experiment = make_experiment(config)
        state = make_init(experiment, mesh, Constants.of(experiment)).make()
        held = sum(
            leaf.addressable_shards[0].data.nbytes
            for leaf in jax.tree.leaves((state.params, state.opt_state))
        )
        rows.append({"mesh": sharding.describe_axes(mesh), "bytes_per_device": held})
    return rows


def speed(config: Config) -> list[dict[str, Any]]:
    """Images per second of a training step with each option."""
    plain = make_experiment(config)
    ways = {
        "float32": plain,
        "bf16": make_experiment(config, dtype=jnp.bfloat16),
        "accumulate 4": plain._replace(accumulate=4),
        "ema": plain._replace(average=lambda step: jnp.float32(0.001)),
        "skip bad losses": plain._replace(on_bad_loss="skip"),
    }
    try:
        ways["remat"] = make_experiment(config, remat=True)
    except ValueError as error:
        print(f"remat: {error}")
    return [measure(name, experiment, config) for name, experiment in ways.items()]


def measure(name: str, experiment: Experiment, config: Config) -> dict[str, Any]:
    mesh = sharding.make_mesh()
    constants = sharding.place_resident(mesh, Constants.of(experiment))
    init = make_init(experiment, mesh, constants)
    step = make_train_step(experiment, mesh, init.shardings, log_every=100)
    state, items, times = init.make(), experiment.train.items(), []
    for number in range(config.steps + 3):
        item = sharding.stack([next(items)])
        placed = sharding.place_items(mesh, item, config.batch_size)
        began = time.perf_counter()
        state, report = step(state, constants, placed)
        report.bad_step.block_until_ready()
        if number >= 3:  # the first compile and warm up
            times.append(time.perf_counter() - began)
    memory = costs.memory(experiment, mesh, constants.resident)
    flops = costs.flops_per_image(experiment, mesh, constants.resident)
    rate = config.batch_size / statistics.median(times)
    row = {
        "way": name,
        "images_per_second": rate,
        "working_mb_per_device": memory.working_bytes / 1e6,
        "flops_per_image": flops,
    }
    peak = costs.peak_flops(mesh.devices.flat[0].device_kind)
    if peak is not None:
        row["utilisation"] = rate * flops / (peak * mesh.size)
    print(json.dumps(row))
    return row


def make_experiment(config: Config, **options: Any) -> Experiment:
    height, width, channels = models.default_input(config.model)
    splits = data.load(f"synthetic:{height}x{width}x{channels}")
    prepare = normalise(0.5, 0.25)
    return Experiment(
        model=models.create(config.model, num_classes=10, **options),
        task=tasks.classification(10),
        optimizer=optim.sgd(optim.constant(0.1), momentum=0.9, weight_decay=1e-4),
        train=data.train(
            splits.train,
            config.batch_size,
            transform=compose(random_flip, prepare),
            seed=0,
        ),
        validation=data.evaluation(splits.test, 100, transform=prepare),
        test=data.evaluation(splits.test, 100, transform=prepare),
        steps=config.steps,
    )


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
