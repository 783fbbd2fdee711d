"""Colour jitter and greyscale."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.augment import tone
from jaxvision.ops.augment.composition import once, select
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import bytes_of, within
from jaxvision.ops.resample import as_type

Array = jax.Array


@with_recipe
def colour_jitter(
    brightness: Any = 0.8,
    contrast: Any = 0.8,
    saturation: Any = 0.8,
    hue: Any = 0.2,
    *,
    probability: Any = 0.8,
) -> Transform:
    """Changes brightness, contrast, saturation and hue, in this order.

    Chen et al. 2020 (SimCLR), appendix A,

    https://arxiv.org/abs/2002.05709; its distortion of strength s is (0.8·s, 0.8·s,
    0.8·s, 0.2·s).  The order is that of the paper; torchvision draws it.

    Args:
      brightness, contrast, saturation: factors are uniform in [max(0, 1 - v), 1 + v],
        and blend the image with black, with its mean grey and with its grey version.
      hue: the largest shift in either direction, as a share of the colour circle, at
        most 0.5.
      probability: with which an image is changed at all.

    Images are bytes, of one channel (where saturation and hue do nothing) or three.
    All strengths may be traced.
    """
    check(
        within("brightness", brightness, 0),
        within("contrast", contrast, 0),
        within("saturation", saturation, 0),
        within("hue", hue, 0, 0.5),
        within("probability", probability, 0, 1),
    )

    def transform(key, batch):
        images = bytes_of(batch, "colour_jitter", (1, 3))
        draws = jax.random.uniform(key, (5, len(images)))

        def factor(draw, strength):
            low = jnp.maximum(0.0, 1.0 - strength)
            return low + draw * (1.0 + strength - low)

        changed = images
        for table, draw, strength in (
            (tone.brightness, draws[0], brightness),
            (tone.contrast, draws[1], contrast),
        ):
            changed = tone.look_up(changed, table(changed, factor(draw, strength)))
            changed = once(changed)
        if images.shape[-1] == 3:
            changed = once(saturate(changed, factor(draws[2], saturation)))
            changed = turn_hue(changed, (2 * draws[3] - 1) * hue)
        happens = draws[4] < probability
        return {**batch, "image": select(happens, [images, changed])}

    return transform


@with_recipe
def random_greyscale(probability: Any = 0.2) -> Transform:
    """Makes each image grey with this probability (default of SimCLR).

    Images are bytes in RGB, or have one channel and stay as they are.
    """
    check(within("probability", probability, 0, 1))

    def transform(key, batch):
        images = bytes_of(batch, "random_greyscale", (1, 3))
        happens = jax.random.bernoulli(key, probability, (len(images),))
        colourless = jnp.broadcast_to(tone.grey(images), images.shape)
        return {**batch, "image": select(happens, [images, colourless])}

    return transform


def saturate(images: Array, factor: Array | float) -> Array:
    """Grey at factor 0, the image at 1, more colourful above (`ImageEnhance.Color`)."""
    blended = tone.blend(tone.grey(images), images.astype(jnp.int32), factor)
    return blended.astype(jnp.uint8)


def turn_hue(images: Array, turn: Array) -> Array:
    """Colours turned on the colour circle, at equal saturation and value (HSV).

    images: uint8 [B,H,W,3], red, green and blue.
    turn: [B], in turns: ⅓ makes red green.
    """
    pixels = images.astype(jnp.float32)
    red, green, blue = (pixels[..., i, None] for i in range(3))
    value = jnp.max(pixels, axis=-1, keepdims=True)
    chroma = value - jnp.min(pixels, axis=-1, keepdims=True)
    # The hue in sixths of a turn; of grey it is 0, and of no consequence.
    hue = jnp.where(
        value == red,
        green - blue,
        jnp.where(value == green, 2 * chroma + blue - red, 4 * chroma + red - green),
    ) / jnp.maximum(chroma, 1)
    hue += 6 * turn[:, None, None, None]
    value, chroma, hue = once((value, chroma, hue))
    sector = jnp.array([5.0, 3.0, 1.0])[None, None, None] + hue
    sector -= 6 * jnp.floor(sector / 6)  # jnp.mod is a call per pixel on CPU
    turned = value - chroma * jnp.clip(jnp.minimum(sector, 4 - sector), 0, 1)
    return as_type(turned, images.dtype)
