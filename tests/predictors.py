"""Small predictors that need no training, for the tests of what is made of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import data, tasks, visualise
from jaxvision.data.feed.preparation import Preparation
from jaxvision.ops import augment
from jaxvision.runs import Predictor
from tests import tiny

CLASSES = ("ant", "bee", "cat", "dog")


def make(network="resnet", *, size=8, crop=None, **changes):
    """A classifier of 4 classes for RGB images of `size`, with weights that matter."""
    model = changes.pop("model", None) or tiny.MODELS[network]()
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    draws = np.random.default_rng(0)

    def drawn(path, leaf):  # with no norm of ones nor bias of zeros to hide mistakes
        if len(leaf.shape) > 1:
            values = draws.normal(size=leaf.shape) / math.prod(leaf.shape[:-1]) ** 0.5
        else:
            of_positive = path[-1].key in ("scale", "var")
            values = draws.uniform(0.5, 1.5, leaf.shape) - (not of_positive)
        return values.astype(leaf.dtype)

    fields = dict(
        model=model,
        variables=jax.tree.map_with_path(drawn, shapes),
        preparation=Preparation(
            channels=3,
            crop=crop or data.central_crop(size),
            transform=augment.normalise(0.5, 0.25),
        ),
        task=tasks.classification(len(CLASSES)),
        classes=CLASSES,
        show=visualise.classification(CLASSES),
    )
    return Predictor(**fields | changes)


def pictures(count, size=8, seed=0):
    """Random pixels, uint8 [size,size,3] each."""
    draws = np.random.default_rng(seed)
    return list(draws.integers(0, 256, (count, size, size, 3), np.uint8))
