"""Networks that are drawn and never trained, but for a linear read-out.

The read-out is a ridge regression on the classes as -1 and 1: no gradient descends.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import visualise
from jaxvision.types import Array
from jaxvision.visualise.neuron_diagram import reservoir

from .parts import ACCURACY, Digits, Learned, Network, accuracy, one_of_each, tiles

PARTS = 4
"""Parts of the time of an image, each of which the read-out hears by itself."""


def ridge(features: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Weights [D+1,T], the last of a constant, that minimise

    `|F w - t|² + penalty · |w|²` for features [N,D] and targets [N,T], in float64.
    """
    wide = with_constant(features)
    square = wide.T @ wide + penalty * np.eye(wide.shape[1])
    return np.linalg.solve(square, wide.T @ targets)


def with_constant(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1, dtype=float)


def read_out(
    digits: Digits, features: Callable[[Array], Array], *, penalty: float = 1.0
) -> tuple[dict[str, float], int]:
    """The accuracy of a ridge regression on features [N,D], and its weights."""
    jitted = jax.jit(features)
    train, test = (
        np.concatenate([np.asarray(jitted(part)) for part in _parts(images)])
        for images in (digits.images, digits.test_images)
    )
    targets = 2 * np.eye(digits.classes)[digits.labels] - 1
    weights = ridge(train, targets, penalty)
    answers = (with_constant(test) @ weights).argmax(1)
    return accuracy(answers, digits.test_labels), weights.size


def _parts(images: np.ndarray, size: int = 500) -> list[np.ndarray]:
    return [images[i : i + size] for i in range(0, len(images), size)]


def extreme_learning(digits: Digits) -> Learned:
    """A layer of random features."""
    keys = jax.random.split(jax.random.key(digits.seed))
    count, pixels = 1000, int(np.prod(digits.shape))
    inner = jax.random.normal(keys[0], (pixels, count)) / pixels**0.5
    biases = jax.random.normal(keys[1], (count,))

    def features(images):
        flat = images.reshape(len(images), -1)
        return jnp.tanh(4 * flat @ inner + biases[None])

    numbers, size = read_out(digits, features)
    chosen = one_of_each(digits.test_labels, digits.classes)
    maps = np.asarray(features(digits.test_images[chosen]))
    shown = (maps.reshape(len(chosen), 25, 40) + 1) / 2
    rows = [*tile_rows(digits.test_images[chosen]), *tile_rows(shown)]
    return Learned(numbers, visualise.sheet(rows, digits.classes), size)


def tile_rows(images: np.ndarray) -> list[np.ndarray]:
    """Images as squares uint8 [56,56,3] each."""
    squares = []
    for image in images.reshape(*images.shape[:3]):
        resized = jax.image.resize(jnp.asarray(image), (56, 56), "nearest")
        squares.append(tiles(np.asarray(resized)[None], 1, side=56))
    return squares


class Echo(NamedTuple):
    """A reservoir: weights from inputs [I,N], among its units [N,N], and its leak."""

    inner: Array
    recurrent: Array
    leak: float


def echo(key: Array, inputs: int, units: int, *, radius: float, leak: float) -> Echo:
    """Drawn, a tenth of its units connected; `radius` is the largest eigenvalue's, and
    below 1 old inputs die away."""
    keys = jax.random.split(key, 3)
    drawn = jax.random.normal(keys[0], (units, units))
    there = jax.random.bernoulli(keys[1], 0.1, (units, units))
    sparse = np.asarray(jnp.where(there, drawn, 0))
    largest = np.abs(np.linalg.eigvals(sparse)).max()
    inner = jax.random.uniform(keys[2], (inputs, units), minval=-1.0, maxval=1.0)
    return Echo(inner, jnp.asarray(radius / largest * sparse, jnp.float32), leak)


def echoes(net: Echo, rows: Array) -> Array:
    """The states [B,H,N] of the reservoir as it hears rows [B,H,I]."""

    def step(state, row):
        heard = row @ net.inner + state @ net.recurrent
        state = (1 - net.leak) * state + net.leak * jnp.tanh(heard)
        return state, state

    start = jnp.zeros((len(rows), net.inner.shape[1]))
    return jax.lax.scan(step, start, rows.swapaxes(0, 1))[1].swapaxes(0, 1)


def _shown(states: Array, images: np.ndarray, classes: int) -> np.ndarray:
    """Digits, and below each what 56 units did, a row of theirs for a row of it."""
    activity = np.asarray(states)[:, :, :56]
    activity = activity / max(float(np.abs(activity).max()), 1e-6)
    both = [*tile_rows(images), *tile_rows(0.5 + 0.5 * activity)]
    return visualise.sheet(both, classes)


def echo_state(digits: Digits) -> Learned:
    key = jax.random.key(digits.seed)
    net = echo(key, digits.shape[1], 300, radius=0.9, leak=0.3)

    def states(images):
        return echoes(net, images[..., 0])

    def features(images):
        every = states(images)
        when = np.linspace(0, every.shape[1], PARTS + 1).astype(int)[1:] - 1
        return every[:, when].reshape(len(images), -1)

    numbers, size = read_out(digits, features)
    chosen = digits.test_images[one_of_each(digits.test_labels, digits.classes)]
    return Learned(numbers, _shown(states(chosen), chosen, digits.classes), size)


def spikes(net: Echo, rows: Array, *, hold: int = 4) -> Array:
    """The spikes [B,T,N] of leaky integrate-and-fire units that hear rows [B,H,I], each
    for `hold` steps.

    A unit's voltage decays and adds what it hears; at 1 it fires and falls back to 0,
    and those that listen to it hear that a step later.
    """

    def step(carry, row):
        voltage, fired = carry
        heard = row @ net.inner + fired @ net.recurrent
        voltage = (1 - net.leak) * voltage * (1 - fired) + heard
        fired = (voltage > 1).astype(jnp.float32)
        return (voltage, fired), fired

    zeros = jnp.zeros((len(rows), net.inner.shape[1]))
    held = rows.swapaxes(0, 1).repeat(hold, 0)
    return jax.lax.scan(step, (zeros, zeros), held)[1].swapaxes(0, 1)


def liquid_state(digits: Digits) -> Learned:
    net = echo(jax.random.key(digits.seed), digits.shape[1], 300, radius=0.6, leak=0.1)
    net = net._replace(inner=0.25 * net.inner)

    def features(images):
        fired = spikes(net, images[..., 0])
        parts = jnp.array_split(fired, PARTS, axis=1)
        return jnp.concatenate([part.mean(1) for part in parts], axis=1)

    numbers, size = read_out(digits, features)
    chosen = digits.test_images[one_of_each(digits.test_labels, digits.classes)]
    fired = spikes(net, jnp.asarray(chosen[..., 0]))
    return Learned(numbers, _shown(fired[:, ::2], chosen, digits.classes), size)


LIQUID_STATE = Network(
    "Liquid state machine",
    "Units that collect what they hear and fire, connected at random. A linear "
    "read-out hears how often each fired in the quarters of a digit, which comes row "
    "by row. Below each digit are the spikes of some units, time downwards.",
    "Maass, Natschläger and Markram 2002",
    reservoir(3 * ["input"], "spiking hidden", 3 * ["output"]),
    [ACCURACY],
    liquid_state,
)
EXTREME_LEARNING = Network(
    "Extreme learning machine",
    "A random layer of 1,000 units, and a linear read-out by ridge regression. Below "
    "each digit is the activity of all units.",
    "Huang, Zhu and Siew 2006",
    reservoir(3 * ["input"], "hidden", 3 * ["output"]),
    [ACCURACY],
    extreme_learning,
)
ECHO_STATE = Network(
    "Echo state network",
    "A random recurrent network in which each row of the digit echoes for a while, and "
    "a linear read-out. Below each digit is the activity of some units, time "
    "downwards.",
    "Jaeger 2001",
    reservoir(3 * ["input"], "recurrent", 3 * ["output"]),
    [ACCURACY],
    echo_state,
)
