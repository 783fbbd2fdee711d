"""A training step of a small single-stage detector, which `augment` feeds with scenes.

It has a backbone of five convolutions with a total stride of 8, and heads that predict
for each cell of the 8×8 map whether the centre of an object lies in it, the class of
the object and its box; 0.25 M parameters.  It follows YOLO (Redmon et al. 2016,
https://arxiv.org/abs/1506.02640), with one box for each cell and logistic losses.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvision import onednn
from jaxvision.ops.augment import normalise
from jaxvision.ops.convolution import conv2d
from jaxvision.types import Array, Batch

WIDTHS, STRIDES = (16, 32, 64, 128, 128), (2, 2, 2, 1, 1)
STRIDE = math.prod(STRIDES)
CLASSES = 10


def init(key: Array) -> list[dict[str, Array]]:
    """Parameters of each block, and of the heads at the end."""
    he = jax.nn.initializers.he_normal()
    channels, outputs = (3, *WIDTHS), 1 + CLASSES + 4
    keys = jax.random.split(key, len(channels))
    blocks = [
        {
            "kernel": he(keys[i], (3, 3, channels[i], width)),
            "scale": jnp.ones(width),
            "bias": jnp.zeros(width),
        }
        for i, width in enumerate(WIDTHS)
    ]
    kernel = he(keys[-1], (1, 1, WIDTHS[-1], outputs)) / 10
    return [*blocks, {"kernel": kernel, "bias": jnp.zeros(outputs)}]


def apply(params: list[dict[str, Array]], x: Array) -> tuple[Array, Array, Array]:
    """[B,H,W,3] -> objectness [B,h,w], classes [B,h,w,C], boxes [B,h,w,4], where h, w
    are H/8, W/8.  A box is the shift of its centre from the middle of the cell, and the
    logarithms of its width and height, all in units of a cell.  Normalised over the
    batch, as in training."""
    *blocks, heads = params
    for block, stride in zip(blocks, STRIDES, strict=True):
        x = conv2d(x, block["kernel"], strides=stride, padding=1)
        x = jax.nn.standardize(x, axis=(0, 1, 2), epsilon=1e-5)
        x = jax.nn.relu(x * block["scale"] + block["bias"])
    x = conv2d(x, heads["kernel"]) + heads["bias"]
    return x[..., 0], x[..., 1 : 1 + CLASSES], x[..., 1 + CLASSES :]


def assign(boxes: Array, classes: Array, height: int, width: int) -> Array:
    """The index of the object that each cell predicts, int32 [height,width], or -1.

    It is the object whose centre lies in the cell; of several the last, which is drawn
    over the others.  `boxes` [M,4] are in pixels; `classes` [M] are -1 where there is
    no object.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    column, row = (centres // STRIDE).astype(jnp.int32).T
    cell = jnp.where(classes >= 0, row * width + column, height * width)
    owners = jnp.full(height * width + 1, -1).at[cell].max(jnp.arange(len(classes)))
    return owners[:-1].reshape(height, width)


def loss(outputs: tuple[Array, Array, Array], batch: Batch) -> Array:
    """The loss of objectness over all cells, and of classes and boxes over those with
    an object, divided by the number of the latter."""
    objectness, logits, shifts = outputs
    height, width = objectness.shape[1:]
    owner = jax.vmap(assign, (0, 0, None, None))(
        batch["boxes"], batch["classes"], height, width
    )
    positive = owner >= 0
    take = jax.vmap(lambda array, index: array[index])
    boxes = take(batch["boxes"], jnp.maximum(owner, 0)) / STRIDE
    classes = take(batch["classes"], jnp.maximum(owner, 0)) - 1
    middles = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), -1) + 0.5
    centres, sizes = (
        (boxes[..., :2] + boxes[..., 2:]) / 2,
        boxes[..., 2:] - boxes[..., :2],
    )
    wanted = jnp.concatenate(
        [centres - middles, jnp.log(jnp.maximum(sizes, 1e-3))], axis=-1
    )
    of_class = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.where(positive, classes, 0)
    )
    of_box = optax.huber_loss(shifts, wanted).sum(-1)
    found = optax.sigmoid_binary_cross_entropy(objectness, positive.astype(jnp.float32))
    count = jnp.maximum(positive.sum(), 1)
    return (found.sum() + ((of_class + of_box) * positive).sum()) / count


def make_step() -> tuple[Any, Callable[..., tuple[Any, Array]]]:
    """The initial state, and a jitted `(state, batch) -> (state, loss)` with SGD.

    The step donates the state.  A batch has `image` uint8 [B,H,W,3], `boxes` [B,M,4]
    and `classes` [B,M], as scenes do.
    """
    prepare, optimizer = normalise(0.5, 0.25), optax.sgd(0.02, momentum=0.9)
    key = jax.random.key(0)
    params = jax.jit(init)(key)

    def step(state, batch):
        params, momentum = state
        images = prepare(key, batch)["image"]
        value, gradients = jax.value_and_grad(
            lambda params: loss(apply(params, images), batch)
        )(params)
        changes, momentum = optimizer.update(gradients, momentum)
        return (optax.apply_updates(params, changes), momentum), value

    return (params, optimizer.init(params)), onednn.jit(step, donate_argnums=0)
