"""Maps of numbers as pictures, by themselves and upon the image that they are about."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image

from jaxvision.errors import check
from jaxvision.visualise import style

SIDE = 224
"""Pixels of the longer side of what is drawn."""

_STRONGEST = 99.5
"""Percentile of a map that is drawn as its strongest: single pixels do not darken all
others."""


def heat_upon(
    image: np.ndarray,
    values: np.ndarray,
    *,
    around: np.ndarray | None = None,
    side: int = SIDE,
) -> np.ndarray:
    """The image in grey, with a map of numbers from 0 up upon it, uint8 [S,T,3].

    Args:
      image: uint8 [H,W,1 or 3].
      values: [h,w] over the whole of the image; what has fewer pixels is interpolated.
      around: bool [H,W]: what the map is about, around which a line is drawn where it
        is less than all of the image.
      side: of the longer side of the result.
    """
    check(style.image_rule(image, "image"))
    grey = enlarged(image.mean(-1, keepdims=True).round().astype(np.uint8), side)
    shares = _shares(values)
    # What says something of each pixel keeps its pixels.
    smooth = shares.shape != image.shape[:2] or min(image.shape[:2]) > SIDE // 3
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    layer = Image.fromarray(shares.astype(np.float32)).resize(grey.shape[1::-1], method)
    strength = np.clip(np.asarray(layer), 0, 1)[..., None]
    cover = 0.9 * np.sqrt(strength)
    mixed = (1 - cover) * (0.25 + 0.6 * grey / 255) * 255 + cover * _coloured(
        strength[..., 0]
    )
    drawn = mixed.round().astype(np.uint8)
    if around is not None:
        drawn[_border(enlarged(around[..., None].astype(np.uint8), side)[..., 0])] = 255
    return drawn


def _border(inside: np.ndarray) -> np.ndarray:
    """bool [H,W]: the pixels of a region that have others beside them."""
    region = np.pad(inside > 0, 1, mode="edge")
    height, width = inside.shape
    beside = np.zeros((height, width), bool)
    for row, column in ((0, 1), (2, 1), (1, 0), (1, 2)):
        beside |= ~region[row : row + height, column : column + width]
    return (inside > 0) & beside


def enlarged(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """An image uint8 [H,W,C] whose longer side becomes `side`, at least nearly.

    Small ones are enlarged a whole number of times, so that their pixels show as equal
    squares; large ones are made smaller smoothly.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= side:
        times = max(round(side / longer), 1)
        return image.repeat(times, 0).repeat(times, 1)
    size = max(round(width * side / longer), 1), max(round(height * side / longer), 1)
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    return small if small.ndim == 3 else small[..., None]


def sheet(images: Sequence[np.ndarray], columns: int, *, gap: int = 2) -> np.ndarray:
    """Images uint8 [H,W,C] of one size in rows, uint8 [S,T,3], with white between."""
    check((len(images) > 0, "there are no images to show"))
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = images[0].shape[:2]
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    canvas = np.full(shape, 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def map_sheet(maps: np.ndarray, columns: int, *, side: int = 72) -> np.ndarray:
    """The channels of a map [H,W,D] as a sheet, each between its own extremes."""
    channels = [_extended(maps[..., k]) for k in range(maps.shape[-1])]
    return sheet([enlarged(_coloured(each), side) for each in channels], columns)


def filter_sheet(filters: np.ndarray, columns: int, *, side: int = 48) -> np.ndarray:
    """Filters [K,K,C,O] as a sheet, uint8 [S,T,3].

    With three channels they are in colours, and each between its extremes about 0,
    which is grey.  Otherwise each is the mean of its channels, red above 0 and blue
    below it.
    """
    drawn = []
    for k in range(filters.shape[-1]):
        weights = filters[..., k]
        strongest = max(float(np.abs(weights).max()), 1e-12)
        if weights.shape[-1] == 3:
            pixels = 127.5 + 127.5 * weights / strongest
        else:
            mean = weights.mean(-1)
            scaled = mean / max(float(np.abs(mean).max()), 1e-12)
            pixels = 255 * matplotlib.colormaps["RdBu_r"](scaled / 2 + 0.5)[..., :3]
        drawn.append(enlarged(pixels.round().astype(np.uint8), side))
    return sheet(drawn, columns)


def _shares(values: np.ndarray) -> np.ndarray:
    """Numbers from 0 up as shares of the strongest, in 0..1."""
    values = np.maximum(np.nan_to_num(np.asarray(values, np.float32)), 0)
    strongest = float(np.percentile(values, _STRONGEST)) or float(values.max())
    return np.clip(values / max(strongest, 1e-30), 0, 1)


def _extended(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(np.asarray(values, np.float32))
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-12)


def _coloured(shares: np.ndarray) -> np.ndarray:
    colours = 255 * matplotlib.colormaps["inferno"](shares)[..., :3]
    return colours.round().astype(np.uint8)
