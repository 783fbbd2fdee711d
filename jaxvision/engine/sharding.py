"""Devices as a mesh, and which part of every array lies on which of them.

The mesh has three axes.  Batches are split over `data` and `fsdp` together; parameters
and the optimiser's state are split over `fsdp`, and over `model` where the experiment's
rules say so.  One device is a mesh of one, and nothing else in the engine counts them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxvision.engine.state import TrainState
from jaxvision.errors import UsageError, check, unknown
from jaxvision.paths import named_leaves, path_name
from jaxvision.types import PyTree

AXES = {
    "data": "splits the batch; every device has all parameters",
    "fsdp": "splits the batch, and parameters and optimiser state too",
    "model": "splits layers, where the experiment has rules for it",
}
BATCH = ("data", "fsdp")
"""The mesh axes along which batches are split."""

FSDP_MIN_SIZE = 2**12
"""Arrays of fewer elements stay whole: to gather them costs more than they weigh."""

Rules = Sequence[tuple[str, PartitionSpec]]
"""Path patterns and what they mean; the first that is found in a path decides."""


def parse_mesh(text: str) -> dict[str, int]:
    """`"data=4,fsdp=2"` as sizes of axes.  Raises `UsageError`."""
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in AXES:
            raise unknown("mesh axis", axis, AXES)
        check(
            (axis not in sizes, f"mesh axis {axis} is given twice in {text!r}"),
            (
                size.isdecimal() and int(size) > 0,
                f"mesh axis {axis} must have a positive size, got {size!r}: write "
                "data=4 or data=4,fsdp=2",
            ),
        )
        sizes[axis] = int(size)
    return sizes


def make_mesh(
    num_devices: int | None = None, axes: Mapping[str, int] | None = None
) -> Mesh:
    """A mesh of `num_devices` (None: all); axes that are not given have size 1.

    Without `axes` all devices are along `data`.  Raises `UsageError`.
    """
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    check(
        (
            1 <= count <= len(devices),
            f"devices must be between 1 and {len(devices)}, those that JAX sees here, "
            f"got {count}",
        ),
        (
            count == len(devices) or jax.process_count() == 1,
            "with several processes all of their devices take part: leave --devices "
            "out, and choose them where the processes are started",
        ),
    )
    sizes = {"data": count} if axes is None else axes
    product = int(np.prod(list(sizes.values())))
    words = ",".join(f"{axis}={size}" for axis, size in sizes.items())
    check(
        (
            product == count,
            f"--mesh {words} is for {product} devices, and there are {count}: change "
            "the mesh, or say how many to use with --devices",
        )
    )
    # Auto axes: under Explicit ones, the default, convolutions refuse some shardings.
    return jax.make_mesh(
        tuple(sizes.get(axis, 1) for axis in AXES),
        tuple(AXES),
        axis_types=(AxisType.Auto,) * len(AXES),
        devices=devices[:count],
    )


def batch_shares(mesh: Mesh) -> int:
    """Into how many parts a batch is split."""
    return int(np.prod([mesh.shape[axis] for axis in BATCH]))


def check_batch(mesh: Mesh, batch_size: int, accumulate: int = 1) -> None:
    """Raises `UsageError` unless every device gets the same share of a batch."""
    shares = batch_shares(mesh)
    unit = shares * accumulate
    below = batch_size - batch_size % unit
    near = [str(size) for size in (below, below + unit) if size > 0]
    parts = "" if accumulate == 1 else f" times {accumulate} parts that are accumulated"
    check(
        (
            batch_size % unit == 0,
            f"batch size {batch_size} is not divisible by the {shares} devices{parts}: "
            f"use {' or '.join(near)}, or fewer --devices",
        )
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading axis split like batches are."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def shard_params(mesh: Mesh, params: PyTree, rules: Rules) -> dict[str, PartitionSpec]:
    """The sharding of each parameter by path.

    The first rule whose pattern is found in the path decides.  Then `fsdp` splits the
    largest axis that it divides and no rule has taken, in arrays of at least
    `FSDP_MIN_SIZE` elements.  Raises `UsageError` for rules that do not fit.
    """
    specs, problems = {}, []
    leaves = named_leaves(params)
    for path, leaf in leaves.items():
        spec = PartitionSpec()
        for pattern, wanted in rules:
            if re.search(pattern, path):
                problems += _misfits(mesh, path, leaf.shape, pattern, wanted)
                spec = wanted
                break
        specs[path] = _fully_sharded(mesh, leaf.shape, spec)
    problems += [
        f"the sharding rule {pattern!r} fits no parameter; there are "
        + ", ".join(list(leaves)[:8])
        for pattern, _ in rules
        if not any(re.search(pattern, path) for path in leaves)
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return specs


def shard_state(mesh: Mesh, state: TrainState, rules: Rules) -> TrainState:
    """The sharding of each array of a state, which may be abstract.

    What belongs to a parameter, such as its momentum, lies where the parameter lies: it
    is known by the end of its path and its shape.  All else is replicated.
    """
    specs = shard_params(mesh, state.params, rules)
    shapes = {path: leaf.shape for path, leaf in named_leaves(state.params).items()}

    def place(path, leaf):
        parts = path_name(path).split("/")
        tails = ("/".join(parts[i:]) for i in range(1, len(parts)))
        owner = next((tail for tail in tails if shapes.get(tail) == leaf.shape), None)
        return NamedSharding(mesh, specs[owner] if owner else PartitionSpec())

    return jax.tree_util.tree_map_with_path(place, state)


def place_resident(mesh: Mesh, arrays: PyTree) -> PyTree:
    """Host arrays, the same in every process, on every device."""
    return _place(arrays, replicated(mesh))


def local_rows(mesh: Mesh, batch_size: int) -> slice:
    """The rows of each batch that the devices of this process need."""
    split = over_batch(mesh).addressable_devices_indices_map((batch_size,))
    rows = [index[0].indices(batch_size) for index in split.values() if index]
    return slice(min(row[0] for row in rows), max(row[1] for row in rows))


def place_items(mesh: Mesh, items: PyTree, batch_size: int) -> PyTree:
    """The local rows of K steps [K,b,…] as arrays [K,B,…], split along B."""
    sharding = NamedSharding(mesh, PartitionSpec(None, BATCH))
    return _place_rows(items, sharding, batch_size, local_rows(mesh, batch_size), 1)


class EvaluationItems:
    """The items of an evaluation, each split over the devices.

    B is first made a multiple of the devices, by masked copies of the last row.
    `example` int32 [B] is added: the place of each in the set, whatever the batch.
    """

    def __init__(self, mesh: Mesh, pipeline):
        self._mesh, self._pipeline = mesh, pipeline
        size, shares = pipeline.batch_size, batch_shares(mesh)
        self._padded = size + -size % shares
        self._rows = local_rows(mesh, self._padded)

    def __iter__(self):
        size, rows = self._pipeline.batch_size, self._rows
        # A process whose rows are all padding still needs one to copy.
        wanted = slice(min(rows.start, size - 1), min(rows.stop, size))
        whole = wanted == slice(0, size)
        items = self._pipeline.items() if whole else self._pipeline.items(wanted)
        index = np.arange(rows.start, rows.stop, dtype=np.int32)
        for number, item in enumerate(items):
            if self._padded != size:
                near = np.minimum(index, size - 1) - wanted.start
                item = {name: array[near] for name, array in item.items()}
                item["mask"] = item["mask"] & (index < size)
            item = item | {"example": number * np.int32(size) + index}
            yield _place_rows(item, over_batch(self._mesh), self._padded, rows, 0)


def to_host(tree: PyTree) -> PyTree:
    """Arrays of any sharding as numpy arrays, in every process; all must call."""

    def fetch(array):
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            if not array.is_fully_replicated:
                assert isinstance(array.sharding, NamedSharding)
                whole = NamedSharding(array.sharding.mesh, PartitionSpec())
                array = jax.jit(lambda x: x, out_shardings=whole)(array)
            array = array.addressable_data(0)
        return np.asarray(array)

    return jax.tree.map(fetch, tree)


def describe(mesh: Mesh) -> dict[str, Any]:
    """`device` and `device_count` for a run record."""
    return {"device": mesh.devices.flat[0].device_kind, "device_count": mesh.size}


def describe_axes(mesh: Mesh) -> str:
    """Such as `data=4,fsdp=2`, without axes of size 1."""
    named = [f"{axis}={size}" for axis, size in mesh.shape.items() if size > 1]
    return ",".join(named) or "data=1"


def stack(items: list[PyTree]) -> PyTree:
    """K items as one, with a new leading axis of steps; a single one is not copied."""
    if len(items) == 1:
        return jax.tree.map(lambda array: array[None], items[0])
    return jax.tree.map(lambda *arrays: np.stack(arrays), *items)


def _fully_sharded(
    mesh: Mesh, shape: tuple[int, ...], spec: PartitionSpec
) -> PartitionSpec:
    """A sharding in which `fsdp` takes part too, if it can and does not yet."""
    count = mesh.shape["fsdp"]
    axes = [*spec, *(None,) * (len(shape) - len(spec))]
    free = [i for i, size in enumerate(shape) if axes[i] is None and size % count == 0]
    taken = any("fsdp" in (names or ()) for names in axes)
    if count == 1 or taken or not free or np.prod(shape) < FSDP_MIN_SIZE:
        return spec
    axes[max(free, key=lambda i: shape[i])] = "fsdp"
    return PartitionSpec(*axes)


def _misfits(
    mesh: Mesh,
    path: str,
    shape: tuple[int, ...],
    pattern: str,
    spec: PartitionSpec,
) -> list[str]:
    """Why a rule cannot be followed for a parameter, as messages."""
    rule = f"the sharding rule {pattern!r} → {tuple(spec)}"
    if len(spec) > len(shape):
        return [f"{rule} has more axes than {path} of shape {shape}"]
    problems = []
    for size, names in zip(shape, spec, strict=False):
        names = (names,) if isinstance(names, str) else names or ()
        strangers = [name for name in names if name not in mesh.shape]
        if strangers:
            problems.append(str(unknown(f"mesh axis in {rule}:", strangers[0], AXES)))
            continue
        count = int(np.prod([mesh.shape[name] for name in names]))
        if size % count:
            problems.append(
                f"{rule} splits an axis of {size} of {path} into {count} parts: choose "
                "a mesh that divides it, or another rule"
            )
    return problems


def _place(arrays: PyTree, sharding: NamedSharding) -> PyTree:
    if jax.process_count() == 1:
        return jax.device_put(arrays, sharding)
    return jax.tree.map(
        lambda array: jax.make_array_from_callback(
            array.shape, sharding, lambda index: array[index]
        ),
        arrays,
    )


def _place_rows(
    arrays: PyTree, sharding: NamedSharding, batch_size: int, rows: slice, axis: int
) -> PyTree:
    """Arrays of the local `rows` along `axis` as global arrays of `batch_size` rows."""
    if jax.process_count() == 1:
        return jax.device_put(arrays, sharding)

    def place(array):
        shape = (*array.shape[:axis], batch_size, *array.shape[axis + 1 :])

        def local(index):
            start, stop, _ = index[axis].indices(batch_size)
            mine = slice(start - rows.start, stop - rows.start)
            return array[(*index[:axis], mine, *index[axis + 1 :])]

        return jax.make_array_from_callback(shape, sharding, local)

    return jax.tree.map(place, arrays)
