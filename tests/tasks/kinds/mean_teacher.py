"""Mean teacher: be consistent with one's own average (Tarvainen and Valpola 2017)."""

import jax
import jax.numpy as jnp

from jaxvision import models, optim, tasks
from tests.tasks import kinds

SUPERVISED = tasks.classification(4)
RAMP = 8
"""Steps over which consistency gains its weight."""


def loss(forward, batch, *, key):
    (total, count), (state, sums) = SUPERVISED.loss(forward, batch, key=key)
    noise = 0.1 * jax.random.normal(key, batch["image"].shape)
    student, _ = forward(batch["image"] + noise)
    teacher, _ = forward(batch["image"], average=True)
    gap = jax.nn.softmax(student["logits"]) - jax.nn.softmax(teacher["logits"])
    inconsistency = jnp.sum(gap**2)
    rising = jnp.minimum(forward.step / RAMP, 1.0)
    sums = sums | {"inconsistency": inconsistency}
    # Two means of their own, whose quotients are added.
    totals = {"supervised": total, "consistent": rising * inconsistency}
    return (totals, {"supervised": count, "consistent": count}), (state, sums)


def compute(sums, rows):
    found = SUPERVISED.compute(sums, rows)
    if "inconsistency" in sums:
        found["inconsistency"] = float(sums["inconsistency"]) / int(sums["count"])
    return found


def build():
    task = SUPERVISED._replace(loss=loss, compute=compute)
    model = models.create("mlp", hidden=(32,), num_classes=4)
    return kinds.experiment(model, task, average=optim.ema(0.9))
