"""`scenes[:HxW[xC]][:TRAIN[:TEST]][:apart]`: real digits in images, all known.

Handwritten digits (those of `mnist_5k`) are scaled, rotated, coloured and laid over
each other on a background.  What is in an image is known completely: classes, boxes,
masks and keypoints; in a sequence, the identity of each digit; between two images of
one scene, the transform; and what an image was before noise.  So every task has data,
without a download.

Example i of a seed and a split is the same wherever it is asked for, alone or among
others.  Training and test scenes have no digit in common.
"""

from jaxvision.data.made.scenes.composition import (
    CLASS_NAMES,
    KEYPOINTS,
    Layout,
    noisy,
    scene,
)
from jaxvision.data.made.scenes.motion import sequence
from jaxvision.data.made.scenes.pairs import pair
from jaxvision.data.made.scenes.splits import load

__all__ = [
    "CLASS_NAMES",
    "KEYPOINTS",
    "Layout",
    "load",
    "noisy",
    "pair",
    "scene",
    "sequence",
]
