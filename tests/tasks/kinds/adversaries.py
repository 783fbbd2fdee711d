"""A generator and a discriminator with an optimiser each (Goodfellow et al. 2014)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxvision import models
from jaxvision.types import Measure, Optimizer, Task
from tests.tasks import kinds


class Adversaries(nn.Module):
    def setup(self):
        self.generator = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(64)])
        self.discriminator = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(1)])

    def __call__(self, images, *, train):
        self.generate(jnp.zeros((1, 8)), train=train)
        return self.judge(images, train=train)

    def generate(self, latent, *, train):
        return {"image": self.generator(latent).reshape(-1, 8, 8, 1)}

    def judge(self, images, *, train):
        return {"logits": self.discriminator(images.reshape(-1, 64))[:, 0]}


def loss(forward, batch, *, key):
    count = len(batch["image"])
    made, _ = forward(jax.random.normal(key, (count, 8)), entry="generate")
    real, _ = forward(batch["image"], entry="judge")
    caught, _ = forward(jax.lax.stop_gradient(made["image"]), entry="judge")
    # The generator learns from the discriminator, and leaves it as it is.
    fooled, state = forward(made["image"], entry="judge", fixed=True)
    guilt = nn.softplus(-real["logits"]) + nn.softplus(caught["logits"])
    totals = {
        "discriminator": jnp.sum(guilt),
        "generator": jnp.sum(nn.softplus(-fooled["logits"])),
    }
    counts = dict.fromkeys(totals, jnp.int32(count))
    return (totals, counts), (state, {"totals": totals, "counts": counts})


def build(rates=(1e-2, 1e-3)):
    both = {"discriminator": optax.adam(rates[0]), "generator": optax.sgd(rates[1])}
    transform = optax.partition(both, lambda params: {name: name for name in both})
    task = Task(
        loss=loss,
        update=lambda *args, keys: (loss(*args, key=keys[0])[1][1], {}),
        compute=lambda sums, rows: {
            name: float(total) / int(sums["counts"][name])
            for name, total in sums["totals"].items()
        },
        measures=(Measure("generator", better="lower"), Measure("discriminator")),
        predict=lambda *_, keys: {},
    )
    optimizer = Optimizer(transform, lambda step: rates[0])
    return kinds.experiment(models.from_linen(Adversaries()), task, optimizer=optimizer)
