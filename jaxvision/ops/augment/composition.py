"""Transforms of transforms: one after the other, one or the other, now and then."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import UsageError, check
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import within
from jaxvision.types import Batch

Array = jax.Array


@with_recipe
def compose(*transforms: Transform) -> Transform:
    """The transforms one after the other, each with a key of its own."""

    def transform(key, batch):
        for index, step in enumerate(transforms):
            batch = step(jax.random.fold_in(key, index), batch)
        return batch

    return transform


@with_recipe
def one_of(
    *transforms: Transform, probabilities: Sequence[float] | None = None
) -> Transform:
    """For each example one of the transforms, as in `one_of(mixup(10), cutmix(10))`.

    All of them are computed for all examples, since examples of one batch cannot run
    different programs; so they must make the same keys, shapes and types.

    probabilities: of each transform, adding up to one; None: all equal.
    """
    count = len(transforms)
    check((count > 0, "one_of needs at least one transform"))
    shares = [1 / count] * count if probabilities is None else list(probabilities)
    check(
        (
            len(shares) == count,
            f"probabilities must be {count}, one for each transform, got {len(shares)}",
        ),
        within("probabilities", shares, 0, 1),
        (abs(sum(shares) - 1) < 1e-6, f"probabilities must add up to 1, got {shares}"),
    )

    def transform(key, batch):
        results = [
            step(jax.random.fold_in(key, index), batch)
            for index, step in enumerate(transforms)
        ]
        _check_alike(results)
        choice = jax.random.choice(
            jax.random.fold_in(key, count),
            count,
            (len(batch["image"]),),
            p=jnp.array(shares),
        )
        return {
            name: select(choice, [result[name] for result in results])
            for name in results[0]
        }

    return transform


@with_recipe
def sometimes(transform: Transform, probability: Any = 0.5) -> Transform:
    """Applies `transform` to each example with this probability.

    The other examples stay as they are.  `probability` may be traced.
    """
    check(within("probability", probability, 0, 1))

    def maybe(key, batch):
        draw, key = jax.random.split(key)
        results = [batch, transform(key, batch)]
        _check_alike(results)
        happens = jax.random.bernoulli(draw, probability, (len(batch["image"]),))
        return {
            name: select(happens, [result[name] for result in results])
            for name in batch
        }

    return maybe


@with_recipe
def of_images(change: Callable[[Array, Array], Array]) -> Transform:
    """A transform that changes the images, and nothing else of the batch."""
    return lambda key, batch: {**batch, "image": change(key, batch["image"])}


def select(choice: Array, arrays: Sequence[Array]) -> Array:
    """Row b of `arrays[choice[b]]`; `choice` int or bool [B], the arrays [B,…]."""
    result = arrays[0]
    for index, array in enumerate(arrays[1:], start=1):
        rows = (choice.astype(jnp.int32) == index).reshape(-1, *[1] * (array.ndim - 1))
        result = jnp.where(rows, array, result)
    return result


def once(values: Any) -> Any:
    """The same values, computed once.

    XLA fuses a step into each one that reads its result, and computes it again in every
    one of them, several times where a step reads its input more than once.
    """
    return jax.lax.optimization_barrier(values)


def _check_alike(results: Sequence[Batch]) -> None:
    """All batches have the same keys, shapes and types."""
    first, *others = (
        {name: (array.shape, array.dtype.name) for name, array in batch.items()}
        for batch in results
    )
    for other in others:
        names = sorted(
            name for name in first | other if first.get(name) != other.get(name)
        )
        if names:
            got = ", ".join(
                f"{name}: {first.get(name)} and {other.get(name)}" for name in names
            )
            raise UsageError(
                "transforms to choose between must return the same keys, shapes and "
                f"types, got {got}: choose among those that do"
            )
