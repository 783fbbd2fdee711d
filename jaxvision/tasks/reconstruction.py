"""Reconstruction: can the image be made again from what the network kept of it?

The model is an `Autoencoder`, or what has its entries: `encode` to a `code`, with the
`log_variance` of one that is drawn, and `decode` to `logits` of pixels.  Images are
from 0 to 1.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.errors import check
from jaxvision.recipes import TASKS
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Array, Batch, Measure, ModelState, Task


class Seen(NamedTuple):
    """What a model made of a batch."""

    logits: Array
    """[B,…]: of the pixels."""
    target: Array
    """[B,…] in [0, 1]: what they should be."""
    state: ModelState
    costs: Mapping[str, Array] = MappingProxyType({})
    """What is minimised beside the error of the pixels, by name [B]."""
    rows: Mapping[str, Array] = MappingProxyType({})
    """What is kept of each example, by name [B,…]."""


Look = Callable[..., Seen]
"""`(forward, batch, keys) -> Seen`, with a key for each example."""


def divergence(mean: Array, log_variance: Array) -> Array:
    """[B]: Kullback-Leibler divergence of normal distributions [B,D] from the standard
    one, in nats (Kingma and Welling 2014, appendix B)."""
    each = jnp.exp(log_variance) + jnp.square(mean) - 1 - log_variance
    return 0.5 * each.sum(-1)


def drawn(keys: Array, outputs: Mapping[str, Array]) -> Array:
    """A code [B,D] of what `encode` says, drawn where that gives a distribution."""
    code = outputs["code"]
    if "log_variance" not in outputs:
        return code
    noise = jax.vmap(lambda key: jax.random.normal(key, code.shape[1:]))(keys)
    return code + jnp.exp(0.5 * outputs["log_variance"]) * noise


def _through_code(noise: float, sparsity: float) -> Look:
    """The image itself to a code and back."""

    def look(forward, batch: Batch, keys: Array) -> Seen:
        image = batch["image"]
        pairs = jax.vmap(jax.random.split)(keys)
        seen = image
        if noise:
            added = jax.vmap(lambda key: jax.random.normal(key, image.shape[1:]))
            seen = image + noise * added(pairs[:, 0])
        encoded, state = forward(seen, entry="encode")
        code = drawn(pairs[:, 1], encoded)
        decoded, state = forward(code, entry="decode", state=state)
        costs = {}
        if "log_variance" in encoded:
            costs["divergence"] = divergence(encoded["code"], encoded["log_variance"])
        if sparsity:
            costs["sparsity"] = sparsity * jnp.abs(code).sum(-1)
        return Seen(decoded["logits"], image, state, costs)

    return look


@TASKS.recorded
def reconstruction(
    *, noise: float = 0.0, sparsity: float = 0.0, look: Look | None = None
) -> Task:
    """Pixels as probabilities: their cross-entropy, summed over each image, in nats.

    With a variational autoencoder the `loss` is the negative evidence lower bound.
    `rmse` is the root of the mean squared error of pixels over all images.

    Args:
      noise: standard deviation of what is added to the image that the model sees
        (denoising: Vincent et al. 2008, https://doi.org/10.1145/1390156.1390294).
      sparsity: the cost of the code's absolute values (sparse coding: Olshausen and
        Field 1996, https://doi.org/10.1038/381607a0).
      look: another way to call the model; None: the image to a code and back.
    """
    check(
        (noise >= 0, f"noise must not be negative, got {noise}"),
        (sparsity >= 0, f"sparsity must not be negative, got {sparsity}"),
        (
            look is None or noise == sparsity == 0,
            "noise and sparsity are of the usual way to call the model: let `look` add "
            "them",
        ),
    )
    call = look or _through_code(noise, sparsity)

    def sums_of(seen: Seen, mask: Array):
        axes = tuple(range(1, seen.logits.ndim))
        shares = jax.nn.sigmoid(seen.logits)
        losses = {
            "pixels": optax.sigmoid_binary_cross_entropy(seen.logits, seen.target).sum(
                axes
            ),
            **seen.costs,
        }
        squares = jnp.square(shares - seen.target).mean(axes)
        every = {**losses, "loss": sum(losses.values()), "squares": squares}
        sums = {name: jnp.where(mask, each, 0).sum() for name, each in every.items()}
        return sums | {"count": jnp.sum(mask, dtype=jnp.int32)}

    def loss(forward, batch: Batch, *, key):
        seen = call(forward, batch, jax.random.split(key, len(batch["image"])))
        sums = sums_of(seen, mask_of(batch))
        return (sums["loss"], sums["count"]), (seen.state, sums)

    def update(forward, batch: Batch, *, keys):
        seen = call(forward, batch, keys)
        return sums_of(seen, mask_of(batch)), dict(seen.rows)

    def compute(sums, rows: Mapping[str, np.ndarray]):
        del rows
        count = max(int(sums["count"]), 1)
        means = {k: float(v) / count for k, v in sums.items() if k != "count"}
        return {"rmse": means.pop("squares") ** 0.5, **means}

    def predict(forward, batch: Batch, *, keys):
        return {"image": jax.nn.sigmoid(call(forward, batch, keys).logits)}

    return Task(
        loss=loss,
        update=update,
        compute=compute,
        measures=(
            Measure("rmse", "", "lower", 3),
            Measure("loss", "nats", "lower", 1),
            Measure("pixels", "nats", "lower", 1),
        ),
        predict=predict,
    )
