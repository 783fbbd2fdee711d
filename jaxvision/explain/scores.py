"""What is explained: one number for each image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.errors import check, unknown
from jaxvision.types import Array, Explained, Outputs, Part

Forward = Callable[[Array], Outputs]
"""`images [B,H,W,C] -> named activations`: a model with its variables filled in."""

Score = Callable[[Array], Array]
"""`images [B,H,W,C] -> [B]`, each of its own image alone, as in an evaluation."""


def part_score(forward: Forward, explained: Explained, part: Part) -> Score:
    """The score of what a task has chosen: a class, a region of it, an object.

    explained: `Task.explained`, which also chooses the part.
    """
    return lambda images: explained.score(forward(images), part)


def class_score(forward: Forward, k: int | Array, name: str = "logits") -> Score:
    """The score of class `k`, before any softmax; `k` may be traced.

    Where each place of a map has scores [B,h,w,K] it is their mean; for the mean over a
    region see `tasks.scores_of_regions` and `part_score`.
    """
    return lambda images: score_of(forward(images), k, name)


def score_of(outputs: Outputs, k: int | Array, name: str = "logits") -> Array:
    """The same of activations: [B].  Raises `UsageError` for a class there is not."""
    if name not in outputs:
        raise unknown("activation", name, outputs)
    scores = outputs[name]
    count = scores.shape[-1]
    if not isinstance(k, jax.core.Tracer):
        check(
            (bool(0 <= k < count), f"class {k} is not among the {count} of the network")
        )
    return scores[..., k].mean(tuple(range(1, scores.ndim - 1)))


def in_batches(scores: Callable[[Array], Array], rows: Array, batch_size: int) -> Array:
    """`scores` of all rows [N,…] by so many at a time, [N]: one program whatever N.

    Networks compute batches faster than what `jax.vmap` makes of single images.
    """
    count = len(rows)
    size = min(batch_size, count)
    filled = jnp.concatenate([rows, *[rows[-1:]] * (-count % size)])
    groups = filled.reshape(-1, size, *rows.shape[1:])
    return jax.lax.map(scores, groups).reshape(-1)[:count]
