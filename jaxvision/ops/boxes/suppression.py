"""Non-maximum suppression: of boxes that overlap, the one with the highest score stays.

The greedy rule, exactly: go through the boxes in falling order of their scores, of
equal ones the first first, and keep a box unless its IoU with one that was kept is
greater than the threshold.  Boxes of different classes do not see each other.

It is computed in blocks of the sorted boxes.  Those of a block are held against all
that were kept before, and what is left of them against each other, until nothing
changes: the first of them is right at once, and each time at least one more.  The loop
ends with the last output that was asked for.  What it costs is boxes × kept / 2
overlaps in vector instructions, and a few turns of a loop for each block.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.errors import check
from jaxvision.ops.boxes.forms import corners
from jaxvision.ops.boxes.overlap import area, iou

Array = jax.Array

BLOCK = 64
"""Boxes that are decided at once.  With 16 to 128 a thousand boxes of 80 classes take
58, 57, 51 and 52 ms on one core, and those of one class 0.3, 0.6, 0.7 and 0.7."""

DEAD = np.iinfo(np.int32).min
"""The rank of what is no candidate: below that of every score."""


class Kept(NamedTuple):
    """The boxes that stay, in falling order of their scores, and then padding."""

    indices: Array
    """int32 [K]: which of the boxes; 0 in the padding."""
    valid: Array
    """bool [K]: False for the padding."""
    scores: Array
    """float32 [K]: their scores, as far as they were lowered; 0 in the padding."""


def nms(
    boxes: Array,
    scores: Array,
    threshold: float,
    *,
    outputs: int,
    classes: Array | None = None,
    valid: Array | None = None,
) -> Kept:
    """The `outputs` best of the boxes [N,4] that greedy suppression leaves.

    It is torchvision's `nms`, and with classes its `batched_nms`, cut at `outputs`.

    Args:
      boxes: [N,4], one at least and fewer than 2^24.
      scores: [N]; boxes whose score is NaN are no candidates.
      threshold: the IoU in [0, 1] above which a box suppresses another.
      outputs: K, the number of outputs.
      classes: int [N] from 0 to less than 2^24: boxes suppress those of their class
        only; None: there is one.
      valid: bool [N]: which boxes are candidates; None: all.

    Raises `UsageError` for a threshold outside of [0, 1], no box or too many, and no
    output.
    """
    count = len(scores)
    check(
        (0 <= threshold <= 1, f"threshold must be from 0 to 1, got {threshold}"),
        (0 < count < 2**24, f"boxes must be from 1 to 2^24 - 1, got {count}"),
        (outputs >= 1, f"outputs must be at least 1, got {outputs}"),
    )
    limit = _rounded_down(threshold)
    boxes, scores = jnp.asarray(boxes), jnp.asarray(scores)
    ranks = _ranks(scores, valid)
    places = jnp.arange(count, dtype=jnp.int32)
    _, order = lax.sort((~ranks, places), num_keys=1, is_stable=True)
    candidates = jnp.sum(ranks > DEAD, dtype=jnp.int32)

    # Corners, area, place and class of the sorted boxes, a row each, so that a block is
    # a slice and its boxes lie in the last axis.  Whole numbers are exact in floats.
    there = boxes[order].astype(jnp.float32)
    columns = [*corners(there), area(there), order.astype(jnp.float32)]
    if classes is not None:
        columns.append(jnp.asarray(classes)[order].astype(jnp.float32))
    table = jnp.pad(jnp.stack(columns), ((0, 0), (0, -count % BLOCK)))
    places = jnp.arange(BLOCK, dtype=jnp.int32)
    before = places[:, None] < places[None]
    until = places[:, None] <= places[None]

    def strikes(those: Array, these: Array) -> Array:
        """Bool [BLOCK,BLOCK]: which of those suppress which of these."""
        ax_min, ay_min, ax_max, ay_max, a, _, *of_a = those[:, :, None]
        bx_min, by_min, bx_max, by_max, b, _, *of_b = these[:, None, :]
        width = jnp.minimum(ax_max, bx_max) - jnp.maximum(ax_min, bx_min)
        height = jnp.minimum(ay_max, by_max) - jnp.maximum(ay_min, by_min)
        both = jnp.maximum(width, 0) * jnp.maximum(height, 0)
        union = a + b - both
        struck = both / jnp.where(union > 0, union, 1) > limit
        return struck & (of_a[0] == of_b[0]) if classes is not None else struck

    def is_left(state):
        start, kept, _ = state
        return (start < candidates) & (kept < outputs)

    def decide_block(state):
        start, kept, stay = state
        these = lax.dynamic_slice_in_dim(table, start, BLOCK, axis=1)

        def against(block, alive):
            those = lax.dynamic_slice_in_dim(stay, block * BLOCK, BLOCK, axis=1)
            return alive & ~jnp.any(strikes(those, these), axis=0)

        blocks = (kept + BLOCK - 1) // BLOCK
        alive = lax.fori_loop(0, blocks, against, start + places < candidates)
        among = strikes(these, these) & before

        def again(state):
            chosen, _ = state
            better = alive & ~jnp.any(among & chosen[:, None], axis=0)
            return better, jnp.any(better != chosen)

        chosen, _ = lax.while_loop(lambda state: state[1], again, (alive, True))
        # The chosen ones move to the front, and boxes of zeros, which suppress nothing,
        # behind them; the next block is written over these.
        rank = jnp.sum(until & chosen[:, None], axis=0)
        source = jnp.sum(rank[None] <= places[:, None], axis=1)
        new = rank[-1].astype(jnp.int32)
        these = these[:, jnp.minimum(source, BLOCK - 1)]
        these = jnp.where((places < new)[None], these, 0)
        stay = lax.dynamic_update_slice_in_dim(stay, these, kept, axis=1)
        return start + BLOCK, kept + new, stay

    space = (-(-outputs // BLOCK) + 1) * BLOCK
    state = (jnp.int32(0), jnp.int32(0), jnp.zeros((len(columns), space), table.dtype))
    _, kept, stay = lax.while_loop(is_left, decide_block, state)
    found = jnp.arange(outputs) < kept
    indices = jnp.where(found, stay[5, :outputs].astype(jnp.int32), 0)
    best = jnp.where(found, scores[indices].astype(jnp.float32), 0)
    return Kept(indices, found, best)


def nms_of_classes(
    boxes: Array,
    scores: Array,
    threshold: float,
    *,
    outputs: int,
    outputs_per_class: int | None = None,
    valid: Array | None = None,
) -> tuple[Kept, Array]:
    """Suppression within each of C classes, and the best `outputs` of what they leave.

    For heads that score each box for every class, which is the same as `nms` of N·C
    boxes with classes, in loops side by side.

    Args:
      boxes: [N,4], the same for all classes, or [N,C,4].
      scores: [N,C].
      threshold: see `nms`.
      outputs: K, the number of outputs over all classes.
      outputs_per_class: how many of a class may be among them; None: K.
      valid: bool [N,C]; None: all.

    Returns the boxes that are kept, by their places in N, and their classes int32 [K],
    -1 in the padding.
    """
    count, num_classes = scores.shape
    if boxes.ndim == 2:
        boxes = jnp.broadcast_to(boxes[:, None], (count, num_classes, 4))
    valid = jnp.ones(scores.shape, bool) if valid is None else valid
    limit = min(outputs_per_class or outputs, outputs, count)

    def of_class(boxes, scores, valid):
        return nms(boxes, scores, threshold, outputs=limit, valid=valid)

    each = jax.vmap(of_class, in_axes=(1, 1, 1))(boxes, scores, valid)
    # In the order of scores, and of equal ones in that of boxes, and then of classes.
    classes = jnp.arange(num_classes, dtype=jnp.int32)[:, None]
    pairs = (each.indices * num_classes + classes).ravel()
    ranks = _ranks(each.scores, each.valid).ravel()
    ranks, pairs = lax.sort((~ranks, pairs), num_keys=2)
    short = max(outputs - len(pairs), 0)
    found = jnp.pad(~ranks[:outputs] > DEAD, (0, short))
    pairs = jnp.where(found, jnp.pad(pairs[:outputs], (0, short)), 0)
    best = jnp.where(found, scores.ravel()[pairs].astype(jnp.float32), 0)
    kept = Kept(pairs // num_classes, found, best)
    return kept, jnp.where(found, pairs % num_classes, -1)


def soft_nms(
    boxes: Array,
    scores: Array,
    *,
    outputs: int,
    threshold: float = 0.3,
    sigma: float | None = None,
    least: float = 0.001,
    classes: Array | None = None,
    valid: Array | None = None,
) -> Kept:
    """Lowers the scores of boxes that overlap a better one, rather than drop them.

    Bodla et al. 2017, https://arxiv.org/abs/1704.04503: repeatedly takes the best box
    and multiplies the scores of those left by 1 - IoU where the IoU is at least
    `threshold` (equation 1), or by exp(-IoU²/σ) everywhere (equation 3).  Each output
    is a turn of a loop.

    Args:
      boxes: [N,4].
      scores: [N], positive.
      outputs: K, the number of outputs.
      threshold: of the linear rule.
      sigma: σ of the Gaussian rule; None: the linear one.
      least: ends with the first score that is lower.
      classes: int [N]: boxes lower those of their class only; None: there is one.
      valid: bool [N]; None: all.

    Raises `UsageError` unless sigma is positive.
    """
    check(
        (sigma is None or sigma > 0, f"sigma must be positive, got {sigma}"),
        (outputs >= 1, f"outputs must be at least 1, got {outputs}"),
    )
    boxes, scores = jnp.asarray(boxes), jnp.asarray(scores)
    candidates = ~jnp.isnan(scores)
    candidates = candidates if valid is None else candidates & valid
    classes = None if classes is None else jnp.asarray(classes)
    places = jnp.arange(len(scores), dtype=jnp.int32)
    lowered = jnp.where(candidates, scores.astype(jnp.float32), -jnp.inf)

    def is_left(state):
        lowered, count, _, _ = state
        return (count < outputs) & (lowered.max() >= least)

    def take_best(state):
        lowered, count, kept, scores = state
        best = jnp.argmax(lowered).astype(jnp.int32)
        overlap = iou(boxes[best][None], boxes)
        if sigma is None:
            factor = jnp.where(overlap >= threshold, 1 - overlap, 1)
        else:
            factor = jnp.exp(-(overlap**2) / sigma)
        if classes is not None:
            factor = jnp.where(classes == classes[best], factor, 1)
        scores = scores.at[count].set(lowered[best])
        # Those that are gone stay at minus infinity, which a factor of 0 would spoil.
        alive = (lowered > -jnp.inf) & (places != best)
        lowered = jnp.where(alive, lowered * factor, -jnp.inf)
        return lowered, count + 1, kept.at[count].set(best), scores

    empty = jnp.zeros(outputs, jnp.int32), jnp.zeros(outputs, jnp.float32)
    state = (lowered, jnp.int32(0), *empty)
    _, count, kept, scores = lax.while_loop(is_left, take_best, state)
    return Kept(kept, jnp.arange(outputs) < count, scores)


def _ranks(scores: Array, valid: Array | None) -> Array:
    """int32 [N] in the order of the scores; `DEAD` for what is no candidate.

    Whole numbers, since XLA sorts and compares them faster than floats.
    """
    candidates = ~jnp.isnan(scores)
    candidates = candidates if valid is None else candidates & valid
    # The bits of floats are in the order of their values, but for those below zero,
    # whose order they turn round, and the two zeros.
    scores = jnp.where(scores == 0, 0, scores).astype(jnp.float32)
    bits = lax.bitcast_convert_type(scores, jnp.int32)
    return jnp.where(candidates, jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits), DEAD)


def _rounded_down(threshold: float) -> np.float32:
    """The largest float32 that is not above: x > threshold then says the same of every
    float32 x as it does in 64 bits, in which torchvision compares."""
    rounded = np.float32(threshold)
    if float(rounded) > threshold:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return rounded
