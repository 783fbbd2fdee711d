"""Images that a unit likes best, and what a network dreams into a photograph.

Olah, Mordvintsev and Schubert 2017, https://doi.org/10.23915/distill.00007: an image is
made readable by describing it by its frequencies, in colours that do not correlate, and
by demanding that the unit likes it as well when it is moved, turned and zoomed a bit.

Pixels are from 0 to 1; `given` makes of them what the network takes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.errors import check, unknown
from jaxvision.explain.scores import Forward, Score
from jaxvision.ops import augment
from jaxvision.types import Array

# The axes along which colours of photographs vary: brightness, red against blue, and
# green against both (Ohta, Kanade and Sakai 1980), with about their deviations.
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
_COLOURS /= np.linalg.norm(_COLOURS, axis=1, keepdims=True)
_COLOURS *= np.array([[1], [0.28], [0.13]], np.float32) * np.sqrt(3)


def unit_score(forward: Forward, name: str, units: Array) -> Score:
    """Of image b the mean of channel `units[b]` of an activation over its map, or that
    unit of a vector; `units` int [B]."""

    def score(images: Array) -> Array:
        outputs = forward(images)
        if name not in outputs:
            raise unknown("activation", name, outputs)
        values = outputs[name]
        means = values.mean(tuple(range(1, values.ndim - 1)))
        return jnp.take_along_axis(means, units[:, None], axis=1)[:, 0]

    return score


def optimised_images(
    score: Score,
    shape: tuple[int, int, int, int],
    key: Array,
    *,
    given: Callable[[Array], Array] = lambda pixels: pixels,
    steps: int = 128,
    rate: float = 0.05,
) -> Array:
    """Images in which each has a high score, as pixels [B,H,W,C] from 0 to 1.

    Args:
      score: of image b, for example by `unit_score`.
      shape: (B, H, W, C).
      key: of the noise to begin with, and of the movements.
      given: `pixels -> images`, as the network takes them.
      steps: of Adam.
      rate: its learning rate, of the frequencies.
    """
    check((steps >= 1, f"steps must be positive, got {steps}"))
    begin, moves = jax.random.split(key)
    height, width, channels = shape[1:]
    scale = jnp.asarray(_natural(height, width))
    spectrum = (2, shape[0], height, width // 2 + 1, channels)

    def pixels(parameters: Array) -> Array:
        real, imaginary = parameters * scale[None, None, :, :, None]
        waves = jnp.fft.irfft2(
            jax.lax.complex(real, imaginary), (height, width), (1, 2), norm="ortho"
        )
        if channels == 3:
            waves = jnp.einsum("bhwi,ic->bhwc", waves, jnp.asarray(_COLOURS))
        return jax.nn.sigmoid(waves)

    def loss(parameters: Array, key: Array) -> Array:
        return -score(given(_moved(key, pixels(parameters)))).sum()

    optimizer = optax.adam(rate)

    def step(state, key):
        parameters, moments = state
        gradient = jax.grad(loss)(parameters, key)
        # It counts its steps in whole numbers, also where that is forbidden.
        with jax.numpy_dtype_promotion("standard"):
            changes, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(parameters, changes), moments), None

    parameters = 0.1 * jax.random.normal(begin, spectrum)
    state = (parameters, optimizer.init(parameters))
    (parameters, _), _ = jax.lax.scan(step, state, jax.random.split(moves, steps))
    return pixels(parameters)


def deep_dream(
    score: Score,
    pixels: Array,
    key: Array,
    *,
    given: Callable[[Array], Array] = lambda pixels: pixels,
    octaves: int = 4,
    steps: int = 12,
    rate: float = 0.03,
) -> Array:
    """Images changed so that what a network sees in them is seen more, [B,H,W,C].

    Mordvintsev, Olah and Tyka 2015.  Patterns are added from the coarse to the fine:
    the image itself keeps its size, which many networks demand, and what is added to it
    is described by fewer pixels first.

    Args:
      score: what is to rise, such as the mean square of an activation.
      pixels: from 0 to 1.
      key: of the movements.
      given: `pixels -> images`, as the network takes them.
      octaves: sizes of patterns, each twice the one before.
      steps: for each of them.
      rate: of each step, in units of the logarithm of the odds of a pixel.
    """
    check(
        (octaves >= 1, f"octaves must be positive, got {octaves}"),
        (steps >= 1, f"steps must be positive, got {steps}"),
    )
    batch, height, width, channels = pixels.shape
    kept = jnp.clip(pixels, 0.02, 0.98)
    odds = jnp.log(kept / (1 - kept))

    def loss(added: Array, odds: Array, key: Array) -> Array:
        grown = jax.image.resize(added, odds.shape, "bilinear")
        return score(given(_moved(key, jax.nn.sigmoid(odds + grown)))).sum()

    for octave in reversed(range(octaves)):
        shape = (batch, -(-height // 2**octave), -(-width // 2**octave), channels)

        def step(added, key, odds=odds):
            gradient = jax.grad(loss)(added, odds, key)
            size = jnp.abs(gradient).mean((1, 2, 3), keepdims=True)
            return added + rate * gradient / jnp.maximum(size, 1e-12), None

        key, own = jax.random.split(key)
        added, _ = jax.lax.scan(step, jnp.zeros(shape), jax.random.split(own, steps))
        odds = odds + jax.image.resize(added, odds.shape, "bilinear")
    return jax.nn.sigmoid(odds)


_movement = augment.random_affine(
    degrees=8.0, translation=0.06, zoom=(0.92, 1.1), fill=0.5
)


def _moved(key: Array, pixels: Array) -> Array:
    """Turned, shifted and zoomed a little, each by its own draw."""
    return _movement(key, {"image": pixels})["image"]


def _natural(height: int, width: int) -> np.ndarray:
    """[H,W//2+1]: how strong each frequency is in photographs, 1/f, with mean square 1.

    Field 1987, https://doi.org/10.1364/JOSAA.4.002379
    """
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.maximum(np.hypot(down, across), 1 / max(height, width))
    scale = 1 / frequency
    return (scale / np.sqrt(np.mean(scale**2))).astype(np.float32)
