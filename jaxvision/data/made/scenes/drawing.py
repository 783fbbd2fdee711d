"""Digits, backgrounds and noise as integer arrays: what scenes are made of.

Colours are mixed and images sampled in fixed-point arithmetic, from streams that NumPy
guarantees (NEP 19), so that the same numbers give the same bits wherever they are run.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from jaxvision.data.made import embedded

DIGIT = 28
"""Side of an embedded digit in pixels."""
KEYPOINTS = ("top", "right", "bottom", "left")
"""The outermost stroke pixels of the upright digit, which rotate with it."""
ONE = 1 << 16
"""A pixel, in the coordinates of `sample`."""
BORDER = 2
"""Pixels around what is sampled: the two taps beyond each edge."""
BACKGROUNDS = ("plain", "gradient", "noise", "texture")

_LEVELS = 3  # of the pyramid: 28, 14 and 7 pixels
_INK = 128  # from which on a pixel of a digit counts as stroke


class Draws:
    """Numbers drawn one after the other from the stream of some whole numbers."""

    def __init__(self, *stream: int, words: int):
        self._words = iter(np.random.PCG64(stream).random_raw(words).tolist())

    def integer(self, below: int) -> int:
        """From 0 to `below` - 1, each as likely to within 2⁻⁵³."""
        return (next(self._words) >> 11) * below >> 53

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * (next(self._words) >> 11) * 2.0**-53


def random_bytes(*stream: int, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    words = np.random.PCG64(stream).random_raw(-(-count // 8)).astype("<u8")
    return words.view(np.uint8)[:count].reshape(shape)


class Digits(NamedTuple):
    """The N embedded digits of a split."""

    pyramid: tuple[np.ndarray, ...]
    """int32 [N, S + 4, S + 4] for S = 28, 14, 7, with a border of zeros."""
    labels: list[int]
    radii: list[float]
    """Distance of the farthest pixel that is not black from the centre (14, 14)."""
    keypoints: np.ndarray
    """float64 [N,4,2]: x and y from the centre, of `KEYPOINTS`."""


@functools.cache
def digits(split: str) -> Digits:
    """The digits of a split of `mnist_5k`; the two have none in common.  Read once."""
    data = getattr(embedded.load(), split).read()
    level = data["image"][..., 0].astype(np.int32)
    border = ((0, 0), (BORDER, BORDER), (BORDER, BORDER))
    pyramid = [np.pad(level, border)]
    for _ in range(1, _LEVELS):
        count, side, _ = level.shape
        blocks = level.reshape(count, side // 2, 2, side // 2, 2)
        level = (blocks.sum((2, 4)) + 2) // 4
        pyramid.append(np.pad(level, border))

    # Of a pixel the corner farthest from the centre counts.
    reach = np.abs(np.arange(DIGIT) + 0.5 - DIGIT / 2) + 0.5
    distance = np.hypot(reach[:, None], reach)
    seen = data["image"][..., 0] > 0
    return Digits(
        pyramid=tuple(pyramid),
        labels=data["label"].tolist(),
        radii=(seen * distance).max((1, 2)).tolist(),
        keypoints=np.stack([_extremes(i >= _INK) for i in data["image"][..., 0]]),
    )


def _extremes(stroke: np.ndarray) -> np.ndarray:
    """Centres of the outermost pixels, the median one of several; from the centre.

    Those of the largest connected piece, since some digits have stray marks.
    """
    import cv2

    _, pieces, boxes, _ = cv2.connectedComponentsWithStats(stroke.astype(np.uint8))
    areas = boxes[1:, cv2.CC_STAT_AREA]  # the first is what is not ink
    rows, columns = np.nonzero(pieces == 1 + areas.argmax())
    points = []
    for along, across, outermost in (
        (rows, columns, rows.min()),
        (columns, rows, columns.max()),
        (rows, columns, rows.max()),
        (columns, rows, columns.min()),
    ):
        tied = np.flatnonzero(along == outermost)
        chosen = tied[np.argsort(across[tied], kind="stable")[len(tied) // 2]]
        points.append((columns[chosen], rows[chosen]))
    return np.array(points) + 0.5 - DIGIT / 2


def sample(table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear values of an image where its pixels' indices are `u` and `v`.

    table: int32 [H + 4, W + 4] or [H + 4, W + 4, C], the image with its border of two.
    u, v: int [h,w] column and row within the image in 1/65536 pixel, 0 at the centre of
    the first pixel.  What lies beyond the border gets the border's value.
    Returns int32 [h,w] or [h,w,C], rounded.
    """
    height, width = table.shape[:2]
    column = np.clip((u >> 16) + BORDER, 0, width - 2)
    row = np.clip((v >> 16) + BORDER, 0, height - 2)
    right, down = (u >> 8) & 255, (v >> 8) & 255
    if table.ndim == 3:
        right, down = right[..., None], down[..., None]
    flat = table.reshape(height * width, *table.shape[2:])
    place = row * width + column

    def between(place):
        left = flat.take(place, 0)
        return (left << 8) + (flat.take(place + 1, 0) - left) * right

    above = between(place)
    return ((above << 8) + (between(place + width) - above) * down + (1 << 15)) >> 16


class Stamp(NamedTuple):
    """A digit, scaled and rotated, on a square of its own."""

    opacity: np.ndarray
    """int32 [P,P] from 0 to 255."""
    mask: np.ndarray
    """bool [P,P]: at least half as opaque as the most opaque pixel."""
    keypoints: np.ndarray
    """float64 [4,2]: x and y on the square."""


def stamp(
    known: Digits, number: int, side: float, degrees: float, x: float, y: float
) -> Stamp:
    """The digit `number`, its 28 pixels `side` long, rotated clockwise.

    x, y: where its centre lies beyond the pixel boundary in the middle of the square,
    in pixels, from 0 to 1.
    """
    scale = side / DIGIT
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half = math.ceil(known.radii[number] * scale) + 2

    # The coarsest level whose pixels are no larger than 1.2 of the square's, so that a
    # pixel of the square spans 0.8 to 1.7 of its own.
    level = min(max(math.floor(math.log2(1.2 / scale)), 0), _LEVELS - 1)
    step = ONE / (scale * 2**level)
    along, across = round(cos * step), round(sin * step)
    middle = round(ONE * (DIGIT / 2**level - 1) / 2)
    dx = np.arange(-half, half) + 0.5 - x  # centres of the pixels
    dy = (np.arange(-half, half) + 0.5 - y)[:, None]
    u = np.floor(dx * along + dy * across + middle).astype(np.int32)
    v = np.floor(dy * along - dx * across + middle).astype(np.int32)
    table = known.pyramid[level][number]
    opacity = sample(table, u, v)

    kx, ky = known.keypoints[number].T * scale
    turned = np.stack([kx * cos - ky * sin, kx * sin + ky * cos], 1)
    return Stamp(
        opacity=opacity,
        mask=opacity * 2 >= max(opacity.max(), 1),
        keypoints=turned + np.array([half + x, half + y]),
    )


def blend(image: np.ndarray, opacity: np.ndarray, colour: np.ndarray) -> None:
    """Paint `colour` [C] over `image` int32 [h,w,C], in place."""
    weight = opacity + (opacity >> 7)  # 255 becomes 256
    image += ((colour - image) * weight[..., None] + 128) >> 8


def background(
    kind: str, draws: Draws, colour: np.ndarray, shape: tuple[int, int, int], *seed: int
) -> np.ndarray:
    """One of `BACKGROUNDS` about a colour, int32 [H,W,C] from 0 to 255.

    `gradient` runs in any direction to a colour up to 32 levels away, `noise` adds as
    much to each pixel, `texture` is made of soft blots; the bytes of the last two are
    drawn from `seed`.
    """
    height, width, channels = shape
    # The same number of draws for each kind, so that what follows is the same.
    degrees = draws.uniform(0, 360)
    change = np.array([draws.integer(65) - 32 for _ in range(channels)])
    image = np.empty(shape, np.int32)
    image[:] = colour
    if kind == "gradient":
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        whole = abs(cos) + abs(sin)  # from corner to corner
        x, y = round(256 * cos / whole), round(256 * sin / whole)
        ramp = (
            np.arange(width) * x // width + (np.arange(height) * y // height)[:, None]
        )
        image += (ramp[..., None] * change) >> 8
    elif kind == "noise":
        image += (random_bytes(*seed, shape=shape) >> 2).astype(np.int32) - 32
    elif kind == "texture":
        coarse = random_bytes(*seed, shape=(_BLOTS, _BLOTS, channels)) >> 2
        down, across = _stretch(height), _stretch(width)
        # All sums are whole and below 2²⁴, and so exact in float32, in any order.
        rows = down @ coarse.reshape(_BLOTS, -1).astype(np.float32)
        rows = rows.reshape(height, _BLOTS, channels).transpose(0, 2, 1)
        blots = (rows @ across.T).transpose(0, 2, 1) / 2**12
        image += blots.astype(np.int32) - 32
    return np.clip(image, 0, 255, out=image)


_BLOTS = 7


@functools.cache
def _stretch(length: int) -> np.ndarray:
    """Weights [length, 7] in 1/64, that interpolate seven values linearly."""
    place = np.arange(length) * 64 * (_BLOTS - 1) // max(length - 1, 1)
    whole = np.minimum(place // 64, _BLOTS - 2)
    weights = np.zeros((length, _BLOTS), np.float32)
    rows = np.arange(length)
    weights[rows, whole] = 64 - (place - 64 * whole)
    weights[rows, whole + 1] = place - 64 * whole
    return weights


def add_noise(image: np.ndarray, sigma: float, *seed: int) -> np.ndarray:
    """`image` uint8 with noise of standard deviation `sigma` levels, clipped to bytes.

    The noise is the sum of four uniform draws, which is normal to the eye and ends at
    3.45 sigma.
    """
    drawn = random_bytes(*seed, shape=(4, *image.shape)).astype(np.int32).sum(0)
    deviation = math.sqrt(4 * (256**2 - 1) / 12)
    noise = ((drawn - 510) * round(sigma / deviation * ONE) + ONE // 2) >> 16
    return np.clip(image + noise, 0, 255).astype(np.uint8)
