"""Networks that make images: from a code, from a description, from noise."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import models, optim, tasks
from jaxvision.measures import Measure
from jaxvision.models.adversaries import Adversaries
from jaxvision.models.autoencoder import (
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
)
from jaxvision.ops import resample
from jaxvision.ops.activation import relu
from jaxvision.ops.augment import warping
from jaxvision.tasks.reconstruction import Seen, divergence, drawn
from jaxvision.types import Array, Batch, Model, Optimizer
from jaxvision.visualise.neuron_diagram import Diagram, layered

from .parts import (
    RMSE,
    Digits,
    Learned,
    Network,
    by_gradient,
    one_of_each,
    tiles,
)

BOUND = Measure("bound", "nats", "lower", 1)
NOISE = 0.5
"""Standard deviation of what the denoising autoencoder takes away."""
LATENT = 32
"""Numbers that the generator makes an image of."""
VIEWS, TURN = 4, 45.0
"""Views of a digit for inverse graphics, turned by up to so many degrees."""


def dense_coder(shape: tuple[int, int, int], **options) -> Model:
    parts = DenseEncoder(), DenseDecoder(shape)
    return models.from_linen(Autoencoder(*parts, **options))


def again(model: Model, variables, images: Array) -> Array:
    """Images [N,H,W,C] after encoding and decoding."""
    return jax.nn.sigmoid(model.apply(variables, images)[0]["logits"])


def made(model: Model, variables, codes: Array) -> Array:
    """Images [N,H,W,C] of codes."""
    outputs, _ = model.apply(variables, codes, entry="decode")
    return jax.nn.sigmoid(outputs["logits"])


def autoencoder(digits: Digits, *, noise: float = 0.0) -> Learned:
    """16 numbers for an image; with `noise`, of one that is disturbed."""
    model = dense_coder(digits.shape, code=16)
    task = tasks.reconstruction(noise=noise)
    done = by_gradient(digits, model, task, steps=1500, rate=3e-3)
    images = jnp.asarray(digits.test_images)
    seen = images + noise * jax.random.normal(jax.random.key(0), images.shape)
    seen = seen[one_of_each(digits.test_labels, digits.classes, 2)[::2]]
    pairs = jnp.concatenate([seen, again(model, done.variables, seen)])
    numbers = {"rmse": done.metrics["rmse"]}
    return Learned(numbers, tiles(pairs, digits.classes), done.parameters)


def variational(digits: Digits) -> Learned:
    """Codes are drawn, and stay near a normal distribution, from which digits come."""
    model = dense_coder(digits.shape, code=8, variational=True)
    task = tasks.reconstruction()
    done = by_gradient(digits, model, task, steps=2000, rate=3e-3)
    codes = jax.random.normal(jax.random.key(digits.seed), (30, 8))
    picture = tiles(made(model, done.variables, codes))
    return Learned({"bound": done.metrics["loss"]}, picture, done.parameters)


def sparse(digits: Digits) -> Learned:
    """More units than are needed, of which each image excites a few."""
    linear = DenseEncoder(hidden=()), DenseDecoder(digits.shape, hidden=())
    module = Autoencoder(*linear, code=200, activation=relu)
    model = models.from_linen(module)
    steps = 1000
    rates = optim.one_cycle(3e-3, steps=digits.steps(steps))
    # Large weights would make up for small activations.
    rule = optim.adamw(rates, weight_decay=0.1)
    task = tasks.reconstruction(sparsity=1.0)
    done = by_gradient(digits, model, task, steps=steps, optimizer=rule)
    images = jnp.asarray(digits.test_images)
    code = np.asarray(model.apply(done.variables, images, entry="encode")[0]["code"])
    kernel = done.variables["params"]["decoder"]["Dense_0"]["kernel"]  # [code, H·W]
    busiest = np.argsort(-code.mean(0))[:30]
    strokes = np.maximum(kernel[busiest], 0)
    strokes = strokes / np.maximum(strokes.max(1, keepdims=True), 1e-6)
    numbers = {"rmse": done.metrics["rmse"], "active": float((code > 0.01).mean())}
    return Learned(numbers, tiles(strokes.reshape(-1, *digits.shape)), done.parameters)


def description(images: Any, labels: Any, classes: int) -> Array:
    """[B, classes + 6]: the class, and the mass, centre, widths and slant of a digit.

    These are moments of its pixels up to the second, which are from 0 to 1.
    """
    height, width = images.shape[1:3]
    y, x = (jnp.linspace(-1, 1, n) for n in (height, width))
    y, x = y[None, :, None, None], x[None, None, :, None]
    mass = images.sum((1, 2, 3)) + 1e-6

    def mean(values):
        return (images * values).sum((1, 2, 3)) / mass

    across, down = mean(x), mean(y)
    x, y = (axis - by[:, None, None, None] for axis, by in ((x, across), (y, down)))
    spread = mean(x**2), mean(y**2), mean(x * y)
    wide, high = (jnp.sqrt(each + 1e-6) for each in spread[:2])
    slant = spread[2] / (wide * high)
    share = mass / (height * width)
    moments = jnp.stack([5 * share, across, down, 3 * wide, 3 * high, 2 * slant], 1)
    return jnp.concatenate([jax.nn.one_hot(labels, classes), moments], axis=1)


def deconvolutional(digits: Digits) -> Learned:
    """Images of their descriptions."""
    classes = digits.classes
    model = models.from_linen(ConvDecoder(digits.shape))

    def describe(batch: Batch) -> Array:
        return description(batch["image"], batch["label"], classes)

    def look(forward, batch: Batch, keys: Array) -> Seen:
        outputs, state = forward(describe(batch))
        return Seen(outputs["logits"], batch["image"], state)

    task = tasks.reconstruction(look=look)
    task = task._replace(inputs=lambda batch: (describe(batch),), reads=("label",))
    done = by_gradient(digits, model, task, steps=800, rate=5e-3)
    every = description(digits.images, digits.labels, classes)
    typical = [every[digits.labels == k].mean(0) for k in range(classes)]
    rows = [jnp.stack(typical).at[:, -1].add(2 * slant) for slant in (-0.4, 0.0, 0.4)]
    outputs, _ = model.apply(done.variables, jnp.concatenate(rows))
    picture = tiles(jax.nn.sigmoid(outputs["logits"]), classes)
    return Learned({"rmse": done.metrics["rmse"]}, picture, done.parameters)


def turned(images: Array, degrees: Array) -> Array:
    """Images [B,H,W,C] turned against the clock, each by its own angle [B]."""
    zeros = jnp.zeros((len(images), 2))
    matrices = warping.affine(
        (images.shape[1], images.shape[2]),
        angle=jnp.deg2rad(degrees),
        translation=zeros,
        zoom=jnp.ones(len(images)),
        shear=zeros,
    )
    return resample.warp(images, matrices)


def looks_at_views(forward, batch: Batch, keys: Array) -> Seen:
    """Views of each digit, whose codes may differ in their first number alone.

    The others are replaced by their means over the views (Kulkarni et al. 2015, section
    3.1, whose gradient that nears them to each other is here that of the mean).
    """
    image = batch["image"]
    pairs = jax.vmap(jax.random.split)(keys)
    draw = functools.partial(
        jax.random.uniform, shape=(VIEWS,), minval=-TURN, maxval=TURN
    )
    angles = jax.vmap(lambda key: draw(key))(pairs[:, 0])  # [B,V]
    views = turned(image.repeat(VIEWS, 0), angles.reshape(-1))
    encoded, state = forward(views, entry="encode")
    each = jax.vmap(lambda key: jax.random.split(key, VIEWS))(pairs[:, 1])
    code = drawn(each.reshape(-1), encoded).reshape(-1, VIEWS, encoded["code"].shape[1])
    common = jnp.broadcast_to(code[..., 1:].mean(1, keepdims=True), code[..., 1:].shape)
    code = jnp.concatenate([code[..., :1], common], axis=-1)
    flat = code.reshape(-1, code.shape[-1])
    decoded, state = forward(flat, entry="decode", state=state)
    by_view = (len(image), VIEWS, *image.shape[1:])
    cost = divergence(encoded["code"], encoded["log_variance"])
    return Seen(
        decoded["logits"].reshape(by_view),
        views.reshape(by_view),
        state,
        {"divergence": cost.reshape(-1, VIEWS).sum(1)},
        {"pose": encoded["code"][:, 0].reshape(-1, VIEWS), "angle": angles},
    )


def inverse_graphics(digits: Digits) -> Learned:
    """A code whose first number is the angle, found and not told."""
    parts = ConvEncoder(), ConvDecoder(digits.shape)
    model = models.from_linen(Autoencoder(*parts, code=12, variational=True))
    base = tasks.reconstruction(look=looks_at_views)

    def compute(sums, rows):
        found = base.compute(sums, rows)
        if rows:
            pose, angle = (
                (rows[name] - rows[name].mean(1, keepdims=True)).ravel()
                for name in ("pose", "angle")
            )
            found["angle_correlation"] = abs(float(np.corrcoef(pose, angle)[0, 1]))
        return found

    task = base._replace(compute=compute)
    done = by_gradient(digits, model, task, steps=500, rate=5e-3, batch_size=25)
    chosen = jnp.asarray(digits.test_images[one_of_each(digits.test_labels, 3)])
    encoded, _ = model.apply(done.variables, chosen, entry="encode")
    rows = []
    for image, code in zip(chosen, encoded["code"], strict=True):
        codes = jnp.repeat(code[None], 9, axis=0)
        codes = codes.at[:, 0].set(jnp.linspace(-2, 2, 9))
        rows += [image[None], made(model, done.variables, codes)]
    measured = {name: done.metrics[name] for name in ("angle_correlation", "rmse")}
    return Learned(measured, tiles(jnp.concatenate(rows)), done.parameters)


def adversaries(digits: Digits) -> Learned:
    """Digits that nobody wrote."""
    parts = DenseDecoder(digits.shape, (128,)), DenseEncoder((128,), jax.nn.leaky_relu)
    model = models.from_linen(Adversaries(*parts, latent=LATENT))
    rule = Optimizer(optax.adam(1e-3, b1=0.5), lambda step: 1e-3)
    done = by_gradient(
        digits, model, tasks.adversarial(LATENT), steps=4000, optimizer=rule
    )
    latent = jax.random.normal(jax.random.key(digits.seed), (30, LATENT))
    outputs, _ = model.apply(done.variables, latent, entry="generate")
    names = ("told_apart", "critic", "generator")
    numbers = {name: done.metrics[name] for name in names}
    return Learned(numbers, tiles(outputs["image"]), done.parameters)


def _coder(kind: str, hidden: str, code: int) -> Diagram:
    return layered(4 * [kind], code * [hidden], 4 * ["match input output"])


AUTOENCODER = Network(
    "Autoencoder",
    "The image has to pass through 16 numbers. Above are digits of the test, below "
    "what comes out. The number is the error of a pixel, from 0 to 1.",
    "Rumelhart, Hinton and Williams 1986",
    _coder("input", "hidden", 2),
    [RMSE],
    autoencoder,
)
VARIATIONAL = Network(
    "Variational autoencoder",
    "The code is drawn, and kept near a normal distribution, so that digits can be "
    "made of random codes: those of the picture. The number bounds what an image "
    "costs.",
    "Kingma and Welling 2014",
    _coder("input", "probabilistic hidden", 2),
    [BOUND],
    variational,
)
DENOISING = Network(
    "Denoising autoencoder",
    "It sees a disturbed image, above, and has to give back the original, below. Noise "
    f"has a deviation of {NOISE}; the number is what remains of it.",
    "Vincent et al. 2008",
    _coder("noisy input", "hidden", 2),
    [RMSE],
    functools.partial(autoencoder, noise=NOISE),
)
SPARSE = Network(
    "Sparse autoencoder",
    "200 units, each of which costs something when it is active, so that few are. The "
    "picture shows what the busiest add to an image.",
    "Olshausen and Field 1996; Ranzato et al. 2007",
    _coder("input", "hidden", 6),
    [RMSE, Measure("active", "%", "lower", 1)],
    sparse,
)
DECONVOLUTIONAL = Network(
    "Deconvolutional network",
    "A convolutional network backwards: from a class and six moments (mass, place, "
    "size, slant) to the image. The picture varies the slant. The number is the error "
    "of a pixel, for the moments of test digits.",
    "Zeiler et al. 2010; Dosovitskiy et al. 2015",
    layered(2 * ["input"], 3 * ["hidden"], 4 * ["kernel"], 5 * ["output"], reach=1.6),
    [RMSE],
    deconvolutional,
)
INVERSE_GRAPHICS = Network(
    "Deep convolutional inverse graphics network",
    "A variational autoencoder of convolutions that sees a digit at several angles and "
    "may say only by one number of its code which is which. The picture varies that "
    "number; measured is how far it follows the angle.",
    "Kulkarni et al. 2015",
    layered(
        5 * ["input"],
        4 * ["kernel"],
        3 * ["probabilistic hidden"],
        4 * ["kernel"],
        5 * ["match input output"],
        reach=1.6,
    ),
    [Measure("angle_correlation", "", "higher", 3), RMSE],
    inverse_graphics,
)
ADVERSARIES = Network(
    "Generative adversarial network",
    "A generator learns to make images that a critic takes for real. The number is how "
    "often the nearest neighbour tells made digits from real ones: 50 % were perfect.",
    "Goodfellow et al. 2014",
    layered(
        2 * ["backfed input"],
        4 * ["hidden"],
        3 * ["match input output"],
        4 * ["hidden"],
        2 * ["match input output"],
    ),
    [
        Measure("told_apart", "%", "lower", 1),
        Measure("critic", "", None, 3),
        Measure("generator", "", None, 3),
    ],
    adversaries,
)
