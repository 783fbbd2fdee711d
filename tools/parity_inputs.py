"""Weights and images that two implementations of a network are compared with.

Made from the names and shapes alone, by NumPy's raw generator, whose stream is the same
in every version.  Imports nothing else, so that it runs in both environments.
"""

import math
import zlib

import numpy as np


def uniform(name, shape):
    """float32 numbers in [-1, 1) that the name decides."""
    size = math.prod(shape)
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw((size + 1) // 2)
    numbers = raw.view(np.uint32)[:size].view(np.int32).astype(np.float32)
    return (numbers * np.float32(2.0**-31)).reshape(shape)


def weight(name, shape, gain):
    """Values for the array `name` of a state dict.

    Batch norm's statistics are not trivial, variances reach so low that another epsilon
    shows.  `gain` is how much a kernel adds to the variance of its inputs: about 1 with
    shortcuts around it and 2 without, where a rectifier halves it again.
    """
    u = uniform(name, shape)
    kind = name.rpartition(".")[2]
    if kind == "running_var":
        return 0.8 + 0.7 * u
    if kind in ("running_mean", "bias", "in_proj_bias"):
        return 0.2 * u
    if kind == "logit_scale":
        # Swin v2 cuts it off at log(100) = 4.6.
        return 3 + 2 * u
    if kind in ("layer_scale", "gamma"):
        return 0.5 + 0.4 * u
    if kind in ("weight", "in_proj_weight"):
        if len(shape) == 1:
            return 0.9 + 0.3 * u
        return u * np.float32(math.sqrt(3 * gain / math.prod(shape[1:])))
    return u


def images(height, width, channels=3, count=2):
    """[B,H,W,C] with edges, texture and colour, about -2 to 2, and all different."""
    noise = uniform(f"{height}x{width}", (count, height, width, channels))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase = np.arange(count * channels, dtype=np.float32).reshape(count, 1, 1, channels)
    waves = np.sin(x[..., None] / (3 + phase) + phase) * np.cos(
        y[..., None] / 5 - phase
    )
    return (waves + noise).astype(np.float32)


def probe(shape):
    """Positions of at most 48 entries of an array, spread over it.

    Enough to tell arrays apart, and small enough to be committed.
    """
    size = math.prod(shape)
    return np.unique(np.linspace(0, size - 1, 48).astype(np.int64))
