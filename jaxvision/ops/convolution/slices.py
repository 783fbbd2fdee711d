"""A batch in slices that stay in the cache, with what each device holds left there."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.types import Array


def share_of_device(batch: int) -> int:
    """How many images of a batch a device holds.

    A batch that the devices do not divide is taken to lie on one of them.
    """
    share, rest = divmod(batch, jax.device_count())
    return batch if rest else share


def number_of_slices(batch: int, wanted: float) -> int:
    """The smallest number ≥ `wanted` that divides what each device holds of a batch."""
    share = share_of_device(batch)
    wanted = min(wanted, share)
    return next(n for n in range(1, share + 1) if share % n == 0 and n >= wanted)


def map_slices(function: Callable[..., Array], slices: int, *arrays: Array) -> Array:
    """`function(*arrays)` for a function of each image by itself, slice by slice."""
    if slices == 1:
        return function(*arrays)
    parts = _split(arrays, slices)
    shape = jax.eval_shape(function, *_take(parts, 0))
    out = jnp.zeros((shape.shape[0], slices, *shape.shape[1:]), shape.dtype)

    def fill(i, out):
        # Fused with the update, the end of the function would run in one thread.
        done = lax.optimization_barrier(function(*_take(parts, i)))
        return lax.dynamic_update_index_in_dim(out, done, i, 1)

    out = lax.fori_loop(0, slices, fill, out)
    return out.reshape(-1, *shape.shape[1:])


def sum_slices(function: Callable[..., Array], slices: int, *arrays: Array) -> Array:
    """`function(*arrays)` for a function that sums over images; adds in ≥ float32."""
    if slices == 1:
        return function(*arrays)
    parts = _split(arrays, slices)
    wide = jnp.promote_types(arrays[0].dtype, jnp.float32)

    def of_slice(i):
        return function(*_take(parts, i)).astype(wide)

    total = lax.fori_loop(1, slices, lambda i, sum_: sum_ + of_slice(i), of_slice(0))
    return total.astype(arrays[0].dtype)


def _split(arrays, slices):
    # A slice takes every n-th image, so that a batch spread over devices stays there.
    return [a.reshape(-1, slices, *a.shape[1:]) for a in arrays]


def _take(parts, i):
    return [lax.dynamic_index_in_dim(part, i, 1, keepdims=False) for part in parts]
