"""The objects that steps of detectors are trained on, by `benchmarks.detection`.

Made from names alone, as `parity_inputs` does, and runs in both environments.
"""

import numpy as np

try:  # as a script, and as a module of this package
    from box_inputs import HEIGHT, WIDTH, boxes
except ImportError:
    from tools.box_inputs import HEIGHT, WIDTH, boxes

CLASSES = 20

MOST = 8
"""Objects of an image; the others have fewer, one at least."""

GAIN = 1.0
"""Of the weights: scores then differ, and many boxes suppress others."""


def objects(row, shape):
    """Boxes float32 [n,4] in pixels and classes int64 [n], of each image of a batch."""
    count, height, width, _ = shape
    scale = np.array([width / WIDTH, height / HEIGHT] * 2, np.float32)
    found = []
    for i in range(count):
        number = MOST - i % MOST
        classes = (np.arange(number) + 5 * i) % CLASSES
        found.append((boxes(f"{row} {i}", number, least=8.0) * scale, classes))
    return found


def ellipses(boxes, height, width):
    """Masks uint8 [n,H,W] of boxes [n,4]: the ellipse in each; none in one of no
    area."""
    y, x = np.mgrid[:height, :width] + 0.5
    x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)[..., None, None]
    wide, high = x1 - x0, y1 - y0
    inside = ((2 * x - x0 - x1) * high) ** 2 + ((2 * y - y0 - y1) * wide) ** 2
    return (inside < (wide * high) ** 2).astype(np.uint8)
