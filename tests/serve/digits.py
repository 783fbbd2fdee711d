"""Networks that tell digits, whose weights need no training."""

import jax
import numpy as np

from jaxvision import models, tasks, visualise
from jaxvision.data.feed.crops import uncropped
from jaxvision.data.feed.preparation import Preparation
from jaxvision.ops.augment import compose, normalise, pad
from jaxvision.runs import Predictor

CLASSES = tuple(map(str, range(10)))
NETWORKS = {
    "lenet5": {},
    "lenet5_relu": {},
    "mlp": dict(hidden=(20, 12)),
    "perceptron": {},
    "convnet": dict(features=(4, 6), n=2, hidden=16),
}


def predictor(name="lenet5", **changes):
    """Of images 28×28 of one channel, with random weights."""
    model = models.create(name, num_classes=10, **NETWORKS[name])
    prepare = normalise(0.1, 0.28)
    side = 28
    if name.startswith("lenet"):
        prepare, side = compose(pad(2), prepare), 32
    images = jax.ShapeDtypeStruct((1, side, side, 1), "float32")
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    draws = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: draws.normal(0, 0.15, leaf.shape).astype(np.float32), shapes
    )
    fields = dict(
        model=model,
        variables=variables,
        preparation=Preparation(1, uncropped((28, 28)), prepare),
        task=tasks.classification(10),
        classes=CLASSES,
        show=visualise.classification(CLASSES),
    )
    return Predictor(**fields | changes)


def pictures(count=5):
    """uint8 [28,28,1] each: something bright on black."""
    draws = np.random.default_rng(1)
    images = draws.integers(0, 256, (count, 28, 28, 1), np.uint8)
    images[:, :5] = images[:, :, :7] = 0
    return list(images)
