"""The part of a classifier that belongs to its classes, and what follows features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.errors import UsageError


def check_that_the_head_is_the_layer_of_class_scores(name):
    head = models.head(name)
    assert {path.rpartition("/")[2] for path in head} <= {"kernel", "bias"}
    layers = {path.rpartition("/")[0] for path in head}
    auxiliary = {"aux1/fc2", "aux2/fc2", "AuxLogits/fc", "aux_classifier.4"}
    # FCN scores several maps, and enlarges scores by layers that learn.
    auxiliary |= {layer for layer in layers if layer.startswith(("score_", "upscore"))}
    # LR-ASPP adds the scores of two maps; SSD has scores of the boxes on each of six,
    # YOLOX on each of three; two stages have scores, boxes and masks of each class.
    of_maps = {"lraspp": 2, "ssd300": 6, "ssdlite": 6, "yolox": 3}
    of_maps |= {"fasterrcnn": 2, "keypointrcnn": 2, "maskrcnn": 3}
    family = next(filter(name.startswith, of_maps), "")
    assert len(layers - auxiliary) == of_maps.get(family, 1)


def test_the_rest_of_the_variables_stays():
    images = jnp.zeros((1, 32, 32, 3))
    model = models.create("resnet20", blocks=1, width=4)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    rest = models.without(variables, models.head("resnet20", blocks=1))
    assert variables["params"].keys() - rest["params"].keys() == {"linear"}
    assert rest["batch_stats"] == variables["batch_stats"]
    nested = {"params": {"a": {"x": 1, "y": 2}, "x": 3}}
    assert models.without(nested, ("a/x",)) == {"params": {"a": {"y": 2}, "x": 3}}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet20", {"blocks": 1, "width": 4}),
        ("vit_tiny_patch16_224", {"depth": 1, "heads": 2, "features": 8, "hidden": 8}),
        ("lenet5", {}),
    ],
)
def test_class_scores_of_features_are_those_of_the_images(name, options):
    channels = models.default_input(name)[2]
    shape = (32, 32, channels)
    model = models.create(name, num_classes=5, **options)
    both = models.on_features(model, shape)
    images = jax.random.normal(jax.random.key(0), (3, *shape))
    shapes = jax.eval_shape(both.init, jax.random.key(1), images[:1])
    variables = jax.tree.map(
        lambda x: (
            0.1 + jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) ** 2
        ),
        shapes,
    )
    expected, _ = jax.jit(both.apply)(variables, images)
    np.testing.assert_array_equal(
        expected["logits"], jax.jit(model.apply)(variables, images)[0]["logits"]
    )
    features = expected["pre_logits"][:, None, None]
    begun = jax.eval_shape(both.init, jax.random.key(1), features[:1])
    assert begun == shapes
    found, _ = jax.jit(both.apply)(variables, features)
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-5)


def test_class_scores_that_need_more_than_the_features_are_refused():
    model = models.on_features(models.create("squeezenet1_1"), (64, 64, 3))
    features = jax.ShapeDtypeStruct((2, 1, 1, 512), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), features)
    with pytest.raises(UsageError, match="not computed from its pre_logits alone"):
        jax.eval_shape(model.apply, variables, features)
    model = models.on_features(models.create("unet_small"), (64, 64, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), features)
    with pytest.raises(UsageError, match="has no pre_logits among its activations"):
        jax.eval_shape(model.apply, variables, features)
