"""Images from nothing but noise: a generator against a critic.

Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, with the generator's loss that
does not saturate (section 3).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.metrics.two_sample import neighbours_accuracy
from jaxvision.recipes import TASKS
from jaxvision.tasks.mask import mask_of
from jaxvision.types import Batch, Measure, Task


@TASKS.recorded
def adversarial(latent: int) -> Task:
    """The task of a model with the entries `generate` and `judge`, see
    `models.adversaries`.  Images are from 0 to 1.

    The headline is how well the nearest neighbour tells real images from as many made
    ones (`metrics.two_sample`); losses say little of how good images are.

    latent: numbers that an image is made of, drawn from a standard normal distribution.
    """
    check((latent >= 1, f"latent must be at least 1, got {latent}"))

    def make(forward, keys):
        draw = jax.vmap(lambda key: jax.random.normal(key, (latent,)))
        return forward(draw(keys), entry="generate")

    def look(forward, batch: Batch, keys):
        """The sums of both losses, what was made, and the state."""
        made, state = make(forward, keys)
        real, state = forward(batch["image"], entry="judge", state=state)
        constant = jax.lax.stop_gradient(made["image"])
        caught, state = forward(constant, entry="judge", state=state)
        # The generator learns from the critic, and leaves it as it is.
        fooled, state = forward(made["image"], entry="judge", state=state, fixed=True)
        softplus = jax.nn.softplus
        losses = {
            "critic": softplus(-real["logits"]) + softplus(caught["logits"]),
            "generator": softplus(-fooled["logits"]),
        }
        mask = mask_of(batch)
        sums = {name: jnp.where(mask, each, 0).sum() for name, each in losses.items()}
        count = jnp.sum(mask, dtype=jnp.int32)
        return sums, count, made["image"], state

    def loss(forward, batch: Batch, *, key):
        keys = jax.random.split(key, len(batch["image"]))
        sums, count, _, state = look(forward, batch, keys)
        # Two means, whose gradients meet in no parameter.
        return (sums, dict.fromkeys(sums, count)), (state, {**sums, "count": count})

    def update(forward, batch: Batch, *, keys):
        sums, count, made, _ = look(forward, batch, keys)
        return {**sums, "count": count}, {"real": batch["image"], "made": made}

    def compute(sums, rows: Mapping[str, np.ndarray]):
        count = max(int(sums["count"]), 1)
        found = {k: float(v) / count for k, v in sums.items() if k != "count"}
        if rows:
            found["told_apart"] = neighbours_accuracy(rows["real"], rows["made"])
        return found

    return Task(
        loss=loss,
        update=update,
        compute=compute,
        measures=(
            Measure("told_apart", "%", "lower", 1),
            Measure("critic"),
            Measure("generator"),
        ),
        predict=lambda forward, batch, *, keys: make(forward, keys)[0],
    )
