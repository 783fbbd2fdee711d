"""A network with a memory that it reads and writes where it attends to.

Graves, Wayne and Danihelka 2014, https://arxiv.org/abs/1410.5401
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.types import Array

SHIFTS = (-1, 0, 1)
"""By how many slots attention may move in a step."""


class Attention(NamedTuple):
    """What a head says of where to look, for a memory of N slots of M numbers."""

    key: Array
    """[B,M]: what to look for."""
    strength: Array
    """β [B], positive: how much nearness counts."""
    gate: Array
    """g [B] in (0, 1): by content, or where it was before."""
    shift: Array
    """s [B,3]: the shares of `SHIFTS`, which add up to 1."""
    sharpness: Array
    """γ [B], at least 1."""


def attention(numbers: Array, size: int) -> Attention:
    """From what a controller says, [B, size + 6], with size M."""
    key, rest = numbers[:, :size], numbers[:, size:]
    return Attention(
        jnp.tanh(key),
        jax.nn.softplus(rest[:, 0]),
        jax.nn.sigmoid(rest[:, 1]),
        jax.nn.softmax(rest[:, 2:5]),
        1 + jax.nn.softplus(rest[:, 5]),
    )


def address(head: Attention, memory: Array, before: Array) -> Array:
    """The weights [B,N] of the slots, which add up to 1 (section 3.3).

    memory: [B,N,M].  before: [B,N], the weights of the step before.
    """
    norms = jnp.linalg.norm(memory, axis=-1) * jnp.linalg.norm(
        head.key[:, None], axis=-1
    )
    nearness = jnp.einsum("bnm,bm->bn", memory, head.key) / (norms + 1e-6)
    content = jax.nn.softmax(head.strength[:, None] * nearness)  # equation 5
    gate = head.gate[:, None]
    mixed = gate * content + (1 - gate) * before  # equation 7
    rolled = jnp.stack([jnp.roll(mixed, by, axis=1) for by in SHIFTS], axis=-1)
    moved = (rolled * head.shift[:, None]).sum(-1)  # equation 8
    sharp = (moved + 1e-6) ** head.sharpness[:, None]  # equation 9
    return sharp / sharp.sum(1, keepdims=True)


class _Step(nn.Module):
    """One step: the controller, its two heads, what they do to the memory."""

    width: int
    hidden: int
    size: int

    @nn.compact
    def __call__(self, carry, seen):
        memory, read, reading, writing = carry
        x = jnp.concatenate([seen, read], axis=1)
        x = jnp.tanh(nn.Dense(self.hidden)(x))
        to_read = attention(nn.Dense(self.size + 6)(x), self.size)
        to_write = attention(nn.Dense(self.size + 6)(x), self.size)
        erase = jax.nn.sigmoid(nn.Dense(self.size)(x))
        add = jnp.tanh(nn.Dense(self.size)(x))
        writing = address(to_write, memory, writing)
        where = writing[..., None]
        memory = memory * (1 - where * erase[:, None]) + where * add[:, None]
        reading = address(to_read, memory, reading)
        read = jnp.einsum("bn,bnm->bm", reading, memory)
        logits = nn.Dense(self.width)(jnp.concatenate([x, read], axis=1))
        return (memory, read, reading, writing), (logits, reading, writing)


class NeuralTuring(nn.Module):
    """Sequences [B,T,D] to `logits` [B,T,width], with a feed-forward controller, one
    head that reads and one that writes.

    Outputs also have the weights of the slots at each step, `reading` and `writing`
    [B,T,slots].  At the beginning both heads are at the first slot of an empty memory.
    """

    width: int
    """Of what is to be said in each step."""
    slots: int = 16
    """N."""
    size: int = 12
    """M, the numbers in a slot."""
    hidden: int = 64
    """Units of the controller."""

    @nn.compact
    def __call__(self, sequences, *, train: bool):
        count = sequences.shape[0]
        memory = jnp.full((count, self.slots, self.size), 1e-2)
        first = jnp.zeros((count, self.slots)).at[:, 0].set(1)
        carry = memory, jnp.zeros((count, self.size)), first, first
        scan = nn.scan(
            _Step,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        step = scan(self.width, self.hidden, self.size, name="step")
        _, (logits, reading, writing) = step(carry, sequences)
        return {"logits": logits, "reading": reading, "writing": writing}
