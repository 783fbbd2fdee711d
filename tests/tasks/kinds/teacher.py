"""Distillation: a student learns what a trained teacher says (Hinton et al. 2015)."""

import jax
import jax.numpy as jnp

from jaxvision import models, tasks
from jaxvision.runs import load_variables
from jaxvision.types import Measure
from tests.tasks import kinds

TEACHER = models.create("mlp", hidden=(32,), num_classes=4)


def teacher():
    """The run whose checkpoint teaches."""
    return kinds.experiment(TEACHER, tasks.classification(4))


def build(run):
    def divergence(forward, batch):
        theirs, _ = TEACHER.apply(forward.frozen, batch["image"])
        ours, state = forward(batch["image"])
        soft = jax.nn.softmax(theirs["logits"] / 2)
        loss = -jnp.sum(soft * jax.nn.log_softmax(ours["logits"] / 2), axis=-1)
        agree = theirs["logits"].argmax(-1) == ours["logits"].argmax(-1)
        mask = batch.get("mask", jnp.ones(len(loss), bool))
        sums = {
            "loss": jnp.sum(jnp.where(mask, loss, 0)),
            "agree": jnp.sum(agree & mask, dtype=jnp.int32),
            "count": jnp.sum(mask, dtype=jnp.int32),
        }
        return sums, state

    def loss(forward, batch, *, key):
        sums, state = divergence(forward, batch)
        return (sums["loss"], sums["count"]), (state, sums)

    task = tasks.classification(4)._replace(
        loss=loss,
        update=lambda forward, batch, *, keys: (divergence(forward, batch)[0], {}),
        compute=lambda sums, rows: {
            "loss": float(sums["loss"]) / int(sums["count"]),
            "agreement": int(sums["agree"]) / int(sums["count"]),
        },
        measures=(Measure("agreement", "%", "higher"), Measure("loss", better="lower")),
        frozen=lambda: load_variables(run),
    )
    return kinds.experiment(models.create("perceptron", num_classes=4), task)
