"""Noise prediction with a time step as a second input (Ho et al. 2020)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision import models
from jaxvision.types import Measure, Task
from tests.tasks import kinds


class Denoiser(nn.Module):
    @nn.compact
    def __call__(self, images, time, *, train):
        size = images[0].size
        hidden = nn.Dense(64)(images.reshape(-1, size))
        hidden = nn.relu(hidden + nn.Dense(64)(time[:, None]))
        return {"noise": nn.Dense(size)(hidden).reshape(images.shape)}


def squares(forward, image, noise, time):
    signal = jnp.sqrt(1 - time**2)[:, None, None, None]
    noisy = signal * image + time[:, None, None, None] * noise
    outputs, state = forward(noisy, time)
    return jnp.mean((outputs["noise"] - noise) ** 2, axis=(1, 2, 3)), state


def loss(forward, batch, *, key):
    image, (first, second) = batch["image"], jax.random.split(key)
    noise = jax.random.normal(first, image.shape)
    time = jax.random.uniform(second, image.shape[:1])
    errors, state = squares(forward, image, noise, time)
    sums = {"loss": jnp.sum(errors), "count": jnp.int32(len(errors))}
    return (sums["loss"], sums["count"]), (state, sums)


def update(forward, batch, *, keys):
    image, mask = batch["image"], batch["mask"]
    # Every example has its own noise, whatever batch it is in.
    noise = jax.vmap(lambda key, x: jax.random.normal(key, x.shape))(keys, image)
    time = jax.vmap(jax.random.uniform)(keys)
    errors, _ = squares(forward, image, noise, time)
    count = jnp.sum(mask, dtype=jnp.int32)
    return {"loss": jnp.sum(jnp.where(mask, errors, 0)), "count": count}, {}


def build():
    task = Task(
        loss=loss,
        update=update,
        compute=lambda sums, rows: {"loss": float(sums["loss"]) / int(sums["count"])},
        measures=(Measure("loss", better="lower"),),
        predict=lambda forward, batch, *, keys: {},
        inputs=lambda batch: (batch["image"], jnp.zeros(len(batch["image"]))),
    )
    return kinds.experiment(models.from_linen(Denoiser()), task)
