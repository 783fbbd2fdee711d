"""Contrastive learning of an embedding from two views (SimCLR, Chen et al. 2020)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import models
from jaxvision.ops.augment import random_shift
from jaxvision.types import Measure, Task
from tests.tasks import kinds


def unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def loss(forward, batch, *, key):
    shift = random_shift(1)
    views = [
        shift(k, {"image": batch["image"]})["image"] for k in jax.random.split(key)
    ]
    first, state = forward(views[0])
    second, state = forward(views[1], state=state)
    similarity = unit(first["logits"]) @ unit(second["logits"]).T / 0.2
    size = len(similarity)
    losses = -jnp.diag(jax.nn.log_softmax(similarity, axis=-1))
    sums = {"loss": jnp.sum(losses), "count": jnp.int32(size)}
    return (sums["loss"], sums["count"]), (state, sums)


def update(forward, batch, *, keys):
    outputs, _ = forward(batch["image"])
    embedding = unit(outputs["logits"])
    return {}, {"embedding": embedding, "label": batch["label"]}


def compute(sums, rows):
    if not rows:
        return {"loss": float(sums["loss"]) / int(sums["count"])}
    similarity = rows["embedding"] @ rows["embedding"].T
    np.fill_diagonal(similarity, -np.inf)
    nearest = similarity.argmax(axis=1)
    return {"recall_at_1": float((rows["label"][nearest] == rows["label"]).mean())}


def build():
    task = Task(
        loss=loss,
        update=update,
        compute=compute,
        measures=(Measure("recall_at_1", "%", "higher", 1),),
        predict=lambda forward, batch, *, keys: update(forward, batch, keys=keys)[1],
    )
    return kinds.experiment(models.create("mlp", hidden=(32,), num_classes=8), task)
