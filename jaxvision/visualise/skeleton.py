"""Keypoints of one object drawn onto its image, with the limbs between them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from jaxvision.errors import check
from jaxvision.visualise import style
from jaxvision.visualise.annotation_overlay import SIDE, class_colour

Limbs = Sequence[tuple[int, int]]
"""Pairs of the numbers of keypoints, from 0."""


def skeleton(
    image: np.ndarray,
    points: np.ndarray,
    shown: np.ndarray,
    *,
    limbs: Limbs = (),
    against: np.ndarray | None = None,
    side: int = SIDE,
) -> np.ndarray:
    """The image, uint8 [H,W,C], with keypoints, uint8 [S,T,3].

    Limbs are lines, each with its colour; a keypoint has that of the first limb that
    it is an end of, and without limbs all have one.

    Args:
      points: [K,2], x and y in pixels of the image.
      shown: bool [K]: which of them are drawn.
      limbs: drawn where both ends are.
      against: [K,2]: where the keypoints are; thin lines lead there.
      side: the longer side of the result; small images are enlarged.
    """
    check(style.image_rule(image, "image"))
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    pixels = np.ascontiguousarray(np.broadcast_to(image, (height, width, 3)))
    canvas = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(canvas)
    places = np.asarray(points, float) * (np.array(size) / (width, height))
    thick = max(side // 160, 1)
    colours = [class_colour(0)] * len(places)
    for number, limb in reversed([*enumerate(limbs)]):
        for end in limb:
            colours[end] = class_colour(number)
    for number, (one, other) in enumerate(limbs):
        if shown[one] and shown[other]:
            line = [*places[one], *places[other]]
            draw.line(line, fill=class_colour(number), width=thick)
    if against is not None:
        ends = np.asarray(against, float) * (np.array(size) / (width, height))
        for k in np.flatnonzero(shown):
            draw.line([*places[k], *ends[k]], fill="white", width=max(thick // 2, 1))
    radius = (1.5 if limbs else 1) * thick
    for k in np.flatnonzero(shown):
        x, y = places[k]
        circle = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(circle, fill=colours[k], outline="white", width=1)
    return np.asarray(canvas)
