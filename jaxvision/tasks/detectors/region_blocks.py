"""Heads that are called on blocks of regions, and not on those where nothing is.

Shapes are fixed, so that there is room for as many regions as an image may have at
most.  With blocks, what is computed, gradients included, is what the image with the
most of them asks for.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.types import Array, ModelState, PyTree


def in_blocks(
    call: Callable[[Any, Array, ModelState], tuple[PyTree, ModelState]],
    regions: PyTree,
    there: Array,
    state: ModelState,
    block: int,
) -> tuple[PyTree, ModelState]:
    """`call(regions, there, state)`, for so many regions of each image at a time.

    Args:
      regions: arrays [B,R,…]; what pads the last block is zeros.
      there: bool [B,R]: which of them count; the first ones, as far as possible.
      state: of the model; each block goes on with that of the one before.
      block: how many at most; 0: all regions are one block, which is always computed.

    Returns:
      What each of the N blocks returns, [N,…], and zeros from those without a region
      in any image; and the last state.
    """
    count = there.shape[1]
    if not 0 < block < count:
        outputs, state = call(regions, there, state)
        return jax.tree.map(lambda x: x[None], outputs), state
    blocks = -(-count // block)
    block = -(-count // blocks)  # so that little is padded

    def divided(values: Array) -> Array:
        rest = [(0, 0), (0, -count % block), *[(0, 0)] * (values.ndim - 2)]
        padded = jnp.pad(values, rest)
        parts = padded.reshape(len(values), -1, block, *values.shape[2:])
        return jnp.moveaxis(parts, 1, 0)

    parts = jax.tree.map(divided, (regions, there))
    first = jax.tree.map(lambda x: x[0], parts)
    shapes, _ = jax.eval_shape(call, *first, state)

    def nothing(regions: Any, there: Array, state: Any):
        del regions, there
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), state

    def step(state: Any, part: tuple[Any, Array]):
        outputs, state = lax.cond(jnp.any(part[1]), call, nothing, *part, state)
        return state, outputs

    state, outputs = lax.scan(step, state, parts)
    return outputs, state


def joined_blocks(outputs: PyTree, count: int) -> PyTree:
    """[B,count,…] of [N,B,block,…]: without the padding."""

    def joined(blocks: Array) -> Array:
        parts = jnp.moveaxis(blocks, 0, 1)
        return parts.reshape(len(parts), -1, *parts.shape[3:])[:, :count]

    return jax.tree.map(joined, outputs)
