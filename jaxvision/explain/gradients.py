"""Which pixels matter, by the gradient of a score with respect to the image.

All return arrays of the shape of the images; what is drawn of them is usually the
largest magnitude over the channels of a pixel.
"""

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.explain.scores import Score
from jaxvision.types import Array


def saliency(score: Score, images: Array) -> Array:
    """The gradient of each image's score, [B,H,W,C].

    Simonyan, Vedaldi and Zisserman 2014, https://arxiv.org/abs/1312.6034
    """
    return jax.grad(lambda images: score(images).sum())(images)


def smooth_grad(
    score: Score, images: Array, key: Array, *, samples: int = 25, noise: float = 0.15
) -> Array:
    """The mean gradient over noisy copies of each image, [B,H,W,C].

    Smilkov et al. 2017, https://arxiv.org/abs/1706.03825

    Args:
      samples: noisy copies, one after the other.
      noise: the standard deviation, as a share of the range of each image's values.
    """
    check(
        (samples >= 1, f"samples must be positive, got {samples}"),
        (noise >= 0, f"noise must not be negative, got {noise}"),
    )
    low, high = (
        extreme(images, axis=(1, 2, 3), keepdims=True) for extreme in (jnp.min, jnp.max)
    )
    deviation = noise * (high - low)

    def gradient(key):
        drawn = jax.random.normal(key, images.shape, images.dtype)
        return saliency(score, images + deviation * drawn)

    return jax.lax.map(gradient, jax.random.split(key, samples)).mean(0)


def integrated_gradients(
    score: Score, images: Array, baseline: Array | float, *, steps: int = 32
) -> Array:
    """How much each value adds to the score on the way from the baseline, [B,H,W,C].

    Over an image they add up to `score(image) - score(baseline)`, but for what the sum
    over `steps` midpoints differs from the integral.

    Sundararajan, Taly and Yan 2017, https://arxiv.org/abs/1703.01365

    Args:
      baseline: an image without content, such as a black one; broadcast to the images.
      steps: points between the two, one after the other.
    """
    check((steps >= 1, f"steps must be positive, got {steps}"))
    start = jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
    way = images - start
    shares = (jnp.arange(steps, dtype=images.dtype) + 0.5) / steps
    gradients = jax.lax.map(lambda share: saliency(score, start + share * way), shares)
    return way * gradients.mean(0)
