"""Boxes, scores and maps that two implementations of detection are compared with.

Made from names alone, as `parity_inputs` does, and runs in both environments.
"""

import numpy as np

try:  # as a script, and as a module of this package
    from parity_inputs import uniform
except ImportError:
    from tools.parity_inputs import uniform

HEIGHT, WIDTH = 96, 128
"""Of the image that boxes lie in, in pixels."""


def boxes(name, count, least=4.0, most=60.0):
    """float32 [count,4] with sides from `least` to `most`, in quarters of a pixel, that
    lie in the image."""
    u = (uniform(name, (count, 4)) + 1) / 2
    size = least + u[:, 2:] * (most - least)
    corner = u[:, :2] * (np.array([WIDTH, HEIGHT]) - size)
    corner, size = np.round(4 * corner) / 4, np.round(4 * size) / 4
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def scores(name, count, steps=16):
    """float32 [count] from 0 to 1, of which many are equal."""
    return (np.round((uniform(name, (count,)) + 1) / 2 * steps) / steps).astype(
        np.float32
    )


def features(name, height, width, channels=3):
    """float32 [height,width,channels] in [-1, 1)."""
    return uniform(name, (height, width, channels))


ROIS = np.array(
    [
        [10.25, 8.5, 60.75, 40.0],
        [0.0, 0.0, 128.0, 96.0],  # the whole image
        [100.0, 70.0, 140.5, 110.25],  # leaves it
        [-20.0, -9.0, 12.0, 15.5],
        [33.0, 20.0, 34.0, 90.0],  # narrow
        [50.0, 50.0, 50.0, 50.0],  # without area
        [90.5, 5.25, 91.0, 5.75],  # smaller than a cell
    ],
    np.float32,
)
"""Boxes of RoIAlign."""

LEVELS = ((12, 16), (6, 8), (3, 4))
"""Maps of the image, with strides of 8, 16 and 32."""


def regions(images=2, count=5):
    """float32 [images,count,4]: boxes that begin in the image, of which some reach far
    beyond it, so that all levels of a pyramid have some."""
    found = boxes("regions", images * count).reshape(images, count, 4)
    beyond = 200 * np.maximum(np.arange(count) - count // 2, 0)
    found[..., 2:] += beyond[None, :, None]
    return found.astype(np.float32)
