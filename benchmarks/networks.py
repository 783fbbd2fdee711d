"""The networks of `speed`: those of the registry, and two that it does not have.

The latter are functions of `param`, which makes or remembers the next parameter of a
given shape.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import models
from jaxvision.ops.activation import relu
from jaxvision.ops.batch_norm import batch_norm
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.pooling import max_pool
from jaxvision.ops.upsample import upsample
from jaxvision.types import Array


def make_network(
    name: str, images: Array, classes: int
) -> tuple[Callable[..., tuple[Array, Any]], tuple[Any, Any]]:
    """The network in training, and its initial `(params, model_state)`.

    It is called as `apply(params, model_state, images, key)` and returns the logits and
    the new model state.  `images` [B,H,W,C] give the size it is made for.
    """
    if name in NETWORKS:
        network = NETWORKS[name]
        params: list[Array] = []

        def draw(*shape: int) -> Array:
            fan_in = np.prod(shape[:-1])
            key = jax.random.key(len(params))
            params.append(jax.random.normal(key, shape) * np.sqrt(2 / fan_in))
            return params[-1]

        network(draw, images[:2], classes)

        def apply(params, model_state, images, key):
            rest = iter(params)
            return network(lambda *shape: next(rest), images, classes), model_state

        return apply, (params, {})

    model = models.create(num_classes=classes, **registry(name))
    variables = dict(jax.jit(model.init)(jax.random.key(0), images[:1]))

    def apply_model(params, model_state, images, key):
        variables = {"params": params, **model_state}
        outputs, model_state = model.apply(variables, images, train=True, key=key)
        return outputs["logits"], model_state

    return apply_model, (variables.pop("params"), variables)


def conv_norm_relu(
    param, x: Array, out_channels: int, strides: int = 1, **options
) -> Array:
    """3×3 convolution, batch normalisation (without running averages), ReLU."""
    return relu(conv_norm(param, x, out_channels, strides, **options))


def conv_norm(
    param, x: Array, out_channels: int, strides: int = 1, *, kernel: int = 3
) -> Array:
    """The same without the ReLU, for a square kernel."""
    half = kernel // 2
    x = conv2d(
        x,
        param(kernel, kernel, x.shape[3], out_channels),
        strides=strides,
        padding=half,
    )
    return batch_norm(x, 1 + param(out_channels), param(out_channels), 1e-5)[0]


def resnet18_cifar(param, x: Array, classes: int) -> Array:
    """ResNet-18 with a stem of one 3×3 convolution, as is usual for CIFAR."""
    x = conv_norm_relu(param, x, 64)
    for stage in range(4):
        for block in range(2):
            out_channels, strides = 64 * 2**stage, 2 if stage and not block else 1
            y = conv_norm_relu(param, x, out_channels, strides)
            y = conv_norm(param, y, out_channels)
            if strides > 1:
                x = conv_norm(param, x, out_channels, strides, kernel=1)
            x = relu(x + y)
    return x.mean((1, 2)) @ param(512, classes) + param(classes)


def unet(param, x: Array, classes: int) -> Array:
    """A U-Net of four levels with 16 to 128 channels, two convolutions a level."""
    levels = []
    for width in (16, 32, 64):
        x = conv_norm_relu(param, conv_norm_relu(param, x, width), width)
        levels.append(x)
        x = max_pool(x, 2)
    x = conv_norm_relu(param, conv_norm_relu(param, x, 128), 128)
    for width in (64, 32, 16):
        x = jnp.concatenate([levels.pop(), upsample(x)], axis=-1)
        x = conv_norm_relu(param, conv_norm_relu(param, x, width), width)
    return conv2d(x, param(1, 1, 16, classes)) + param(classes)


NETWORKS = {"resnet18_cifar": resnet18_cifar, "unet": unet}

QUARTER = (16, 32, 64, 128, 128)

OPTIONS: dict[str, dict[str, Any]] = {
    "segnet": {"features": QUARTER},
    "fcn8s": {"features": QUARTER, "hidden": 512, "padding": "maps"},
    "fcn_resnet18": {
        "name": "fcn_resnet50",
        "encoder": "resnet18",
        "output_stride": 32,
        "aux": False,
    },
    "deeplabv3_mobilenet_v3_large": {"aux": False},
}
"""Of networks that differ from those of the registry: the first two are narrower than
in their papers, so that a step takes no minutes.  `name` is the registry's."""


def registry(name: str) -> dict[str, Any]:
    """The registry's name of the network of a row, and the options of it."""
    return {"name": name, **OPTIONS.get(name, {})}
