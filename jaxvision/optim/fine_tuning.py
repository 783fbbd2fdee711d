"""Rates by the depth of a network, for one that is trained already.

`blocks` are those of `models.blocks`: for each block, by rising depth, how the paths of
its parameters begin.
"""

import re
from collections.abc import Sequence

import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.optim.groups import scale_rates
from jaxvision.types import Optimizer

Blocks = Sequence[Sequence[str]]


def layer_decay(optimizer: Optimizer, blocks: Blocks, decay: float) -> Optimizer:
    """The optimiser with rates that fall from the last block to the first.

    That of the last stays, and each one before it has `decay` times the rate of the
    next.  Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2
    (discriminative fine-tuning, decay = 1/2.6); Bao et al. 2022,
    https://arxiv.org/abs/2106.08254 (layer-wise decay, 0.65 to 0.85).
    """
    check((0 < decay <= 1, f"decay of the rates must be in (0, 1], got {decay}"))
    last = len(blocks) - 1
    return scale_rates(
        optimizer,
        [(_pattern(block), decay ** (last - i)) for i, block in enumerate(blocks)],
    )


def gradual_unfreezing(
    optimizer: Optimizer, blocks: Blocks, *, every: int
) -> Optimizer:
    """The optimiser that moves the last block first, and one more each `every` steps.

    A block keeps its bits until its turn comes.  The optimiser's averages of its
    gradients are made from the beginning, so that its first update is no leap.
    Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.3.
    """
    check((every >= 1, f"blocks are released every step or later, got {every}"))

    def from_step(start: int):
        return lambda step: jnp.where(step >= start, 1.0, 0.0)

    last = len(blocks) - 1
    return scale_rates(
        optimizer,
        [
            (_pattern(block), from_step(every * (last - i)))
            for i, block in enumerate(blocks)
        ],
    )


def _pattern(block: Sequence[str]) -> str:
    return f"^({'|'.join(map(re.escape, block))})(/|$)"
