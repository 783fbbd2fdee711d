"""Devices as a mesh, from the first day: one device is a mesh of one."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxvision.errors import check
from jaxvision.types import PyTree

DATA = "data"
"""The mesh axis along which batches are split."""


def make_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh of `num_devices` (None: all) along `DATA`.  Raises `UsageError`."""
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    check(
        (
            1 <= count <= len(devices),
            f"devices must be between 1 and {len(devices)}, those that JAX sees here, "
            f"got {count}",
        )
    )
    # Auto axes: under Explicit ones, the default, convolutions refuse some shardings.
    return jax.make_mesh(
        (count,), (DATA,), axis_types=(AxisType.Auto,), devices=devices[:count]
    )


def check_batch(mesh: Mesh, batch_size: int) -> None:
    """Raises `UsageError` unless every device gets the same share of a batch."""
    below = batch_size - batch_size % mesh.size
    near = [str(size) for size in (below, below + mesh.size) if size > 0]
    check(
        (
            batch_size % mesh.size == 0,
            f"batch size {batch_size} is not divisible by the {mesh.size} devices: "
            f"use {' or '.join(near)}, or fewer --devices",
        )
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def place_resident(mesh: Mesh, arrays: PyTree) -> PyTree:
    """Host arrays on every device."""
    return jax.device_put(arrays, replicated(mesh))


def place_items(mesh: Mesh, items: PyTree) -> PyTree:
    """Host arrays [K,B,…] of K steps, with B split over the devices."""
    return jax.device_put(items, NamedSharding(mesh, PartitionSpec(None, DATA)))


def place_item(mesh: Mesh, item: dict[str, np.ndarray]) -> PyTree:
    """Host arrays [B,…] of an evaluation, with B split over the devices.

    B is first made a multiple of the devices, by masked copies of the last row.
    """
    rows = len(item["mask"])
    missing = -rows % mesh.size
    if missing:
        index = np.minimum(np.arange(rows + missing), rows - 1)
        item = {name: array[index] for name, array in item.items()}
        item["mask"] = item["mask"] & (np.arange(rows + missing) < rows)
    return jax.device_put(item, NamedSharding(mesh, PartitionSpec(DATA)))


def describe(mesh: Mesh) -> dict[str, Any]:
    """`device` and `device_count` for a run record."""
    return {"device": mesh.devices.flat[0].device_kind, "device_count": mesh.size}


def stack(items: list[PyTree]) -> PyTree:
    """K items as one, with a new leading axis of steps; a single one is not copied."""
    if len(items) == 1:
        return jax.tree.map(lambda array: array[None], items[0])
    return jax.tree.map(lambda *arrays: np.stack(arrays), *items)
