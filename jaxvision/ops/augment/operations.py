"""The operations of learned augmentation policies, one for each image of a batch.

Under `vmap`, a `lax.switch` computes every branch for every image.  Here the sixteen
operations are three families instead, and each family is computed once: warps are one
matrix, changes of tone one table, and what remains blends an image with a degenerate
version of itself.  An image is left alone by the families that its operation is not of.

Operations are those of Pillow, as in the papers: warps take the nearest pixel, shears
are about the top left corner, and fractions are dropped.
"""

import enum
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.ops.augment import tone
from jaxvision.ops.augment.blur import smooth
from jaxvision.ops.augment.composition import once, select
from jaxvision.ops.augment.warping import affine, warp
from jaxvision.ops.resample import Method
from jaxvision.types import Batch

Array = jax.Array


class Operation(enum.IntEnum):
    """What can be done to an image."""

    IDENTITY = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    ROTATE = 5
    BRIGHTNESS = 6
    CONTRAST = 7
    POSTERIZE = 8
    SOLARIZE = 9
    AUTO_CONTRAST = 10
    EQUALIZE = 11
    INVERT = 12
    COLOR = 13
    SHARPNESS = 14


class Ranges(NamedTuple):
    """What an operation does at strength 1; it grows linearly from nothing at 0."""

    shear: float
    """Pixels per pixel, either way."""
    translation: Callable[[int], float]
    """`side of the image -> pixels`, either way."""
    degrees: float
    """Of rotation, either way."""
    enhancement: float
    """Factors of brightness, contrast, colour and sharpness are 1 ± this."""
    posterize: int
    """Bits that are lost, of 8."""


class Drawn(NamedTuple):
    """What is to be done to each image."""

    operation: Array
    """int32 [B], of `Operation`."""
    strength: Array
    """[B], in [0, 1]."""
    sign: Array
    """[B], 1 or -1, of what goes either way."""


def apply(
    batch: Batch,
    drawn: Drawn,
    ranges: Ranges,
    *,
    method: Method,
    fill: float,
    min_visible: float | None,
) -> Batch:
    """Each image under its own operation; masks, boxes and keypoints move with it.

    The images are uint8 [B,H,W,C] with C of 1 or 3.  Operations without strength take
    none, and what cannot be done to one channel (COLOR) leaves it alone.
    """
    height, width = batch["image"].shape[1:3]
    moved = warp(
        batch,
        _matrices((height, width), drawn, ranges),
        method=method,
        fill=fill,
        min_visible=min_visible,
    )
    images = once(moved["image"])
    images = once(tone.look_up(images, _table(images, drawn, ranges)))
    return {**moved, "image": once(_blended(images, drawn, ranges))}


def _matrices(size: tuple[int, int], drawn: Drawn, ranges: Ranges) -> Array:
    """[B,3,3], forward: the warp of each image, the identity for other operations."""
    height, width = size

    def strength_of(operation, unit=1.0):
        happens = drawn.operation == operation
        return jnp.where(happens, drawn.sign * drawn.strength * unit, 0.0)

    shear = [
        strength_of(operation, ranges.shear)
        for operation in (Operation.SHEAR_X, Operation.SHEAR_Y)
    ]
    # A shear about the corner is one about the centre, moved.
    translation = [
        strength_of(Operation.TRANSLATE_X, ranges.translation(width))
        + shear[0] * height / 2,
        strength_of(Operation.TRANSLATE_Y, ranges.translation(height))
        + shear[1] * width / 2,
    ]
    return affine(
        size,
        angle=strength_of(Operation.ROTATE, math.radians(ranges.degrees)),
        translation=jnp.stack(translation, axis=-1),
        zoom=jnp.ones_like(drawn.strength),
        shear=jnp.stack(shear, axis=-1),
    )


def _table(images: Array, drawn: Drawn, ranges: Ranges) -> Array:
    factor = _factor(drawn, ranges)
    bits = 8 - jnp.round(drawn.strength * ranges.posterize)
    threshold = tone.LEVELS * (1 - drawn.strength)
    tables = {
        Operation.BRIGHTNESS: tone.brightness(images, factor),
        Operation.CONTRAST: tone.contrast(images, factor),
        Operation.POSTERIZE: tone.posterize(images, bits),
        Operation.SOLARIZE: tone.solarize(images, threshold),
        Operation.AUTO_CONTRAST: tone.autocontrast(images),
        Operation.EQUALIZE: tone.equalize(images),
        Operation.INVERT: tone.invert(images),
    }
    every = [tables.get(operation, tone.identity(images)) for operation in Operation]
    return select(drawn.operation, every)


def _blended(images: Array, drawn: Drawn, ranges: Ranges) -> Array:
    colourless = jnp.broadcast_to(tone.grey(images), images.shape)
    sharpness = drawn.operation == Operation.SHARPNESS
    degenerate = select(sharpness, [colourless, smooth(images)])
    blended = tone.blend(
        degenerate, images.astype(jnp.int32), _factor(drawn, ranges)
    ).astype(jnp.uint8)
    happens = sharpness | (drawn.operation == Operation.COLOR)
    return select(happens, [images, blended])


def _factor(drawn: Drawn, ranges: Ranges) -> Array:
    return 1 + drawn.sign * drawn.strength * ranges.enhancement
