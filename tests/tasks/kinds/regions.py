"""A head that is called on chosen regions, as in Fast R-CNN (Girshick 2015)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision import models, tasks
from tests.tasks import kinds

SIDE = 4
"""Of a region, in positions of the feature map."""


class TwoStage(nn.Module):
    def setup(self):
        self.trunk = nn.Conv(8, (3, 3))
        self.scores = nn.Dense(4)

    def __call__(self, images, *, train):
        features = nn.relu(self.trunk(images))
        if self.is_initializing():  # all parameters are made here
            self.head(features[:, :SIDE, :SIDE], train=train)
        return {"features": features}

    def head(self, regions, *, train):
        return {"logits": self.scores(regions.reshape(len(regions), -1))}


def on_regions(forward):
    """The mean scores of the four most active regions, as a model of whole images."""

    def call(images, **options):
        outputs, state = forward.call(images, **options)
        features = outputs["features"]
        corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
        regions = jnp.stack(
            [features[:, y : y + SIDE, x : x + SIDE] for y, x in corners], axis=1
        )
        activity = regions.mean(axis=(2, 3, 4))
        _, chosen = jax.lax.top_k(activity, 4)
        picked = jax.vmap(lambda each, which: each[which])(regions, chosen)
        flat = picked.reshape(-1, *picked.shape[2:])
        found, state = forward.call(flat, **options | {"entry": "head", "state": state})
        logits = found["logits"].reshape(len(images), 4, -1).mean(axis=1)
        return {"logits": logits}, state

    return forward._replace(call=call)


def build():
    base = tasks.classification(4)
    task = base._replace(
        loss=lambda forward, *rest, **keys: base.loss(
            on_regions(forward), *rest, **keys
        ),
        update=lambda forward, *a, **k: base.update(on_regions(forward), *a, **k),
    )
    return kinds.experiment(models.from_linen(TwoStage()), task)
