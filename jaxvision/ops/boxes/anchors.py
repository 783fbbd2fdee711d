"""The boxes that detectors begin with, as constants of the size of an image.

Each function returns a list of float32 NumPy arrays [n,4], one for each level, whose
boxes go through the rows of its map, the columns of a row, and the anchors of a place.
Concatenated they are in the order of the outputs of heads, level after level.
"""

import math
from collections.abc import Sequence

import numpy as np

from jaxvision.errors import check

Size = tuple[int, int]
"""Height and width."""


def anchors(
    image: Size,
    maps: Sequence[Size],
    sizes: Sequence[Sequence[float]],
    ratios: Sequence[Sequence[float]],
) -> list[np.ndarray]:
    """Boxes of some sizes and shapes around the places of each level.

    Ren et al. 2015, Faster R-CNN, https://arxiv.org/abs/1506.01497, section 3.1.1, in
    the form of torchvision's AnchorGenerator: the box of a size s and a ratio r has the
    width s/√r and the height s·√r, lies around the origin with its corners rounded to
    whole pixels, and is moved by whole strides, `image // map`.

    Args:
      image: height and width of the padded images, in pixels.
      maps: of each level, the height and width of its map.
      sizes: of each level, the sides in pixels of anchors with ratio 1.
      ratios: of each level, height over width.  The anchors of a place go through the
        ratios, and of each through the sizes.

    Raises `UsageError` where levels differ in number, a map is larger than the image,
    or a size or ratio is not positive.
    """
    _check_levels(image, maps, sizes=sizes, ratios=ratios)
    levels = []
    for (height, width), of_size, of_ratio in zip(maps, sizes, ratios, strict=True):
        root = np.sqrt(np.asarray(of_ratio, np.float32))
        side = np.asarray(of_size, np.float32)
        half_w = ((1 / root)[:, None] * side).ravel() / 2
        half_h = (root[:, None] * side).ravel() / 2
        base = np.stack([-half_w, -half_h, half_w, half_h], -1).round()
        shift = _places((height, width), (image[0] // height, image[1] // width))
        levels.append((shift[:, None] + base).reshape(-1, 4).astype(np.float32))
    return levels


def default_boxes(
    image: Size,
    maps: Sequence[Size],
    ratios: Sequence[Sequence[float]],
    *,
    scales: Sequence[float] | None = None,
    range_of_scales: tuple[float, float] = (0.15, 0.9),
    steps: Sequence[float] | None = None,
    clip: bool = True,
) -> list[np.ndarray]:
    """The default boxes of SSD, with centres in the middle of the places of each map.

    Liu et al. 2016, https://arxiv.org/abs/1512.02325, section 2.2, in the form of
    torchvision's DefaultBoxGenerator.  Level k has a square of side s_k, one of
    √(s_k s_{k+1}), and for each ratio r boxes of s_k √r by s_k / √r, lying and
    standing.

    Args:
      image: height and width in pixels.
      maps: of each level, the height and width of its map.
      ratios: of each level, those beside 1.
      scales: s_k as shares of the image, one more than there are levels; None: evenly
        from the first to the last of `range_of_scales`, and 1 at the end.
      range_of_scales: see `scales`.
      steps: of each level, the pixels between its places; None: they fill the image.
      clip: whether sides end at those of the image.

    Raises `UsageError` where levels differ in number.
    """
    count = len(maps)
    if scales is None:
        low, high = range_of_scales
        scales = [low + (high - low) * k / max(count - 1, 1) for k in range(count)]
        scales = [*scales, 1.0] if count > 1 else [low, high]
    _check_levels(image, maps, ratios=ratios)
    check(
        (
            len(scales) == count + 1,
            f"scales must be {count + 1}, one more than the levels, got {len(scales)}",
        ),
        (
            steps is None or len(steps) == count,
            f"steps must be {count}, one for each level, got {steps}",
        ),
    )
    size = np.asarray([image[1], image[0]], np.float32)
    levels = []
    for k, (height, width) in enumerate(maps):
        mean = math.sqrt(scales[k] * scales[k + 1])
        sides = [(scales[k], scales[k]), (mean, mean)]
        for ratio in ratios[k]:
            w, h = scales[k] * math.sqrt(ratio), scales[k] / math.sqrt(ratio)
            sides += [(w, h), (h, w)]
        half = np.asarray(sides, np.float32)
        half = np.float32(0.5) * (half.clip(0, 1) if clip else half)
        across = width if steps is None else image[1] / steps[k]
        down = height if steps is None else image[0] / steps[k]
        x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(across)
        y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(down)
        centre = np.stack(np.meshgrid(x, y), -1).reshape(-1, 1, 2)
        boxes = [(centre - half) * size, (centre + half) * size]
        levels.append(np.concatenate(boxes, -1).reshape(-1, 4).astype(np.float32))
    return levels


def cells(maps: Sequence[Size], strides: Sequence[int]) -> list[np.ndarray]:
    """The squares of a grid, whose centres are the points of FCOS and ATSS, and whose
    corners those of YOLOX.

    Args:
      maps: of each level, the height and width of its map.
      strides: of each level, the side of its cells in pixels.

    Raises `UsageError` where levels differ in number.
    """
    check(
        (
            len(maps) == len(strides),
            f"there are {len(maps)} maps and {len(strides)} strides: give one of each "
            "for each level",
        )
    )
    levels = []
    for size, stride in zip(maps, strides, strict=True):
        corner = _places(size, (stride, stride))
        square = np.asarray([0, 0, stride, stride], np.float32)
        levels.append((corner + square).astype(np.float32))
    return levels


def _places(size: Size, stride: tuple[float, float]) -> np.ndarray:
    """The places of a map as x, y, x, y, float32 [h·w,4]."""
    x = np.arange(size[1], dtype=np.float32) * np.float32(stride[1])
    y = np.arange(size[0], dtype=np.float32) * np.float32(stride[0])
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return np.concatenate([grid, grid], -1)


def _check_levels(image: Size, maps: Sequence[Size], **levels: Sequence) -> None:
    check(
        *(
            (
                len(values) == len(maps),
                f"there are {len(maps)} maps and {name} for {len(values)}: give one "
                "entry for each level",
            )
            for name, values in levels.items()
        ),
        *(
            (
                height <= image[0] and width <= image[1],
                f"a map of {height}×{width} is larger than the image of "
                f"{image[0]}×{image[1]}",
            )
            for height, width in maps
        ),
        *(
            (
                all(value > 0 for level in values for value in level),
                f"{name} must be positive, got {values}",
            )
            for name, values in levels.items()
        ),
    )
