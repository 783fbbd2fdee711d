"""A batch cut into slices that stay in the cache, without moving it between devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops.precision import at_least_float32
from jaxvision.types import Array


def images_per_device(batch: int) -> int:
    """How many images of a batch each device holds.

    A batch that the number of devices does not divide is assumed to lie on one device.
    """
    share, rest = divmod(batch, jax.device_count())
    return batch if rest else share


def number_of_slices(batch: int, wanted: float) -> int:
    """The smallest number ≥ `wanted` that divides the images of each device."""
    share = images_per_device(batch)
    wanted = min(wanted, share)
    return next(n for n in range(1, share + 1) if share % n == 0 and n >= wanted)


def map_slices(function: Callable[..., Array], slices: int, *arrays: Array) -> Array:
    """`function(*arrays)`, slice by slice, of a function that maps image by image."""
    if slices == 1:
        return function(*arrays)
    parts = _split(arrays, slices)
    shape = jax.eval_shape(function, *_take(parts, 0))
    out = jnp.zeros((shape.shape[0], slices, *shape.shape[1:]), shape.dtype)

    def fill(i, out):
        # Fused with the update, the last step of the function would run in one thread.
        done = lax.optimization_barrier(function(*_take(parts, i)))
        return lax.dynamic_update_index_in_dim(out, done, i, 1)

    out = lax.fori_loop(0, slices, fill, out)
    return out.reshape(-1, *shape.shape[1:])


def sum_slices(function: Callable[..., Array], slices: int, *arrays: Array) -> Array:
    """`function(*arrays)`, slice by slice, of a function that sums over images.

    The sums of the slices are added in float32 at least.
    """
    if slices == 1:
        return function(*arrays)
    parts = _split(arrays, slices)
    wide = at_least_float32(arrays[0].dtype)

    def of_slice(i):
        return function(*_take(parts, i)).astype(wide)

    total = lax.fori_loop(1, slices, lambda i, sum_: sum_ + of_slice(i), of_slice(0))
    return total.astype(arrays[0].dtype)


def _split(arrays, slices):
    # A slice takes every n-th image, so that each device keeps its part of the batch.
    return [a.reshape(-1, slices, *a.shape[1:]) for a in arrays]


def _take(parts, i):
    return [lax.dynamic_index_in_dim(part, i, 1, keepdims=False) for part in parts]
