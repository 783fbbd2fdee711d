"""Which part of an image is taken, before it is resized and before it is decoded."""

import math
from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of whole pixels."""

    top: int
    left: int
    height: int
    width: int


def random_resized_crop(
    height: int,
    width: int,
    draws: Iterator[float],
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """A box of random area and shape.  Szegedy et al. 2015, section 6.

    As in torchvision: the area is uniform in `scale` times the image's, the ratio of
    width to height log-uniform in `ratio`, the place uniform.  Of ten such boxes the
    first that fits is taken, and else the largest in the centre within `ratio`.

    Args:
      height, width: of the image, in pixels.
      draws: uniform in [0, 1); at most 22 are taken.
    """
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = height * width * (scale[0] + next(draws) * (scale[1] - scale[0]))
        shape = math.exp(log_low + next(draws) * (log_high - log_low))
        box_width = round(math.sqrt(area * shape))
        box_height = round(math.sqrt(area / shape))
        if 0 < box_width <= width and 0 < box_height <= height:
            return Box(
                top=int(next(draws) * (height - box_height + 1)),
                left=int(next(draws) * (width - box_width + 1)),
                height=box_height,
                width=box_width,
            )
    box_width = min(width, max(round(height * ratio[1]), 1))
    box_height = min(height, max(round(width / ratio[0]), 1))
    return _centred(height, width, box_height, box_width)


def central_crop(height: int, width: int, *, resize: float) -> Box:
    """The central square, its side that of the image's shorter one over `resize`.

    Resized to S it is what one gets by first resizing the shorter side to `resize`·S
    and then cutting S×S out of the centre, as for 224 of 256.
    """
    side = max(round(min(height, width) / resize), 1)
    return _centred(height, width, side, side)


def _centred(height: int, width: int, box_height: int, box_width: int) -> Box:
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return Box(top, left, box_height, box_width)
