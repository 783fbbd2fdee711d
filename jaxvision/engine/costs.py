"""What a training step costs, asked of the compiler rather than tried out."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvision.engine.sharding import BATCH, replicated
from jaxvision.engine.state import TrainState
from jaxvision.engine.step import Constants, abstract_item, make_init, make_train_step
from jaxvision.errors import UsageError
from jaxvision.paths import named_leaves
from jaxvision.types import Experiment, PyTree

PEAKS = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "Tesla V100": 125e12,
    "TPU v6 lite": 918e12,
    "TPU v5p": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v4": 275e12,
}
"""FLOP/s of one device by the start of its name: dense products in bf16 (fp16 on the
V100), as the maker states them.  Utilisation is always measured against these."""


class Memory(NamedTuple):
    """Of one training step."""

    state_bytes: int
    """Parameters, optimiser state and all else that lives on, on one device."""
    resident_bytes: int
    """The data and frozen arrays that lie there for good, on one device."""
    working_bytes: int
    """What a step needs beside its arguments, such as activations, on one device."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def peak_flops(device_kind: str) -> float | None:
    """FLOP/s of one device, where they are known."""
    found = (peak for name, peak in PEAKS.items() if device_kind.startswith(name))
    return next(found, None)


def memory(experiment: Experiment, mesh: Mesh, resident: PyTree) -> Memory:
    """Compiles a training step.  Needs neither the data nor memory: `resident` may be
    abstract."""
    lowered, state, constants = lower(experiment, mesh, resident)
    analysis = lowered.compile().memory_analysis()
    return Memory(
        state_bytes=sum(map(bytes_per_device, jax.tree.leaves(state))),
        resident_bytes=sum(map(bytes_per_device, jax.tree.leaves(constants))),
        working_bytes=analysis.temp_size_in_bytes,
    )


def flops_per_image(experiment: Experiment, mesh: Mesh, resident: PyTree) -> float:
    """Forward, backward and update, as XLA counts them before optimisation.

    Compiles nothing; `resident` may be abstract."""
    # XLA counts the inside of a loop once, so the parts of a batch would be lost.
    lowered, _, _ = lower(experiment._replace(accumulate=1), mesh, resident)
    analysis = lowered.cost_analysis() or {}
    return analysis.get("flops", 0.0) / experiment.train.batch_size


def lower(experiment: Experiment, mesh: Mesh, resident: PyTree):
    """The step as the compiler gets it, and the abstract state and constants."""
    constants = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)),
        Constants(resident, experiment.task.frozen()),
    )
    init = make_init(experiment, mesh, constants)
    split = NamedSharding(mesh, PartitionSpec(None, BATCH))
    items = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype, sharding=split),
        abstract_item(experiment.train),
    )
    step: Any = make_train_step(experiment, mesh, init.shardings, log_every=1)
    return step.lower(init.state, constants, items), init.state, constants


def bytes_per_device(array) -> int:
    """Of an array or an abstract one with a sharding."""
    shape = array.sharding.shard_shape(array.shape)
    return math.prod(shape) * jnp.dtype(array.dtype).itemsize


def parameter_table(state: TrainState) -> list[tuple[str, str, str, int]]:
    """Path, shape, sharding and bytes per device of each parameter."""
    return [
        (
            path,
            "×".join(map(str, leaf.shape)) + f" {leaf.dtype}",
            _words(leaf.sharding),
            bytes_per_device(leaf),
        )
        for path, leaf in named_leaves(state.params).items()
    ]


def _words(sharding) -> str:
    """Such as `·, fsdp`: which mesh axis splits which axis of an array."""
    spec = sharding.spec
    return ", ".join(str(axis or "·") for axis in spec) or "replicated"


def memory_limit() -> int:
    """Bytes that a device may use.  Raises `UsageError` where nobody says."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        raise UsageError(
            "this device does not say how much memory it has: give it, in gigabytes, "
            "such as --max-batch 16"
        )
    return stats["bytes_limit"]
